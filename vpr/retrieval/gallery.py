"""Asymmetric retrieval: a small model describes the queries, a large one has described the database."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.retrieval.describe import Describe
from vpr.types import Preprocess


class Gallery(NamedTuple):
    """The model that describes the database where the queries have another one; both share a space of descriptors.

    Attributes:
        describe: (B, 3, H, W) uint8 of the size of `preprocess` -> (B, dim).
        dim: length of its descriptors, which must be the queries'.
        preprocess: how it wants its images.
        name: short, for protocol ids: letters, digits and `._+-`.
        model: its digest.
    """

    describe: Describe
    dim: int
    preprocess: Preprocess
    name: str
    model: str = ""


def described_by(gallery: Gallery, retrieval_set: RetrievalSet, dim: int) -> RetrievalSet:
    """Say in the protocol's id who describes the database: `pitts30k-test@25m[gallery-resnet50-mixvpr]`.

    Args:
        dim: length of the queries' descriptors.

    Raises:
        ConfigError: the lengths differ.
    """
    if gallery.dim != dim:
        raise ConfigError(
            f"The queries' descriptors have {dim:,} numbers and those of the gallery {gallery.name} {gallery.dim:,}: "
            "they cannot be compared."
        )
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}[gallery-{gallery.name}]")
    return replace(retrieval_set, protocol=protocol)
