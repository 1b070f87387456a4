"""python -m vpr.interop PATH out.ckpt: turn a published checkpoint into one of ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from vpr.checkpoint import write
from vpr.errors import ends_with_a_message
from vpr.interop.recognise import convert
from vpr.interop.zoo import PUBLISHED, SHORT, local_file
from vpr.models.aggregators.projected import inner_node
from vpr.terminal import readable


@ends_with_a_message
def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; return the exit code: 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m vpr.interop", description=__doc__)
    parser.add_argument(
        "path",
        help="published file of MegaLoc, SALAD, CliqueMining, BoQ, MixVPR, Lightweight-MixVPR, gsv-cities, "
        "OpenVPRLab, OpenIBL, WAKD, pytorch-NetVlad, CosPlace, EigenPlaces or deep-visual-geo-localization-benchmark, "
        f"recognised by its content; or one of {', '.join([*SHORT, *PUBLISHED])}, downloaded at first use",
    )
    parser.add_argument("out", help="checkpoint to write")
    chosen = parser.parse_args(arguments)
    content = convert(local_file(chosen.path))
    write(chosen.out, content)
    config = content["config"]
    agg = inner_node(config["agg"])["_target_"].rpartition(".")[2]
    (height, width), dim = config["image"]["size"], config["source"]["dim"]
    print(
        f"{readable(chosen.out)}: {config['backbone']['name']} with {agg}, {dim} numbers a descriptor, "
        f"images of {height}x{width} pixels (from {config['source']['project']})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
