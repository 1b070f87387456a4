"""python -m vpr.interop PATH out.ckpt: turn a published checkpoint into one of ours."""

from __future__ import annotations

import argparse
import sys

from vpr.checkpoint import write
from vpr.errors import VPRError
from vpr.interop import mixvpr, openibl
from vpr.interop.published import read_published
from vpr.models.aggregators.projected import inner_node


def main(arguments: list[str] | None = None) -> int:
    """Convert one file; return the exit code: 0, or 1 after an error, which is printed as a sentence."""
    parser = argparse.ArgumentParser(prog="python -m vpr.interop", description=__doc__)
    parser.add_argument("path", help="published file of MixVPR, Lightweight-MixVPR, OpenIBL or WAKD")
    parser.add_argument("out", help="checkpoint to write")
    chosen = parser.parse_args(arguments)
    try:
        file = read_published(chosen.path, f"{mixvpr.LAYOUT}; and {openibl.LAYOUT}")
        importer = next((known for known in (mixvpr, openibl) if known.recognises(file.state)), None)
        if importer is None:
            raise file.unknown(f"{len(file.state)} tensors (first: {', '.join(list(file.state)[:3])})")
        content = importer.convert_file(file)
        write(chosen.out, content)
    except VPRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    config = content["config"]
    agg = inner_node(config["agg"])["_target_"].rpartition(".")[2]
    (height, width), dim = config["image"]["size"], config["source"]["dim"]
    print(
        f"{chosen.out}: {config['backbone']['name']} with {agg}, {dim} numbers a descriptor, "
        f"images of {height}x{width} pixels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
