"""Base class of the backbones: their spec, frozen layers and the state of BatchNorm."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import Tensor, nn

from vpr.types import Features, FeatureSpec, Preprocess

log = logging.getLogger(__name__)


class Backbone(nn.Module):
    """Network from normalised images (B, 3, H, W) float to `Features`: a map (B, C, h, w), and perhaps a class token.

    A family of networks is one file beside this one with one subclass, and each name of it a YAML in conf/backbone.
    The constructor takes `weights: str = "default"` (default | none | package | PATH of a state dict; `checkpoint`:
    the values come next, so nothing is read or downloaded) and its own options. It sets `spec` and, where the weights
    expect others than ImageNet's, `mean` and `std`; it hands the layers that are not trained to `freeze`. One that is
    made anew for each image size takes it as `image_size`, (height, width) in pixels.

    Attributes:
        spec: channels and stride of the map.
        mean, std: of RGB in 0..1, as the pretrained weights expect them.
        random_layers: names of layers that pretrained weights have not, and that are random with them, too.
        fixed_size: whether it takes not every image size, as a vision transformer that cuts images into patches.
    """

    spec: FeatureSpec
    mean: tuple[float, float, float] = Preprocess().mean
    std: tuple[float, float, float] = Preprocess().std
    random_layers: tuple[str, ...] = ()
    fixed_size: bool = False

    def __init__(self) -> None:
        super().__init__()
        # Names, not modules: synchronised BatchNorm replaces modules.
        self._frozen: list[str] = []
        self._batchnorm_held = False

    def forward(self, images: Tensor) -> Features:
        """Return the features of normalised images (B, 3, H, W)."""
        raise NotImplementedError

    def keep_size(self, height: int, width: int) -> None:
        """Take what depends on the image size, in pixels, from now on as it is for this one: for an export."""

    def size_advice(self, height: int, width: int) -> str:
        """Return what to type instead of an image size that the network cannot take, for messages."""
        return "Type a larger image.size, or choose another backbone."

    def freeze(self, parts: Iterable[nn.Module | nn.Parameter], weights: str) -> None:
        """Take `parts` out of training: no gradients, and BatchNorm keeps its statistics, also after `train()`.

        Random layers are never frozen: with `weights="none"` this only warns.
        """
        chosen = list(parts)
        if not chosen:
            return
        if weights == "none":
            log.warning("backbone.weights=none: random layers are not frozen, all of the backbone is trained.")
            return
        for part in chosen:
            part.requires_grad_(False)
        self._frozen = [name for name, module in self.named_modules() if any(module is part for part in chosen)]
        self.train(self.training)

    def hold_batchnorm(self) -> None:
        """Keep the statistics of every BatchNorm as they are; its scale and shift are still trained.

        For pretrained weights and small or unusual training sets, whose own statistics would replace better ones.
        """
        self._batchnorm_held = True
        self.train(self.training)

    def set_batchnorm_momentum(self, momentum: float) -> None:
        """Set the share (0..1) of a new batch in the running statistics of every BatchNorm.

        Networks made for long training have 0.01 (MobileNetV3, EfficientNet): their statistics lag behind weights that
        change in a few hundred steps, and evaluation, which uses them, suffers.
        """
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = momentum

    def train(self, mode: bool = True) -> Backbone:
        """Put the layers in training mode, except the frozen ones."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        if self._batchnorm_held:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
