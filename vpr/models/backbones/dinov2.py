"""DINOv2 (Oquab et al., 2024): vision transformers trained without labels, from timm."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.backbones.timm_features import strict_timm_model
from vpr.models.weights import pretrained_state, timm_origin
from vpr.types import Features, FeatureSpec


class DINOv2(Backbone):
    """Patch tokens as a feature map and the class token, both after the last LayerNorm.

    Args:
        name: timm name, e.g. vit_small_patch14_dinov2.lvd142m.
        weights: default (timm's), none, or the PATH of a state dict (timm's, or the original one).
        train_blocks: number of blocks at the end that are trained; null trains everything.
        patch_size: pixels a patch; height and width of the images must be multiples of it.
    """

    fixed_size = True

    def __init__(
        self,
        name: str = "vit_small_patch14_dinov2.lvd142m",
        weights: str = "default",
        train_blocks: int | None = None,
        patch_size: int = 14,
    ) -> None:
        super().__init__()
        origin = timm_origin(name)
        state = pretrained_state(weights, origin)
        self.model = strict_timm_model(name, VisionTransformer, state, origin, dynamic_img_size=True)
        blocks = self.model.blocks
        if tuple(self.model.patch_embed.patch_size) != (patch_size, patch_size):
            raise ConfigError(f"backbone.patch_size={patch_size}: {name} has {self.model.patch_embed.patch_size[0]}.")
        if train_blocks is not None and not 0 <= train_blocks <= len(blocks):
            raise ConfigError(f"backbone.train_blocks={train_blocks}: {name} has {len(blocks)} blocks.")
        if train_blocks is not None:
            tokens = [p for p in (self.model.cls_token, self.model.reg_token, self.model.pos_embed) if p is not None]
            frozen = [*tokens, self.model.patch_embed, *blocks[: len(blocks) - train_blocks]]
            self.freeze(frozen if train_blocks else [*frozen, self.model.norm], weights)
        self.patch_size = patch_size
        self.spec = FeatureSpec(self.model.embed_dim, patch_size)

    def forward(self, images: Tensor) -> Features:
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            near = 23 * self.patch_size
            raise ConfigError(
                f"Images of {height}x{width} pixels do not divide into patches of {self.patch_size}: "
                f"set image.size to multiples of {self.patch_size}, e.g. [{near},{near}]."
            )
        tokens = self.model.forward_features(images)
        patches = tokens[:, self.model.num_prefix_tokens :].transpose(1, 2)
        return Features(patches.unflatten(2, (height // self.patch_size, width // self.patch_size)), tokens[:, 0])
