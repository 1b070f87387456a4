"""python -m vpr.interop PATH out.ckpt: turn a published checkpoint into one of ours."""

from __future__ import annotations

import argparse
import sys

from vpr.checkpoint import write
from vpr.errors import VPRError
from vpr.interop.recognise import convert
from vpr.interop.zoo import PUBLISHED, SHORT, local_file
from vpr.models.aggregators.projected import inner_node


def main(arguments: list[str] | None = None) -> int:
    """Convert one file; return the exit code: 0, or 1 after an error, whose message is printed."""
    parser = argparse.ArgumentParser(prog="python -m vpr.interop", description=__doc__)
    parser.add_argument(
        "path",
        help="published file of MegaLoc, SALAD, CliqueMining, BoQ, MixVPR, Lightweight-MixVPR, gsv-cities, "
        "OpenVPRLab, OpenIBL, WAKD, pytorch-NetVlad, CosPlace, EigenPlaces or deep-visual-geo-localization-benchmark, "
        f"recognised by its content; or one of {', '.join([*SHORT, *PUBLISHED])}, downloaded at first use",
    )
    parser.add_argument("out", help="checkpoint to write")
    chosen = parser.parse_args(arguments)
    try:
        content = convert(local_file(chosen.path))
        write(chosen.out, content)
    except VPRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    config = content["config"]
    agg = inner_node(config["agg"])["_target_"].rpartition(".")[2]
    (height, width), dim = config["image"]["size"], config["source"]["dim"]
    print(
        f"{chosen.out}: {config['backbone']['name']} with {agg}, {dim} numbers a descriptor, "
        f"images of {height}x{width} pixels (from {config['source']['project']})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
