"""Aggregators in the form of Ali-bey's projects (gsv-cities, MixVPR, OpenVPRLab), told by their tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vpr.interop.published import Published, State, node_of
from vpr.models.aggregators.convap import ConvAP
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.mixvpr import MixVPR

Node = dict[str, Any]
Read = Callable[[Published, State, Mapping[str, int]], tuple[Node, dict[str, str]]]
"""(file, tensors, settings beside them) -> (node, names that are ours where they differ)"""

ABSENT = {"boqs.0.queries": "BoQ", "dust_bin": "SALAD"}
"""Tensors by which published aggregators are known that this project has not."""


def read_aggregator(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, Tensor]]:
    """Return the node of the aggregator with these tensors, and the tensors under the describer's names.

    Args:
        theirs: names without `aggregator.`.
        settings: positive whole numbers among the aggregator's arguments, where they stand beside the tensors.

    Raises:
        CheckpointError: the aggregator is none of ours, or the tensors do not say all that is needed.
    """
    read = next((read for tensors, read in READERS if tensors <= theirs.keys()), None)
    if read is None:
        absent = next((name for key, name in ABSENT.items() if key in theirs), "")
        seen = ", ".join(list(theirs)[:3]) or "no tensor"
        raise file.unknown(
            f"the aggregator {absent} ({seen}), which this project has not"
            if absent
            else f"an aggregator that is none of MixVPR, GeM, CosPlace and ConvAP ({seen})"
        )
    node, renamed = read(file, theirs, settings)
    return node, {f"aggregator.{renamed.get(key, key)}": value for key, value in theirs.items()}


def _mixvpr(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    depth = len({key.split(".")[1] for key in theirs if key.startswith("mix.")})
    try:
        out_channels, out_rows = theirs["channel_proj.weight"].shape[0], theirs["row_proj.weight"].shape[0]
        cells = theirs["row_proj.weight"].shape[1]
        hidden = theirs["mix.0.mix.1.weight"].shape[0] if depth else cells
    except (KeyError, IndexError):
        raise file.unknown(f"a MixVPR that is not whole ({', '.join(list(theirs)[:3])})") from None
    if not cells:
        raise file.unknown(f"an aggregator of impossible sizes (row_proj.weight of {cells} cells)")
    sizes = {"out_channels": out_channels, "out_rows": out_rows, "mix_depth": depth, "mlp_ratio": hidden / cells}
    return node_of(MixVPR, **sizes), {}


def _cosplace(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    return node_of(CosPlace, out_dim=len(theirs["fc.weight"])), {"gem.p": "pool.p"}


def _convap(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    """Read the pooled cells off the settings, or off the name (`resnet50_ConvAP_1024_2x2.ckpt`): no tensor has them."""
    named = re.search(r"_(\d+)x(\d+)(?=\D|$)", file.path.stem)
    if not settings and named is None:
        raise file.unknown(
            "a ConvAP whose cells (2x2 in the published models) stand neither in it nor in its name; if you know them, "
            f"name the file {file.path.stem}_2x2{file.path.suffix}"
        )
    in_name = dict(zip(("s1", "s2"), map(int, named.groups()), strict=True)) if named else {}
    cells = {"s1": 2, "s2": 2} | (dict(settings) or in_name)
    sizes = {"out_channels": len(theirs["channel_pool.weight"]), "rows": cells["s1"], "columns": cells["s2"]}
    return node_of(ConvAP, **sizes), {f"channel_pool.{part}": f"channel_proj.{part}" for part in ("weight", "bias")}


def _gem(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    return node_of(GeM), {"p": "pool.p"}


READERS: list[tuple[set[str], Read]] = [
    ({"channel_proj.weight", "row_proj.weight"}, _mixvpr),
    ({"gem.p", "fc.weight"}, _cosplace),
    ({"channel_pool.weight"}, _convap),
    ({"p"}, _gem),
]
