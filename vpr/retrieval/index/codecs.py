"""Codecs of a place index: descriptors as they are, or in a few bytes each; a class and a conf/index/kind each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import faiss
import numpy as np

from vpr.errors import ConfigError, DataError

SAMPLE = 65_536  # descriptors that codes are learned from, at most
PER_CENTROID = 4  # photos a centroid, at least


@dataclass(frozen=True)
class Codec:
    """Form in which descriptors are searched: a frozen dataclass, whose settings are kept with the index."""

    coded: ClassVar[bool] = True  # whether faiss searches codes instead of descriptors

    @property
    def id(self) -> str:
        """Short name with the settings, e.g. `pq64`."""
        raise NotImplementedError

    def bytes(self, dim: int, itemsize: int) -> int:
        """Bytes an image that a search goes through, of descriptors of `dim` dimensions of `itemsize` bytes."""
        raise NotImplementedError

    def check(self, photos: int, dim: int) -> None:
        """Raise ConfigError where codes cannot be learned from so many descriptors of `dim` dimensions."""

    def train(self, descriptors: np.ndarray) -> faiss.Index:
        """Learn codes from descriptors (N, D) float32 and return an empty faiss index of them; errors as of `check`."""
        raise NotImplementedError

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        """Turn what faiss returns into similarities, of which larger ones are nearer."""
        return distances


@dataclass(frozen=True)
class Exact(Codec):
    """Descriptors as they are, read in blocks from their file."""

    coded: ClassVar[bool] = False

    @property
    def id(self) -> str:
        return "exact"

    def bytes(self, dim: int, itemsize: int) -> int:
        return dim * itemsize


@dataclass(frozen=True)
class PQ(Codec):
    """Product quantisation (Jegou et al., TPAMI 2011): of each part of a descriptor, the number of its centroid.

    The query is not quantised. Its similarity is told from its distance to the coded descriptor, c: of unit vectors,
    that is q c + (1 - c c) / 2. The inner product q c alone would put photos back whose code is coarse, the right one
    most of all. A part has 256 centroids (8 bits); where the photos are too few to learn them, there are twice as many
    parts of 16 centroids (4 bits).

    Attributes:
        size: bytes a photo.
        rotate: learn a rotation first that suits the parts (OPQ, Ge et al., CVPR 2013).
    """

    size: int = 64
    rotate: bool = False

    @property
    def id(self) -> str:
        return f"{'o' if self.rotate else ''}pq{self.size}"

    def bytes(self, dim: int, itemsize: int) -> int:
        return self.size

    def _layout(self, photos: int) -> tuple[int, int]:
        """Bits a part, and parts."""
        bits = 8 if photos >= PER_CENTROID * 256 else 4
        return bits, self.size * 8 // bits

    def check(self, photos: int, dim: int) -> None:
        bits, parts = self._layout(photos)
        if photos < PER_CENTROID * 2**bits:
            raise ConfigError(
                f"{photos:,} photos are too few to learn {2**bits} centroids a part from: {PER_CENTROID * 2**bits} are "
                "needed. Keep the index exact; so few photos are searched in no time."
            )
        if self.rotate and photos < dim:  # faiss would write beyond its buffers
            raise ConfigError(
                f"{photos:,} photos are too few to learn a rotation of {dim:,} numbers from: as many are "
                "needed. Choose rotate=false, or keep the index exact."
            )
        if not 1 <= parts <= dim or (dim % parts and not self.rotate):
            fits = [size for size in range(1, dim + 1) if dim % (size * 8 // bits) == 0]
            nearest = min(fits, key=lambda size: abs(size - self.size), default=None)
            way = "Keep the index exact" if nearest is None else f"Choose size={nearest}"
            raise ConfigError(
                f"size={self.size}: {dim:,} numbers cannot be cut into {parts} equal parts, one for {bits} bits. {way}"
                f"{', or rotate=true.' if 1 <= parts <= dim else '.'}"
            )

    def train(self, descriptors: np.ndarray) -> faiss.Index:
        photos, dim = descriptors.shape
        self.check(photos, dim)
        bits, parts = self._layout(photos)
        width = dim // parts * parts
        codes = faiss.IndexPQ(width, parts, bits)
        index: faiss.Index = codes
        codes.pq.cp.min_points_per_centroid = PER_CENTROID  # below 39 faiss would warn, and we have our own bound
        if self.rotate:
            rotation, quantiser = faiss.OPQMatrix(dim, parts, width), faiss.ProductQuantizer(width, parts, bits)
            quantiser.cp.min_points_per_centroid = PER_CENTROID
            rotation.pq = quantiser  # its own one would have 256 centroids
            index = faiss.IndexPreTransform(rotation, codes)
        index.train(descriptors)
        if self.rotate:
            rotation.pq = None
        return index

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        return 1 - distances / 2


@dataclass(frozen=True)
class Binary(Codec):
    """Signs of projections, compared by the number that differ (Hamming).

    An angle of a radians between two descriptors makes a share of a / pi of the signs differ (Charikar, STOC 2002),
    from which the similarity is told.

    Attributes:
        bits: a photo, a multiple of 8.
        learned: project on principal components and rotate these to lie near corners (ITQ, Gong & Lazebnik, CVPR 2011),
            which takes more photos than bits and bits <= D; False: random directions, of which there may be any number.
    """

    bits: int = 512
    learned: bool = True

    @property
    def id(self) -> str:
        return f"{'itq' if self.learned else 'sign'}{self.bits}"

    def bytes(self, dim: int, itemsize: int) -> int:
        return self.bits // 8

    def check(self, photos: int, dim: int) -> None:
        if self.bits < 8 or self.bits % 8:
            raise ConfigError(f"bits={self.bits}: choose a multiple of 8.")
        if self.learned and self.bits > min(dim, photos - 1):
            raise ConfigError(
                f"bits={self.bits}: {photos:,} photos with descriptors of {dim:,} numbers give "
                f"{min(dim, photos - 1):,} learned bits at most. Choose fewer, or learned=false."
            )

    def train(self, descriptors: np.ndarray) -> faiss.Index:
        photos, dim = descriptors.shape
        self.check(photos, dim)
        if self.learned:
            index = faiss.index_factory(dim, f"ITQ{self.bits},LSH")
        else:
            index = faiss.IndexLSH(dim, self.bits, True, False)  # rotated at random, no thresholds
        index.train(descriptors)
        return index

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        return np.cos(distances * np.float32(math.pi / self.bits))


def to_plain(codec: Codec) -> dict[str, Any]:
    """Return what `from_plain` makes the codec from again."""
    return {"name": type(codec).__name__, **asdict(codec)}


def from_plain(content: Mapping[str, Any]) -> Codec:
    """Make a codec of its name and settings; DataError where there is none of that name with such settings."""
    settings = dict(content)
    name = settings.pop("name", "")
    codecs = {codec.__name__: codec for codec in Codec.__subclasses__()}
    try:
        return codecs[name](**settings)
    except (KeyError, TypeError):
        raise DataError(f"{dict(content)} is no codec of an index; known are {', '.join(codecs)}.") from None
