"""MobileNetV3 (Howard et al., 2019) in the form of WAKD (2022), which its published checkpoints need.

It differs from torchvision's in some widths, in the gates, which act on the output of a block, and in a last 1x1
convolution to 512 channels.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation as Layer

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import Origin, State, load_exactly, pretrained_state
from vpr.types import Features, FeatureSpec

log = logging.getLogger(__name__)

# Names of tensors in the published files.
LAYER = re.compile(r"(bneck\.\d+\.)?(conv|bn)(\d)\.(\w+)")
GATE = re.compile(r"(bneck\.\d+\.)se\.se\.(\d)\.(\w+)")
POOLED = ".se.se.5."  # where the pooling is a layer of its own, it moves the others up by one


class Row(NamedTuple):
    """One block: depthwise kernel, channels in its middle and at its end, activation, whether gated, stride."""

    kernel: int
    wide: int
    out: int
    activation: type[nn.Module]
    gated: bool
    stride: int


RE, HS = nn.ReLU, nn.Hardswish
LARGE = [
    *(Row(3, 16, 16, RE, False, 1), Row(3, 64, 24, RE, False, 2), Row(3, 72, 24, RE, False, 1)),
    *(Row(5, 72, 40, RE, True, 2), Row(5, 120, 40, RE, True, 1), Row(5, 120, 40, RE, True, 1)),
    *(Row(3, 240, 80, HS, False, 2), Row(3, 200, 80, HS, False, 1)),
    *(Row(3, 184, 80, HS, False, 1), Row(3, 184, 80, HS, False, 1)),
    *(Row(3, 480, 112, HS, True, 1), Row(3, 672, 112, HS, True, 1)),
    *(Row(5, 672, 160, HS, True, 1), Row(5, 672, 160, HS, True, 2), Row(5, 960, 160, HS, True, 1)),
]
SMALL = [
    *(Row(3, 16, 16, RE, True, 2), Row(3, 72, 24, RE, False, 2), Row(3, 88, 24, RE, False, 1)),
    *(Row(5, 96, 40, HS, True, 2), Row(5, 240, 40, HS, True, 1), Row(5, 240, 40, HS, True, 1)),
    *(Row(5, 120, 48, HS, True, 1), Row(5, 144, 48, HS, True, 1)),
    *(Row(5, 288, 96, HS, True, 2), Row(5, 576, 96, HS, True, 1), Row(5, 576, 96, HS, True, 1)),
]
# the blocks, and the widths of the 1x1 convolutions behind them
NETWORKS = {"mobilenet_v3_large_wakd": (LARGE, (960, 512)), "mobilenet_v3_small_wakd": (SMALL, (512,))}


class MobileNetV3WAKD(Backbone):
    """The MobileNetV3 of WAKD: 512 channels at stride 32.

    Args:
        name: mobilenet_v3_large_wakd or mobilenet_v3_small_wakd.
        weights: none, or the PATH of a state dict under published names or ours, such as the ImageNet file
            mbv3_large.pth.tar, which has no last layer of 512 channels: a warning names what stays random. `default` is
            refused: no address is known that weights could be fetched from.
        gate: what weighs the channels at the end of a block. `pooled`: a squeeze-excite network on the mean over all
            cells (the published small network). `per_pixel`: the same network in each cell by itself (the large one).
        freeze: number of leading layers (large: of 17, small: of 12) that are not trained; the last one always is.
    """

    def __init__(
        self, name: str = "mobilenet_v3_large_wakd", weights: str = "default", gate: str = "pooled", freeze: int = 0
    ) -> None:
        super().__init__()
        if name not in NETWORKS:
            raise ConfigError(f"backbone.name={name}: choose {' or '.join(NETWORKS)}.")
        if gate not in ("pooled", "per_pixel"):
            raise ConfigError(f"backbone.gate={gate}: choose pooled or per_pixel.")
        rows, widths = NETWORKS[name]
        between = pairwise([16, *(row.out for row in rows)])
        self.stem = Layer(3, 16, 3, stride=2, activation_layer=HS)
        self.blocks = nn.Sequential(*(Block(i, row, gate) for (i, _), row in zip(between, rows, strict=True)))
        self.head = nn.Sequential(*(Layer(i, o, 1, activation_layer=HS) for i, o in pairwise([rows[-1].out, *widths])))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        layers = [self.stem, *self.blocks, *self.head[:-1]]
        if not 0 <= freeze <= len(layers):
            raise ConfigError(f"backbone.freeze={freeze}: {name} has {len(layers)} layers before its last one.")
        state = pretrained_state(weights, Origin(name))
        if state is not None:
            self._load(state, weights, Origin(name), gate)
        self.freeze(layers[:freeze], weights)
        self.spec = FeatureSpec(widths[-1], 32)

    def _load(self, state: State, path: str, origin: Origin, gate: str) -> None:
        if gate_of(state) not in ("", gate):
            log.warning("backbone.gate=%s, but the gates in %s are %s.", gate, path, gate_of(state))
        names, current, last = our_names(state), self.state_dict(), f"head.{len(self.head) - 1}."
        renamed = {names[k]: v for k, v in state.items()}
        last_layer = {k: v for k, v in current.items() if k.startswith(last) and not k.endswith("num_batches_tracked")}
        foreign = [k for k in state if names[k] not in current and names[k].startswith(("classifier.", "head."))]
        if any(k not in renamed or renamed[k].shape != v.shape for k, v in last_layer.items()):
            unused = [k for k in state if names[k].startswith(last) and names[k] in current] + foreign
            log.warning(
                "%s has no last layer that fits %s: %s stays random. Not used of the file: %s.",
                *(path, origin.name, _layers(last_layer)),
                _layers({k: state[k] for k in unused if not k.endswith("num_batches_tracked")}) or "nothing",
            )
            self.random_layers = (last.removesuffix("."),)
            renamed |= {k: current[k] for k in current if k.startswith(last)}
        load_exactly(self, renamed, origin, dropped=(names[k] for k in foreign))

    def forward(self, images: Tensor) -> Features:
        return Features(self.head(self.blocks(self.stem(images))))


class Block(nn.Module):
    """Expansion, depthwise convolution and projection, then the gate; with a shortcut where the stride is 1."""

    def __init__(self, channels: int, row: Row, gate: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Layer(channels, row.wide, 1, activation_layer=row.activation),
            Layer(row.wide, row.wide, row.kernel, row.stride, groups=row.wide, activation_layer=row.activation),
            Layer(row.wide, row.out, 1, activation_layer=None),
        )
        self.gate = Gate(row.out, gate == "pooled") if row.gated else nn.Identity()
        self.has_shortcut = row.stride == 1
        widens = self.has_shortcut and channels != row.out
        self.shortcut = Layer(channels, row.out, 1, activation_layer=None) if widens else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.layers(x))
        return y + self.shortcut(x) if self.has_shortcut else y


class Gate(nn.Module):
    """Weights in 0..1 for the channels, from their mean over all cells (`pooled`) or from each cell alone."""

    def __init__(self, channels: int, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.layers = nn.Sequential(
            Layer(channels, channels // 4, 1),
            Layer(channels // 4, channels, 1, activation_layer=nn.Hardsigmoid),
        )

    def forward(self, x: Tensor) -> Tensor:
        squeezed = torch.mean(x, (2, 3), keepdim=True) if self.pooled else x
        return x * self.layers(squeezed)


def gate_of(keys: Iterable[str]) -> str:
    """Return the kind of gate that these tensors are of, pooled or per_pixel; empty where none has a published name."""
    gates = [key for key in keys if GATE.fullmatch(key)]
    if not gates:
        return ""
    return "pooled" if any(POOLED in key for key in gates) else "per_pixel"


def our_names(keys: Iterable[str]) -> dict[str, str]:
    """Return our name for each published one; those of an ImageNet classifier become `classifier.*`.

    Names that are not known stay as they are.
    """
    published = list(keys)
    first = 1 if gate_of(published) == "pooled" else 0
    return {key: _our_name(key, first).replace("bneck.", "blocks.") for key in published}


def _our_name(key: str, first: int) -> str:
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


def _layers(tensors: State) -> str:
    """Name the layers of these tensors, each with the shape of its first one."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, value in tensors.items():
        shapes.setdefault(key.rpartition(".")[0], tuple(value.shape))
    return ", ".join(f"{layer} {shape}" for layer, shape in shapes.items())
