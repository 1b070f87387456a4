"""python -m vpr.toycity.layouts OUT_DIR: draw a small city and write it in the layouts of published sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from vpr.errors import ends_with_a_message
from vpr.toycity.layouts.write import LAYOUTS, write_all, write_city


@ends_with_a_message
def main(arguments: Sequence[str] | None = None) -> int:
    """Write them, say where; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vpr.toycity.layouts", description=__doc__)
    parser.add_argument("out", metavar="OUT_DIR", help="what paths.data will be; not the folder of real sets")
    parser.add_argument(
        "--city", action="store_true", help="write dataset=toycity_pittsburgh alone, as often as you like, anywhere"
    )
    args = parser.parse_args(arguments)
    out = args.out
    if args.city:
        print(f"dataset=toycity_pittsburgh is in {write_city(out)}")
        return 0
    album = write_all(out)
    counts = f"{len(album.database)} database images and {len(album.queries)} queries"
    print(f"{counts} in {out}/{{{','.join(['toycity/panoramas', *LAYOUTS])}}}")
    print(f"e.g. python evaluate.py ckpt=best.ckpt paths.data={out} dataset=tokyo247 \\")
    protocol = "dataset.eval.tokyo247.protocol"
    sizes = f"{protocol}.database={len(album.database)} {protocol}.queries={len(album.queries)}"
    print(f"    {protocol}.id=toycity-tokyo@25m-nms {sizes}")
    print("Other sets in the same way; one with other counts (tokyo_tm_val holds images out) says so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
