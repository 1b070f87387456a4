"""Evaluation: images -> descriptors -> neighbours -> recall. Training and evaluate.py call this same function."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch.utils.data import ConcatDataset

from vpr import distributed
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval import extractor, metrics
from vpr.retrieval.extractor import Describe, extract, image_loader, image_progress
from vpr.retrieval.scoring import KS, Evaluation, Rerank, check_ks, score
from vpr.types import Preprocess

log = logging.getLogger(__name__)

# FOLDED vpr/retrieval/evaluate.py: Asymmetric retrieval: a small model describes the queries, a large one has
# described the database.


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


__all__ = ["Evaluation", "evaluate"]


def evaluate(
    describe: Describe,
    dim: int,
    preprocess: Preprocess,
    retrieval_set: RetrievalSet,
    *,
    ks: Sequence[int] = KS,
    batch_size: int = 32,
    num_workers: int = 0,
    dtype: str = "float16",
    on_bad_image: str = "raise",
    fixed_size: bool = False,
    workdir: Path | None = None,
    progress: bool = True,
    seed: int = 0,
    model: str = "",
    gallery: Gallery | None = None,
    rerank: Rerank | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Measure recall@k of `describe: (B, 3, H, W) uint8 -> (B, dim)` on one set; every rank gets the same result.

    Args:
        dtype: of the descriptors on disk, float16 or float32.
        on_bad_image: `raise` ends with a DataError after the pass; `skip` leaves bad images out and says so in the id.
        fixed_size: `describe` takes images of `preprocess.size` alone. Where the set wants its queries in their own
            shape they are then resized to that size as well, and the id says so.
        workdir: where descriptors.npy and schema.json stay; None removes them afterwards. All ranks must see it.
        progress: show a bar (on rank 0).
        seed: of the bootstrap.
        model: digest of the model, kept in schema.json.
        gallery: describes the database instead, and the id says so; `describe` and what belongs to it are then for the
            queries alone.
        rerank: measure the re-ranked search, too; it is the result's `reranked`.
        device: where descriptors are compared for re-ranking.

    Raises:
        ConfigError: a choice is unknown, a k is below 1, the gallery's descriptors have another length, or the set has
            too few photos to be re-ranked.
        DataError: unreadable images under `raise`, NaN descriptors, no query with a positive.
    """
    _check(ks, dtype, on_bad_image)
    metrics.counted(retrieval_set.positives, retrieval_set.protocol.no_positives)  # before hours go into descriptors
    if fixed_size and retrieval_set.query_short_side is not None:
        retrieval_set = _at_own_size(retrieval_set, preprocess)
    if gallery is not None:
        retrieval_set, model = described_by(gallery, retrieval_set, dim), f"{model}, gallery {gallery.model}"
    images = len(retrieval_set.database) + len(retrieval_set.queries)
    if rerank is not None:
        rerank.check(images)
    with extractor.working_folder(workdir) as folder:
        began = time.perf_counter()
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                extractor.create(folder, images, dim, dtype)
        descriptors = extractor.attach(folder)
        bad = _describe(describe, preprocess, gallery, retrieval_set, descriptors, batch_size, num_workers, progress)
        used = _without(retrieval_set, bad, on_bad_image)
        seconds = {"extract": time.perf_counter() - began}
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                if bad:
                    extractor.compact(descriptors, np.setdiff1d(np.arange(images), list(bad)))
                extractor.seal(folder, descriptors, len(used.database), len(used.queries), model)
        split, end = len(used.database), len(used.database) + len(used.queries)
        result = score(
            descriptors[:split], descriptors[split:end], used, ks=ks, seed=seed, rerank=rerank, device=device
        )
        del descriptors

    def whole(found: Evaluation) -> Evaluation:
        return replace(found, bad=bad, seconds=seconds | found.seconds)

    return replace(whole(result), reranked=whole(result.reranked) if result.reranked else None)


def _describe(
    describe: Describe,
    preprocess: Preprocess,
    gallery: Gallery | None,
    retrieval_set: RetrievalSet,
    out: np.ndarray,
    batch_size: int,
    num_workers: int,
    progress: bool,
) -> dict[int, str]:
    """Fill `out` with the database's descriptors and then the queries'; return the bad images by row."""
    database, queries, side = retrieval_set.database, retrieval_set.queries, retrieval_set.query_short_side
    split = len(database)
    with image_progress(retrieval_set.protocol.id, len(out), progress) as advance:
        if side is None and gallery is None:
            paths: Any = ConcatDataset(cast(Any, [database, queries]))  # not [*a, *b]: millions are made when asked for
            return extract(describe, image_loader(paths, preprocess, batch_size, num_workers), out, advance)
        # The queries come first: where the model does not take their shape, that shows before hours go into the rest.
        loader = image_loader(queries, preprocess, batch_size if side is None else 1, num_workers, side)
        bad_queries = extract(describe, loader, out[split:], advance)
        if gallery is not None:
            describe, preprocess = gallery.describe, gallery.preprocess
        bad = extract(describe, image_loader(database, preprocess, batch_size, num_workers), out[:split], advance)
    return bad | {split + row: error for row, error in bad_queries.items()}


def _at_own_size(retrieval_set: RetrievalSet, preprocess: Preprocess) -> RetrievalSet:
    """Resize the queries as the database is, and say so."""
    resized = retrieval_set.with_queries_at(preprocess.size)
    if distributed.rank() == 0:
        _log_once(
            f"{retrieval_set.protocol.id} wants queries in their own shape, {retrieval_set.query_short_side} pixels at "
            f"the shorter side, and this model takes {preprocess.size[0]}x{preprocess.size[1]} alone: what is measured "
            f"is {resized.protocol.id}."
        )
    return resized


@cache
def _log_once(message: str) -> None:
    log.info(message)  # training evaluates after every epoch


def _check(ks: Sequence[int], dtype: str, on_bad_image: str) -> None:
    check_ks(ks)
    if dtype not in extractor.DTYPES:
        raise ConfigError(f"dtype={dtype} is unknown: choose {' or '.join(extractor.DTYPES)}.")
    if on_bad_image not in ("raise", "skip"):
        raise ConfigError(f"on_bad_image={on_bad_image} is unknown: choose raise or skip.")


def _without(retrieval_set: RetrievalSet, bad: dict[int, str], on_bad_image: str) -> RetrievalSet:
    split = len(retrieval_set.database)
    bad_database, bad_queries = [row for row in bad if row < split], [row - split for row in bad if row >= split]
    if not bad:
        return retrieval_set
    if on_bad_image == "skip":
        return retrieval_set.without(bad_database, bad_queries)
    found = _counts(bad_database, split, "database images")
    found += _counts(bad_queries, len(retrieval_set.queries), "queries")
    raise DataError(
        f"{' and '.join(found)} of {retrieval_set.protocol.id} cannot be read (first: {next(iter(bad.values()))}). "
        "Extract the archive again, or pass dataset.on_bad_image=skip."
    )


def _counts(rows: Collection[int], total: int, what: str) -> list[str]:
    return [f"{len(rows):,} of {total:,} {what}"] if rows else []
