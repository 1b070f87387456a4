"""Names of tensors in published files of WAKD's MobileNetV3, and ours for the same tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

LAYER = re.compile(r"(bneck\.\d+\.)?(conv|bn)(\d)\.(\w+)")
GATE = re.compile(r"(bneck\.\d+\.)se\.se\.(\d)\.(\w+)")
POOLED = ".se.se.5."  # where the pooling is a layer of its own, it moves the others up by one


def gate_of(keys: Iterable[str]) -> str:
    """Return which gate these tensors are of, pooled or per_pixel; empty where no gate has a published name."""
    gates = [key for key in keys if GATE.fullmatch(key)]
    if not gates:
        return ""
    return "pooled" if any(POOLED in key for key in gates) else "per_pixel"


def own_names(keys: Iterable[str]) -> dict[str, str]:
    """Return our name for each published one; those of an ImageNet classifier become `classifier.*`.

    Names that are not known stay as they are.
    """
    published = list(keys)
    first = 1 if gate_of(published) == "pooled" else 0
    return {key: _own_name(key, first).replace("bneck.", "blocks.") for key in published}


def _own_name(key: str, first: int) -> str:
    layer, gate = LAYER.fullmatch(key), GATE.fullmatch(key)
    if layer:
        block, kind, number, tensor = layer.groups()
        outer = "stem" if number == "1" else f"head.{int(number) - 2}"
        place = f"{block}layers.{int(number) - 1}" if block else outer
        return f"{place}.{('conv', 'bn').index(kind)}.{tensor}"
    if gate:
        block, number, tensor = gate.groups()
        index, part = divmod(int(number) - first, 3)  # convolution, BatchNorm and activation, twice
        return f"{block}gate.layers.{index}.{part}.{tensor}"
    return re.sub(r"^linear(\d\.)", r"classifier.\1", key)
