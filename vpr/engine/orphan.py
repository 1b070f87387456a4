"""A process that does not outlive the one that has started it."""

from __future__ import annotations

import os
import threading
import time


def end_with_parent(every: float = 1) -> None:
    """End this process, with exit code 1, soon after its parent has ended; looked at `every` so many seconds.

    For ranks that another rank has started: one that was killed cannot end them, and with NCCL they would wait for it
    as long as `vpr.retrieval.ranks.PATIENCE`.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)  # sys.exit would end this thread alone

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
