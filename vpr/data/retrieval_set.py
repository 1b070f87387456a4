"""Evaluation set: database, queries, ground truth, and the protocol under whose id its recalls stand."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.utils.data import Dataset

from vpr.data.images import decode, missing_files
from vpr.data.transforms import EvalTransform, stack_images
from vpr.errors import ConfigError, DataError
from vpr.types import Preprocess, Protocol

SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG")
NEARLY_ALL, FEW = 0.9, 4
UNITS = {"radius": "m", "tolerance": "f"}  # metres, frames


@dataclass(frozen=True, eq=False)
class RetrievalSet:
    """Database and query images, and the positives of each query. A reader of `dataset.eval` returns one.

    Checks its counts against the protocol when it is made.

    Attributes:
        protocol: stands beside every recall.
        database, queries: image files.
        positives: one sorted int64 array of database rows per query; empty where a query has none.
        panoramas: (N,) int64, the panorama that each database image was cut from; only the nearest cut-out of each
            counts (non-maximum suppression). None: every image counts.
        query_short_side: pixels; queries keep their shape, with the shorter side this long, one in a batch. None: they
            are resized as the database is.
        each_against_others: the queries are the database, row by row, and no image is a match of itself.
        own_rows: one int64 array of database rows per query, those that are the query's own file, and so no matches of
            it (see `vpr.data.own_images`). None: they have not been looked for, or there are none.

    Raises:
        DataError: counts other than the protocol's, positives that are no sorted rows of the database, panoramas
            that are not one integer a database image, or fewer than two images of which each is to be compared with
            the others.
        ConfigError: a query size below 1.
    """

    protocol: Protocol
    database: Sequence[Path]
    queries: Sequence[Path]
    positives: Sequence[np.ndarray]
    panoramas: np.ndarray | None = None
    query_short_side: int | None = None
    each_against_others: bool = False
    own_rows: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        for what, expected, count in (
            ("database images", self.protocol.database, len(self.database)),
            ("queries", self.protocol.queries, len(self.queries)),
        ):
            if expected is not None and expected != count:
                raise DataError(
                    f"{self.protocol.id} has {expected:,} {what}, but {count:,} were found (first: "
                    f"{next(iter(self.database if what != 'queries' else self.queries), 'none')}). Extract the archive "
                    "again, or give a set of your own another protocol id and other counts."
                )
            if not count:
                raise DataError(f"{self.protocol.id} has no {what}. Check its root and filters.")
        if self.panoramas is not None:
            shape, kind = np.shape(self.panoramas), np.asarray(self.panoramas).dtype.kind
            if shape != (len(self.database),) or kind not in "iu":
                raise DataError(
                    f"{self.protocol.id}: panoramas must be {len(self.database):,} integers, one for each database "
                    f"image, not values of type {np.asarray(self.panoramas).dtype} in the shape {shape}."
                )
        if self.query_short_side is not None and self.query_short_side < 1:
            raise ConfigError(f"{self.protocol.id}: query_short_side={self.query_short_side} must be 1 pixel or more.")
        if self.each_against_others:
            self._check_same_sides()
        self._check_positives()

    def _check_same_sides(self) -> None:
        if len(self.database) < 2:
            raise DataError(
                f"{self.protocol.id} has one image, {self.database[0]}, and each image is compared with the others. "
                "Give two or more."
            )
        if len(self.database) != len(self.queries) or self.panoramas is not None:
            raise ValueError(f"{self.protocol.id}: each_against_others takes the same images twice, and no panoramas")

    def _check_positives(self) -> None:
        if len(self.positives) != len(self.queries):
            raise DataError(f"{self.protocol.id}: {len(self.positives):,} positives for {len(self.queries):,} queries.")
        query = np.repeat(np.arange(len(self.positives)), [len(rows) for rows in self.positives])
        rows = np.concatenate([np.empty(0, np.int64), *self.positives])
        wrong = (rows < 0) | (rows >= len(self.database))
        wrong[1:] |= (np.diff(rows) <= 0) & (np.diff(query) == 0)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{self.protocol.id}: the positives of query {query[first]} must be rows of the {len(self.database):,} "
                f"database images, sorted and unique; row {rows[first]} is not."
            )
        if not self.protocol.all_near:
            check_apart(self.positives, len(self.database), self.protocol.id)

    def without(self, bad_database: Collection[int], bad_queries: Collection[int]) -> RetrievalSet:
        """Leave rows out; the protocol id then says so, e.g. `pitts30k-test@25m[6810of6816q]`."""
        database = np.setdiff1d(np.arange(len(self.database)), list(bad_database))
        queries = np.setdiff1d(np.arange(len(self.queries)), list(bad_queries))
        new_row = np.full(len(self.database), -1)
        new_row[database] = np.arange(len(database))
        positives = [new_row[self.positives[query]] for query in queries]
        themselves = None if self.own_rows is None else [new_row[self.own_rows[query]] for query in queries]
        whole = replace(self.protocol, database=len(self.database), queries=len(self.queries))
        protocol = as_found(whole, len(database), len(queries), "skip")
        return replace(
            self,
            protocol=protocol,
            database=[self.database[row] for row in database],
            queries=[self.queries[query] for query in queries],
            positives=[rows[rows >= 0] for rows in positives],
            panoramas=None if self.panoramas is None else self.panoramas[database],
            own_rows=None if themselves is None else [rows[rows >= 0] for rows in themselves],
        )

    def with_queries_at(self, size: tuple[int, int]) -> RetrievalSet:
        """Resize the queries to (height, width) as the database is; the id says so: `tokyo247@25m-nms[q320x320]`.

        For describers that take one size alone. A set whose queries have no size of their own is returned.
        """
        if self.query_short_side is None:
            return self
        protocol = replace(self.protocol, id=f"{self.protocol.id}[q{size[0]}x{size[1]}]")
        return replace(self, protocol=protocol, query_short_side=None)

    def present(self, missing: str = "raise") -> RetrievalSet:
        """Look for the image files: `raise` if some are missing, `skip` them, or `ignore` (look for none).

        Raises:
            DataError: files are missing, or all of a side are, which are never skipped; ConfigError: an unknown policy.
        """
        _check_policy(missing)
        if missing == "ignore":
            return self
        bad_database, bad_queries = missing_files(self.database), missing_files(self.queries)
        for what, paths, bad in (
            ("database images", self.database, bad_database),
            ("queries", self.queries, bad_queries),
        ):
            nothing = len(bad) == len(paths)
            if bad and (missing == "raise" or nothing):
                other = "look at the names of folders" if nothing else "pass dataset.on_bad_image=skip"
                raise DataError(
                    f"{len(bad):,} of {len(paths):,} {what} of {self.protocol.id} are missing (first: "
                    f"{os.path.abspath(paths[bad[0]])}{_beside(paths[bad[0]])}). Extract the archive again, or {other}."
                )
        return self.without(bad_database, bad_queries) if bad_database or bad_queries else self


def as_found(protocol: Protocol, database: int, queries: int, missing: str = "raise") -> Protocol:
    """Under `skip`, put the counts of a set into its protocol where they are not those that it expects.

    `pitts30k-test@25m` with 6,810 of its 6,816 queries becomes `pitts30k-test@25m[6810of6816q]`. For readers that list
    a folder, and so cannot name the files that are missing; other policies return the protocol as it is, whose counts
    `RetrievalSet` then checks.

    Raises:
        ConfigError: an unknown policy.
    """
    _check_policy(missing)
    if missing != "skip":
        return protocol
    counts = [
        f"{count}of{expected}{unit}"
        for count, expected, unit in ((database, protocol.database, "db"), (queries, protocol.queries, "q"))
        if expected is not None and count != expected
    ]
    suffix = f"[{','.join(counts)}]" if counts else ""
    return replace(protocol, id=protocol.id + suffix, database=database, queries=queries)


def check_distance(protocol: Protocol, option: str, value: float) -> None:
    """Check that `radius` or `tolerance` is 0 or more, and the `@25m` or `@2f` of the id if that has one.

    Raises:
        ConfigError: it is negative or no number, or the id says another one.
    """
    if not value >= 0:
        raise ConfigError(f"{protocol.id}: {option}={value:g} must be 0 or more.")
    unit = UNITS[option]
    of_id = re.search(rf"@(\d+(?:\.\d+)?){unit}(?![^\W_])", protocol.id)
    if of_id and float(of_id[1]) != value:
        other = f"{protocol.id[: of_id.start()]}@{value:g}{unit}{protocol.id[of_id.end() :]}"
        raise ConfigError(
            f"{option}={value:g} does not fit the id {protocol.id}, under which the number would stand. "
            f"Give both: protocol.id={other}."
        )


def check_apart(near: Sequence[np.ndarray], database: int, name: str) -> None:
    """Refuse positives by which nearly any answer is right: those of degrees taken for metres, or of one point for all.

    Args:
        near: of each query the database rows that are near it.
        database: number of database images.
        name: of the set.

    Raises:
        DataError: of nearly all queries (9 of 10) nearly all database images (9 of 10, and 4 or more) are near.
    """
    most = [len(rows) >= NEARLY_ALL * database for rows in near]
    if database >= FEW and most and sum(most) >= NEARLY_ALL * len(most):
        raise DataError(
            f"{name}: nearly all of the {database:,} database images are near nearly all of the {len(near):,} queries, "
            "so that any answer would be right. Are the positions metres, and filled in? Where they are, type "
            "++dataset.eval.NAME.protocol.all_near=true."
        )


def positives_within(database: np.ndarray, queries: np.ndarray, radius: float, block: int = 256) -> list[np.ndarray]:
    """Find the database rows within `radius` of each query, the radius included.

    Args:
        database, queries: (N, d) and (Q, d) positions in metres, or (N,) and (Q,) frame numbers.
        radius: in the same unit.
        block: queries at a time: Python lists of neighbours exist for one block only, so memory stays small.

    Returns:
        one sorted int64 array of database rows per query.
    """
    # Splits at the middle and larger leaves halve the time to plant it, which for millions of positions is all of it.
    tree = cKDTree(np.asarray(database, float).reshape(len(database), -1), leafsize=64, balanced_tree=False)
    points = np.asarray(queries, float).reshape(len(queries), -1)
    rows: list[np.ndarray] = []
    for start in range(0, len(points), block):
        positives = tree.query_ball_point(points[start : start + block], radius, return_sorted=True)
        rows.extend(np.asarray(neighbours, np.int64) for neighbours in positives)
    return rows


class ImageDataset(Dataset[tuple[np.ndarray, int, str]]):
    """Images for evaluation: `(image uint8 (H, W, 3), index, error)`.

    An unreadable image has a message in `error` and zeros for pixels, which only keep the batch in shape. With
    `short_side` images keep their shape (see `EvalTransform`), and only equal ones go into one batch.
    """

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess, short_side: int | None = None) -> None:
        self.paths = paths
        self.transform = EvalTransform(preprocess, short_side)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, str]:
        try:
            image = self.transform(decode(self.paths[index], self.transform.enough))
        except DataError as error:
            return np.zeros((*self.transform.size, 3), np.uint8), index, str(error)
        return image, index, ""


def collate_images(items: Sequence[tuple[np.ndarray, int, str]]) -> tuple[Tensor, Tensor, list[str]]:
    """Stack items of `ImageDataset` to `(images uint8 (B, 3, H, W), indices (B,), errors)`."""
    images, indices, errors = zip(*items, strict=True)
    return stack_images(images), torch.tensor(indices), list(errors)


def _check_policy(missing: str) -> None:
    if missing not in ("raise", "skip", "ignore"):
        raise ConfigError(f"missing={missing} is unknown: choose raise, skip or ignore.")


def _beside(path: Path) -> str:
    """Name a file that differs by its suffix alone."""
    twin = next((other for suffix in SUFFIXES if (other := path.with_suffix(suffix)).is_file()), None)
    return f"; there is {twin.name}, whose suffix is another" if twin else ""
