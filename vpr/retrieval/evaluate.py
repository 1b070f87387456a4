"""Evaluation: image -> descriptor -> neighbours -> recall. Training and evaluate.py call this same function."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch.utils.data import ConcatDataset

from vpr import distributed
from vpr.data.image_digests import SeenImages, mark_seen, seen_images
from vpr.data.own_images import leave_out, own_rows
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval import extractor as files
from vpr.retrieval import metrics
from vpr.retrieval.agreement import Agreement, agreement
from vpr.retrieval.extractor import DTYPES, Extractor, extract, image_loader, image_progress
from vpr.retrieval.scoring import KS, Evaluation, Rerank, check_ks, check_rerank, score
from vpr.types import Preprocess

log = logging.getLogger(__name__)

__all__ = ["EvalOptions", "Evaluation", "evaluate"]


@dataclass(frozen=True)
class EvalOptions:
    """Settings of an evaluation that do not depend on the model.

    Attributes:
        ks: of recall@k, each 1 or more, or a share of the database such as "1%".
        batch_size: images that are described at once.
        num_workers: processes that read images; 0: this one.
        dtype: of the descriptors on disk, float16 or float32.
        on_bad_image: `raise` ends with a DataError after the pass; `skip` leaves bad images out and says so in the id.
        workdir: where descriptors.npy and schema.json stay; None removes them afterwards. All ranks must see it.
        progress: show a bar (on rank 0).
        seed: of the bootstrap.

    Raises:
        ConfigError: a choice is unknown, or a k is below 1.
    """

    ks: Sequence[int | str] = KS
    batch_size: int = 32
    num_workers: int = 0
    dtype: str = "float16"
    on_bad_image: str = "raise"
    workdir: Path | None = None
    progress: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_ks(self.ks)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype={self.dtype} is unknown: choose {' or '.join(DTYPES)}.")
        if self.on_bad_image not in ("raise", "skip"):
            raise ConfigError(f"on_bad_image={self.on_bad_image} is unknown: choose raise or skip.")


DEFAULTS = EvalOptions()


def evaluate(
    extractor: Extractor,
    retrieval_set: RetrievalSet,
    *,
    gallery: Extractor | None = None,
    rerank: Rerank | None = None,
    agree_with: Extractor | None = None,
    options: EvalOptions = DEFAULTS,
) -> Evaluation:
    """Measure recall@k of a model on one set; every rank gets the same result.

    A model of one image size is measured at it, also where the set has its queries in their own shape; the id then ends
    in `[qHxW]`. Queries in their own shape come one a batch. A query that is a file of the database is no match of
    itself: see `vpr.data.own_images`. Where a model was trained on images of the set, as far as
    its checkpoint says, the id has `[map]` or `[queries]`: see `vpr.data.image_digests.mark_seen`.

    Args:
        gallery: describes the database instead, in the same space of descriptors (asymmetric retrieval), and the id
            says so: `pitts30k-test@25m[gallery-resnet50-mixvpr]`; `extractor` is then for the queries alone.
        rerank: measure the re-ranked search, too, on the device of `extractor`; it is the result's `reranked`.
        agree_with: teacher, which describes all images as well; the result's `agreement` compares their matches.

    Raises:
        ConfigError: the gallery's descriptors have other dimensions, or the set cannot be re-ranked.
        DataError: unreadable images under `raise`, NaN descriptors, no query with a positive.
    """
    retrieval_set = without_own(retrieval_set)
    metrics.counted(retrieval_set.positives, retrieval_set.protocol.no_positives)  # before hours go into descriptors
    if rerank is not None:
        check_rerank(rerank, retrieval_set)
    seen = None
    training = np.union1d(extractor.training_images, (gallery or extractor).training_images)
    if len(training):
        retrieval_set, seen = marked(retrieval_set, training)
    if extractor.fixed_size and retrieval_set.query_short_side is not None:
        retrieval_set = _at_own_size(retrieval_set, extractor.preprocess)
    digest = extractor.digest
    if gallery is not None:
        retrieval_set, digest = (
            _described_by(gallery, retrieval_set, extractor.dim),
            f"{digest}, gallery {gallery.digest}",
        )
    images = len(retrieval_set.database) + len(retrieval_set.queries)
    with files.working_folder(options.workdir) as folder:
        began = time.perf_counter()
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                files.create(folder, images, extractor.dim, options.dtype)
        descriptors = files.attach(folder)
        bad = _extract(extractor, gallery, retrieval_set, descriptors, options)
        used = _without(retrieval_set, bad, options.on_bad_image)
        seconds = {"extract": time.perf_counter() - began}
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                if bad:
                    files.compact(descriptors, np.setdiff1d(np.arange(images), list(bad)))
                files.seal(folder, descriptors, len(used.database), len(used.queries), digest)
        split, end = len(used.database), len(used.database) + len(used.queries)
        result = score(
            descriptors[:split],
            descriptors[split:end],
            used,
            ks=options.ks,
            seed=options.seed,
            rerank=rerank,
            device=extractor.device,
        )
        compared = None
        if agree_with is not None:
            compared = _agreement(descriptors[:split], descriptors[split:end], agree_with, used, options)
        del descriptors

    models = {"queries": _label(extractor), "database": _label(gallery or extractor)} if extractor.name else {}

    def whole(scored: Evaluation) -> Evaluation:
        return replace(scored, bad=bad, seconds=seconds | scored.seconds, models=models, seen=seen)

    reranked = whole(result.reranked) if result.reranked else None
    return replace(whole(result), reranked=reranked, agreement=compared)


def marked(retrieval_set: RetrievalSet, training: np.ndarray) -> tuple[RetrievalSet, SeenImages]:
    """Say in a set's id that a model was trained on images of digests (n,) int64, if these meet it; and count them.

    All ranks call it, and the first reads the files.
    """
    seen = distributed.on_rank_zero(lambda: seen_images(retrieval_set, training))
    if seen.queries and distributed.rank() == 0:
        log.warning(
            "The model was trained on %s of the %s queries of %s: what is measured on them is no measurement. The id "
            "says [queries].",
            *(f"{seen.queries:,}", f"{len(retrieval_set.queries):,}", retrieval_set.protocol.id),
        )
    return mark_seen(retrieval_set, seen), seen


def without_own(retrieval_set: RetrievalSet) -> RetrievalSet:
    """Leave each query that is a file of the database out of its own matches, and say so once.

    All ranks call it, and the first looks at the files.

    Raises:
        DataError: all queries are.
    """
    if retrieval_set.each_against_others or retrieval_set.own_rows is not None:
        return retrieval_set
    themselves = distributed.on_rank_zero(lambda: own_rows(retrieval_set))
    if themselves is None:
        return retrieval_set
    without = leave_out(retrieval_set, themselves)
    if distributed.rank() == 0:
        _log_once(
            f"{sum(map(bool, map(len, themselves))):,} of the {len(themselves):,} queries of "
            f"{retrieval_set.protocol.id} are images of its database, and are left out of their own matches: what is "
            f"measured is {without.protocol.id}.",
            logging.WARNING,
        )
    return without


def _agreement(
    database: np.ndarray, queries: np.ndarray, teacher: Extractor, used: RetrievalSet, options: EvalOptions
) -> Agreement:
    """Have the teacher describe the images, too, and compare the descriptors on the first rank."""
    if teacher.fixed_size and used.query_short_side is not None:
        used = _at_own_size(used, teacher.preprocess)
    split, images = len(database), len(database) + len(queries)
    with files.working_folder(options.workdir and options.workdir / "teacher") as folder:
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                files.create(folder, images, teacher.dim, options.dtype)
        rows = files.attach(folder)
        _without(used, _extract(teacher, None, used, rows, options), "raise")

        def compare() -> Agreement:
            label = _label(teacher) if teacher.name else "teacher"
            if used.each_against_others:
                return agreement(database, rows[:split], seed=options.seed, teacher_name=label)
            sides = (database, queries), (rows[:split], rows[split:])
            left_out = used.own_rows
            return agreement(*sides, panoramas=used.panoramas, own_rows=left_out, seed=options.seed, teacher_name=label)

        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                files.seal(folder, rows, split, len(queries), teacher.digest)
        return distributed.on_rank_zero(compare)


def _extract(
    extractor: Extractor,
    gallery: Extractor | None,
    retrieval_set: RetrievalSet,
    out: np.ndarray,
    options: EvalOptions,
) -> dict[int, str]:
    """Fill `out` with the database's descriptors and then the queries'; return the bad images by row."""
    database, queries, side = retrieval_set.database, retrieval_set.queries, retrieval_set.query_short_side
    split, workers = len(database), options.num_workers
    once = retrieval_set.each_against_others and gallery is None
    with image_progress(retrieval_set.protocol.id, split if once else len(out), options.progress) as advance:
        if once:
            loader = image_loader(database, extractor.preprocess, options.batch_size, workers)
            bad = extract(extractor, loader, out[:split], advance)
            if distributed.rank() == 0:  # which alone reads the rows
                out[split:] = out[:split]
            return bad | {split + row: error for row, error in bad.items()}
        if side is None and gallery is None:
            paths: Any = ConcatDataset(cast(Any, [database, queries]))  # not [*a, *b]: millions are made when asked for
            loader = image_loader(paths, extractor.preprocess, options.batch_size, workers)
            return extract(extractor, loader, out, advance)
        # The queries come first: where the model does not take their shape, that shows before hours go into the rest.
        batch_size = options.batch_size if side is None else 1
        loader = image_loader(queries, extractor.preprocess, batch_size, workers, side)
        bad_queries = extract(extractor, loader, out[split:], advance)
        of_database = gallery or extractor
        loader = image_loader(database, of_database.preprocess, options.batch_size, workers)
        bad = extract(of_database, loader, out[:split], advance)
    return bad | {split + row: error for row, error in bad_queries.items()}


def _described_by(gallery: Extractor, retrieval_set: RetrievalSet, dim: int) -> RetrievalSet:
    """Say in the protocol's id which model describes the database; ConfigError where it has other dimensions."""
    if gallery.dim != dim:
        raise ConfigError(
            f"The queries' descriptors have {dim:,} numbers and those of the gallery {gallery.name} {gallery.dim:,}: "
            "they cannot be compared."
        )
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}[gallery-{gallery.name}]")
    return replace(retrieval_set, protocol=protocol)


def _label(extractor: Extractor) -> str:
    return f"{extractor.name} {extractor.digest[:12]}"


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
def _log_once(message: str, level: int = logging.INFO) -> None:
    log.log(level, message)  # training evaluates after every epoch


def _without(retrieval_set: RetrievalSet, bad: dict[int, str], on_bad_image: str) -> RetrievalSet:
    split = len(retrieval_set.database)
    bad_database, bad_queries = [row for row in bad if row < split], [row - split for row in bad if row >= split]
    if not bad:
        return retrieval_set
    if on_bad_image == "skip":
        return retrieval_set.without(bad_database, bad_queries)
    counts = _counts(bad_database, split, "database images")
    counts += _counts(bad_queries, len(retrieval_set.queries), "queries")
    raise DataError(
        f"{' and '.join(counts)} of {retrieval_set.protocol.id} cannot be read (first: {next(iter(bad.values()))}). "
        "Extract the archive again, or pass dataset.on_bad_image=skip."
    )


def _counts(rows: Collection[int], total: int, what: str) -> list[str]:
    return [f"{len(rows):,} of {total:,} {what}"] if rows else []
