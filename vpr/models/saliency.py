"""Similarity maps: the share of each cell of two feature maps in the similarity of their descriptors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vpr.models.describer import Describer
from vpr.types import Features


def similarity_maps(describer: Describer, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Share the cosine similarity of two images out among the cells of their maps; what lowers it counts as 0.

    The gradient of the similarity times the map, summed over channels (Grad-CAM, Selvaraju et al., ICCV 2017, but cell
    by cell, as Stylianou et al., WACV 2019, do for similarities). Norms are taken for constants, and the deviations of
    LayerNorm (Ali et al., ICML 2022): a longer vector has the same direction, so that otherwise all cells together
    would always add up to nothing. Before what is negative is cut off, the cells of each image add up to the
    similarity; where an aggregator adds biases, to what is left without them.

    Args:
        describer: in evaluation mode, with any aggregator; its parameters get no gradients.
        first, second: (1, 3, H, W) float, normalised, on the describer's device; sizes may differ.

    Returns:
        Two maps (h, w) float32 >= 0, of the sizes of the images' feature maps.

    Raises:
        RuntimeError: the describer is in training mode.
    """
    if describer.training:
        raise RuntimeError("the describer is in training mode: call .eval() first")
    with torch.inference_mode(False):  # under which gradients could not be had
        with torch.no_grad():
            pair = [describer.features(images) for images in (first, second)]
        with torch.enable_grad():
            (one, its), (other, theirs) = (_describe(describer, features) for features in pair)
            gradients = torch.autograd.grad((one * other).sum(), (its, theirs))
    sizes = (features.map.shape[-2:] for features in pair)
    return tuple(  # type: ignore[return-value]
        (cells.detach() * gradient).float().sum(1).clamp(min=0).reshape(size)
        for cells, gradient, size in zip((its, theirs), gradients, sizes, strict=True)
    )


def _describe(describer: Describer, features: Features) -> tuple[Tensor, Tensor]:
    """Return a descriptor (1, D), and what it depends on cell by cell: (1, C, h, w) or (1, K, h * w)."""
    cells = features.map.clone().requires_grad_()
    with _ConstantNorms() as seen:
        descriptor = describer.aggregator(features._replace(map=cells))
    return descriptor, seen.shares[-1] if seen.shares else cells


class _ConstantNorms(TorchFunctionMode):
    """Take what `normalize` and `layer_norm` divide by for constants: L2 norms and standard deviations.

    Attributes:
        shares: of clusters in cells (1, K, cells), as NetVLAD has. The sum of its residuals is linear in them, and in
            nothing else: the gradient by the map also says where cells would change clusters, which is another thing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if replacement := CONSTANT.get(func):
            return replacement(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if func is Tensor.softmax:
            self.shares.append(result)
        return result


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    return x / x.detach().norm(p, dim, keepdim=True).clamp(min=eps)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    x = x - x.mean(dims, keepdim=True)
    x = x / (x.detach().square().mean(dims, keepdim=True) + eps).sqrt()
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


CONSTANT: dict[Any, Callable[..., Tensor]] = {F.normalize: _normalize, F.layer_norm: _layer_norm}
