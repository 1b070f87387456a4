"""python -m vpr.interop PATH out.ckpt: turn a published checkpoint into one of ours."""

from __future__ import annotations

import argparse
import sys

from vpr.checkpoint import write
from vpr.errors import VPRError
from vpr.interop.mixvpr import convert


def main(arguments: list[str] | None = None) -> int:
    """Convert one file; return the exit code: 0, or 1 after an error, which is printed as a sentence."""
    parser = argparse.ArgumentParser(prog="python -m vpr.interop", description=__doc__)
    parser.add_argument("path", help="published file of MixVPR or Lightweight-MixVPR")
    parser.add_argument("out", help="checkpoint to write")
    chosen = parser.parse_args(arguments)
    try:
        content = convert(chosen.path)
        write(chosen.out, content)
    except VPRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    config = content["config"]
    dim = config["agg"]["out_channels"] * config["agg"]["out_rows"]
    print(
        f"{chosen.out}: {config['backbone']['name']} with MixVPR, {dim} numbers a descriptor, images of 320x320 pixels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
