"""Log file of a run, which says once where its disk does not take it, and leaves the screen to what the run says."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from vpr.files import disk_error


class LogFile(logging.FileHandler):
    """File handler of conf/hydra/job_logging/vpr.yaml."""

    said = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that the file cannot be written; logging would print a traceback around each message."""
        error = sys.exc_info()[1]
        reason = disk_error(error, Path(self.baseFilename)) if isinstance(error, OSError) else None
        if reason is None:
            super().handleError(record)
        elif not self.said:
            self.said = True
            print(f"{reason} Until then messages stand here alone.", file=sys.stderr)
