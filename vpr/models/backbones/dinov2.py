"""DINOv2 (Oquab et al., TMLR 2024): vision transformers trained without labels; the network is timm's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.backbones.timm_features import checked_options, strict_timm_model
from vpr.models.weights import pretrained_state, timm_origin
from vpr.types import Features, FeatureSpec

POSITIONS = ("torch_hub", "timm")


class DINOv2(Backbone):
    """Patch tokens as a feature map, and the class token.

    Checkpoints from before `position` and `norm` do not name them: their defaults here are what these mean.

    Args:
        name: timm name, e.g. vit_small_patch14_dinov2.lvd142m.
        weights: default (timm's), none, or the PATH of a state dict (timm's, or the original one).
        unfreeze: number of blocks at the end that are trained, with the last LayerNorm; 0 trains nothing, null all.
        patch_size: pixels a patch; height and width of the images must be multiples of it.
        position: rule by which the position embedding is resampled to other sizes than the network's own (518x518):
            torch_hub, as facebookresearch/dinov2 does and all published systems with it, or timm.
        norm: take tokens after the last LayerNorm (SALAD, MegaLoc); false: before it (BoQ), and it is left out.
        any_size: resize images to the nearest multiples of the patch (bilinear, with antialias), as MegaLoc does,
            instead of refusing them.
        options: further arguments of timm.create_model, e.g. {depth: 6}.
        train_blocks: earlier name of `unfreeze`.
    """

    def __init__(
        self,
        name: str = "vit_small_patch14_dinov2.lvd142m",
        weights: str = "default",
        unfreeze: int | None = None,
        patch_size: int = 14,
        position: str = "timm",
        norm: bool = True,
        any_size: bool = False,
        options: Mapping[str, Any] | None = None,
        train_blocks: int | None = None,
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ConfigError(f"backbone.position={position}: it must be one of {', '.join(POSITIONS)}.")
        origin = timm_origin(name)
        state = pretrained_state(weights, origin)
        further = {"dynamic_img_size": True, **checked_options(options)}
        if weights == "checkpoint":  # values come next: random ones would take seconds
            further["weight_init"] = "skip"
        from timm.models.vision_transformer import VisionTransformer  # here, since timm takes a second to import

        self.model = strict_timm_model(name, VisionTransformer, state, origin, **further)
        if tuple(self.model.patch_embed.patch_size) != (patch_size, patch_size):
            raise ConfigError(f"backbone.patch_size={patch_size}: {name} has {self.model.patch_embed.patch_size[0]}.")
        if not norm:
            self.model.norm = nn.Identity()
        trained = train_blocks if unfreeze is None else unfreeze
        blocks = self.model.blocks
        if trained is not None and not 0 <= trained <= len(blocks):
            raise ConfigError(f"backbone.unfreeze={trained}: {name} has {len(blocks)} blocks.")
        if trained is not None:
            tokens = [p for p in (self.model.cls_token, self.model.reg_token, self.model.pos_embed) if p is not None]
            frozen = [*tokens, self.model.patch_embed, *blocks[: len(blocks) - trained]]
            self.freeze(frozen if trained else [*frozen, self.model.norm], weights)
        # Networks with registers are resampled by one rule in both.
        self.as_torch_hub = position == "torch_hub" and self.model.reg_token is None
        self.patch_size = patch_size
        self.any_size, self.fixed_size = any_size, not any_size
        self.spec = FeatureSpec(self.model.embed_dim, patch_size)

    def forward(self, images: Tensor) -> Features:
        images = self.in_patches(images)
        height, width = (int(side) // self.patch_size for side in images.shape[-2:])
        tokens = self.tokens(images)
        patches = tokens[:, self.model.num_prefix_tokens :].transpose(1, 2)
        return Features(patches.unflatten(2, (height, width)), tokens[:, 0])

    def in_patches(self, images: Tensor) -> Tensor:
        """Return normalised images (B, 3, H, W) whose sides are multiples of a patch.

        Raises:
            ConfigError: they are not, and are not to be resized.
        """
        height, width = (int(side) for side in images.shape[-2:])
        size = self.size_in_patches(height, width)
        if size == (height, width):
            return images
        if not self.any_size:
            raise ConfigError(
                f"Images of {height}x{width} pixels do not divide into patches of {self.patch_size}: set image.size to "
                f"multiples of {self.patch_size}, e.g. 'image.size=[{size[0]},{size[1]}]'."
            )
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def tokens(self, images: Tensor) -> Tensor:
        """Return all tokens (B, prefix + h * w, C) of images that divide into patches, the class token first."""
        model = self.model
        if not self.as_torch_hub:
            return model.forward_features(images)
        patches = model.patch_embed(images)  # (B, h, w, C)
        height, width = (int(side) for side in patches.shape[1:3])
        prefix = model.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([prefix, patches.flatten(1, 2)], dim=1) + self.position_embedding(height, width)
        return model.norm(model.blocks(tokens))

    @torch.no_grad()
    def keep_size(self, height: int, width: int) -> None:
        if self.as_torch_hub:
            grid = tuple(side // self.patch_size for side in self.size_in_patches(height, width))
            self.model.pos_embed = nn.Parameter(self.position_embedding(*grid))
            self.model.patch_embed.grid_size = grid

    def size_in_patches(self, height: int, width: int) -> tuple[int, int]:
        """Return the nearest size whose sides are multiples of a patch."""
        rows, columns = (max(1, round(side / self.patch_size)) for side in (height, width))
        return rows * self.patch_size, columns * self.patch_size

    def position_embedding(self, height: int, width: int) -> Tensor:
        """Return the position embedding (1, 1 + height * width, C) of a grid of patches, as torch.hub's DINOv2 has it.

        Bicubic without antialias. It is sampled in steps of side / (cells + 0.1), and not of side / cells: the 0.1 was
        to keep a rounded number of cells from being too small, and the weights were trained with it.
        """
        embedding = self.model.pos_embed
        grid = tuple(self.model.patch_embed.grid_size)
        if (height, width) == grid:
            return embedding
        patches = embedding[:, 1:].float().unflatten(1, grid).permute(0, 3, 1, 2)
        factors = [(cells + 0.1) / side for cells, side in zip((height, width), grid, strict=True)]
        resampled = F.interpolate(patches, scale_factor=factors, mode="bicubic")
        return torch.cat([embedding[:, :1].float(), resampled.flatten(2).transpose(1, 2)], dim=1).to(embedding.dtype)
