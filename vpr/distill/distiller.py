"""Distillation: terms that pull the student towards a teacher."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vpr.types import Features


class Distiller(nn.Module):
    """A weighted set of distillation terms; with no terms it is plain training.

    Args:
        terms: name -> module (features, descriptors, images) -> scalar.
    """

    def __init__(self, terms: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(dict(terms or {}))

    def forward(self, features: Features, descriptors: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return {term: scalar} for the student's features and descriptors (N, D) of uint8 images (N, 3, H, W)."""
        return {name: term(features, descriptors, images) for name, term in self.terms.items()}
