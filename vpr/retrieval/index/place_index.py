"""Place index: a folder with the descriptors of many images, searched, and kept up to date image by image."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from vpr.data.formats.folders import require_folder
from vpr.data.formats.unlabelled import of_paths
from vpr.data.npy import map_npy
from vpr.data.places import Places
from vpr.errors import CheckpointError, ConfigError, DataError, IndexDamaged
from vpr.retrieval import extractor
from vpr.retrieval.index.codecs import Codec, Exact, from_plain, to_plain
from vpr.retrieval.index.photo_table import Photos
from vpr.retrieval.index.storage import (
    BLOCK,
    Change,
    ExtractPaths,
    State,
    check_files,
    check_rows,
    commit,
    locked,
    path_extractor,
    read_schema,
    update,
    write,
)
from vpr.retrieval.search import Neighbours, search

CHEAP = 64 << 20  # bytes of descriptors whose digest is verified whenever they are opened

__all__ = ["Change", "ExtractPaths", "Photos", "PlaceIndex", "path_extractor"]


def unlabelled_images(root: str | Path) -> Places:
    """Return the images of the place index in a folder, each for itself; DataError where there is none."""
    folder = require_folder(root, "a place index, as demo.py makes it")
    return of_paths("place_index", PlaceIndex(folder).photos.paths)


class PlaceIndex:
    """Index on disk, as it was when opened, or last changed through this object.

    The folder holds `schema.json`, which names the sub-folder of the state that counts, and there `descriptors.npy`
    (N, D), mapped and not read into memory, `images.csv`, and `codes.faiss` where the codec has codes. A change writes
    a new state from the old one, describing only what is new, and then replaces schema.json: interrupted before that,
    it has changed nothing, and what it had described is found again by the next one.

    Attributes:
        schema: the content of schema.json.
        photos: the N photos, in the order of the rows, with their positions.
        descriptors: (N, D) memmap, float16 or float32.
        codec: how they are searched.
        codes: what is searched instead of the descriptors, or None.
    """

    schema: dict[str, Any]
    photos: Photos
    descriptors: np.ndarray
    codec: Codec
    codes: faiss.Index | None

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._load()

    @classmethod
    def build(
        cls,
        folder: str | Path,
        photos: Photos,
        extract_paths: ExtractPaths,
        dim: int,
        model: str,
        codec: Codec | None = None,
        dtype: str = "float16",
    ) -> tuple[PlaceIndex, Change]:
        """Describe photos into a new index, in place of one that `folder` may hold.

        Args:
            extract_paths: see `path_extractor`.
            dim: dimensions of a descriptor.
            model: digest of the model (`vpr.checkpoint.digest`).
            codec: how descriptors are searched; None: exact.
            dtype: of the descriptors on disk, float16 or float32.

        Raises:
            ConfigError: the codec does not go with so many photos, or with `dim`; the dtype is unknown.
            DataError: no photo, none that can be read, NaN descriptors, too small a disk, another process is writing.
        """
        codec, folder = codec or Exact(), Path(folder)
        if dtype not in extractor.DTYPES:
            raise ConfigError(f"dtype={dtype} is unknown: choose {' or '.join(extractor.DTYPES)}.")
        codec.check(len(photos), dim)  # before hours go into descriptors
        nothing = State(photos.take([]), np.empty((0, dim), dtype))
        schema = {"model": model, "dim": dim, "dtype": dtype, "kind": to_plain(codec)}
        with locked(folder):
            if cls.exists(folder):
                try:
                    read_schema(folder)  # a schema.json of something else is not written over
                except IndexDamaged:
                    (folder / "schema.json").unlink()
            change = update(folder, schema, nothing, photos, extract_paths)
        return cls(folder), change

    @classmethod
    def open(cls, folder: str | Path, model: str | None = None) -> PlaceIndex:
        """Open an index that was made with the model of this digest (None: any).

        Raises:
            CheckpointError: it was made with another model.
            DataError: there is no index, or it is damaged.
        """
        index = cls(folder)
        if model is not None and model != index.model:
            raise CheckpointError(
                f"The place index in {index.folder} was made with the model {index.model[:12]}, not with this one "
                f"({model[:12]}): their descriptors cannot be compared. Use that model, or give the index of this one "
                "a folder of its own."
            )
        return index

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Tell whether `folder` holds an index, of whatever model."""
        return os.path.isfile(Path(folder) / "schema.json")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def model(self) -> str:
        """Digest of the model that describes the photos."""
        return str(self.schema["model"])

    @property
    def dim(self) -> int:
        return int(self.descriptors.shape[1])

    @property
    def bytes_per_photo(self) -> int:
        """Bytes that a search goes through."""
        return self.codec.bytes(self.dim, self.descriptors.dtype.itemsize)

    def search(self, descriptors: np.ndarray, k: int, exact: bool = False) -> Neighbours:
        """Find the `k` most similar photos of each row of (Q, D); see `vpr.retrieval.search.search`.

        With a codec similarities are approximate, and equal ones are sorted by row number. `exact` goes through the
        descriptors themselves.

        Raises:
            DataError: the descriptors have other dimensions than the index.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.dim:
            raise DataError(
                f"The place index in {self.folder} holds descriptors of {self.dim:,} numbers; the queries' have "
                f"the shape {descriptors.shape}. Describe both with the same model."
            )
        if self.codes is None or exact:
            return search(self.descriptors, descriptors, k, unit=True)
        distances, indices = self.codes.search(np.ascontiguousarray(descriptors, np.float32), k)
        similarities = np.where(indices < 0, -np.inf, self.codec.similarities(distances)).astype(np.float32)
        order = np.lexsort((indices, -similarities), axis=1)
        return Neighbours(np.take_along_axis(similarities, order, 1), np.take_along_axis(indices, order, 1))

    def update(self, photos: Photos, extract_paths: ExtractPaths) -> Change:
        """Make the index hold exactly these photos; only those that are new, or whose file has changed, are described.

        Unreadable ones are left out, and tried again the next time. Codes stay as they were learned; `recode` learns
        them anew.

        Raises:
            DataError: nothing would be left, NaN descriptors, too small a disk, another process is writing.
        """
        return self._become(lambda held: photos, extract_paths)

    def add(self, photos: Photos, extract_paths: ExtractPaths) -> Change:
        """Add photos, described only where they are new or changed; all others stay. Errors as of `update`."""
        if photos.root != self.photos.root or photos.unit != self.photos.unit:
            raise DataError(
                f"The place index in {self.folder} holds photos below {self.photos.root} with positions in "
                f"{self.photos.unit}; those to add are below {photos.root}, in {photos.unit}."
            )
        named = set(photos.files)

        def joined(held: Photos) -> Photos:
            return held.take([row for row, file in enumerate(held.files) if file not in named]).followed_by(photos)

        return self._become(joined, extract_paths)

    def remove(self, files: Collection[str]) -> Change:
        """Take photos out by their names; DataError where one is not in the index, or none would be left."""
        gone = set(files)

        def left(held: Photos) -> Photos:
            absent = sorted(gone - set(held.files))
            if absent:
                raise DataError(f"{absent[0]} is not in the place index in {self.folder}.")
            return held.take([row for row, file in enumerate(held.files) if file not in gone])

        return self._become(left, lambda paths, rows, out: {})

    def recode(self, codec: Codec) -> None:
        """Search in another way from now on, or learn codes anew; descriptors stay. ConfigError as of `build`."""
        codec.check(len(self), self.dim)
        with locked(self.folder):
            self._load()
            self.verify()
            every = [(self.descriptors, np.arange(len(self)))]
            write(self.folder, self.schema | {"kind": to_plain(codec)}, self.photos, every, None)
        self._load()

    def verify(self) -> None:
        """Compare all files with their digests, and look at each descriptor; opening does so for small indices.

        Raises:
            IndexDamaged: a file has changed, or a descriptor is NaN, infinite or zero.
        """
        if self._verified:
            return
        try:
            self._verify(self.folder / self.schema["files"])
        except (OSError, ValueError) as error:
            raise IndexDamaged(f"The place index in {self.folder} is damaged ({error}). Build it again.") from error

    def _verify(self, state: Path) -> None:
        check_files(state, self.schema, ["descriptors.npy"])
        for low in range(0, len(self.photos), BLOCK):
            check_rows(self.descriptors[low : low + BLOCK], self.photos.files[low : low + BLOCK])
        self._verified = True

    def note(self, **facts: Any) -> None:
        """Write plain values into schema.json, until the index changes."""
        with locked(self.folder):
            now = read_schema(self.folder)
            if now["files"] == self.schema["files"]:  # else the facts are about what another process has replaced
                commit(self.folder, self.folder / now["files"], now | facts)
        self._load()

    def _become(self, new_photos: Callable[[Photos], Photos], extract_paths: ExtractPaths) -> Change:
        """Hold `new_photos` of those that are held now, which another process may have changed since `open`."""
        with locked(self.folder):
            self._load()
            self.verify()  # a new state takes over what is kept, and has a digest of its own
            change = update(self.folder, self.schema, self._state, new_photos(self.photos), extract_paths)
        self._load()
        return change

    @property
    def _state(self) -> State:
        return State(self.photos, self.descriptors, self.codes)

    def _load(self) -> None:
        while True:
            self.schema = read_schema(self.folder)
            try:
                self._load_state(self.folder / self.schema["files"])
                return
            except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
                if read_schema(self.folder).get("files") == self.schema.get("files"):
                    raise IndexDamaged(
                        f"The place index in {self.folder} is damaged ({error}). Build it again."
                    ) from error
                # Another process has put a new state in place of this one, whose files are gone: read that.

    def _load_state(self, state: Path) -> None:
        self._verified = False
        self.codec = from_plain(self.schema["kind"])
        check_files(state, self.schema, ["images.csv", *(["codes.faiss"] if self.codec.coded else [])])
        self.photos = Photos.read(state / "images.csv", Path(self.schema["root"]), self.schema["unit"])
        self.descriptors = map_npy(state / "descriptors.npy")
        self.codes = faiss.read_index(str(state / "codes.faiss")) if self.codec.coded else None
        coded = len(self.photos) if self.codes is None else self.codes.ntotal
        if not len(self.photos) == len(self.descriptors) == coded or self.photos.digest != self.schema["data"]:
            raise ValueError("its files do not belong together")
        if self.descriptors.nbytes <= CHEAP:
            self._verify(state)
