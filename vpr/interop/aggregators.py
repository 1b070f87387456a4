"""Aggregators in the form of Ali-bey's projects (gsv-cities, MixVPR, OpenVPRLab, BoQ) and of SALAD, told by tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vpr.interop.published import Published, State, node_of
from vpr.models.aggregators.avg import Avg
from vpr.models.aggregators.boq import BoQ
from vpr.models.aggregators.convap import ConvAP
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.mixvpr import MixVPR
from vpr.models.aggregators.salad import SALAD

Node = dict[str, Any]
Read = Callable[[Published, State, Mapping[str, int]], tuple[Node, dict[str, str]]]
"""(file, tensors, settings beside them) -> (node, names that are ours where they differ)"""


def read_aggregator(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, Tensor]]:
    """Return the node of the aggregator with these tensors, and the tensors under the describer's names.

    Args:
        theirs: names without `aggregator.`.
        settings: positive whole numbers among the aggregator's arguments, where they stand beside the tensors.

    Raises:
        CheckpointError: the aggregator is none of ours, or the tensors do not say all that is needed.
    """
    read = next((read for tensors, read in READERS if tensors <= theirs.keys()), None)
    named = file.at("hyper_parameters", "aggregator", "class")
    if read is None and not theirs and named == "AVGPool":  # it has no tensors, so its name must do
        return node_of(Avg), {}
    if read is None:
        seen = ", ".join(list(theirs)[:3]) or "no tensor"
        name = f" {named}" if isinstance(named, str) else ""
        known = "MixVPR, GeM, CosPlace, ConvAP, SALAD and BoQ"
        raise file.unknown(f"an aggregator{name} that is none of {known} ({seen})")
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


def _boq(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    """Read all sizes off the tensors, but for the heads, which are one for 64 channels in all published ones."""
    blocks = {key.split(".")[1] for key in theirs if key.startswith("boqs.")}
    sizes = {"channels": len(theirs["proj_c.weight"]), "queries": theirs["boqs.0.queries"].shape[1]}
    return node_of(BoQ, **sizes, layers=len(blocks), rows=len(theirs["fc.weight"])), {}


def _salad(file: Published, theirs: State, settings: Mapping[str, int]) -> tuple[Node, dict[str, str]]:
    try:
        sizes = {
            "clusters": len(theirs["score.3.weight"]),
            "cluster_dim": len(theirs["cluster_features.3.weight"]),
            "token_dim": len(theirs["token_features.2.weight"]),
            "hidden": len(theirs["score.0.weight"]),
        }
    except KeyError as missing:
        raise file.unknown(f"a SALAD that is not whole: it has no {missing.args[0]}") from None
    return node_of(SALAD, **sizes), {}


READERS: list[tuple[set[str], Read]] = [
    ({"channel_proj.weight", "row_proj.weight"}, _mixvpr),
    ({"boqs.0.queries", "proj_c.weight", "fc.weight"}, _boq),
    ({"dust_bin"}, _salad),
    ({"gem.p", "fc.weight"}, _cosplace),
    ({"channel_pool.weight"}, _convap),
    ({"p"}, _gem),
]
