"""Asymmetric retrieval: queries by one model, the database by another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.processes import spawn
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.types import Preprocess, Protocol

SMALL, LARGE = Preprocess(size=(8, 8)), Preprocess(size=(16, 24))


def describe(images: Tensor) -> Tensor:
    """Colours of four quarters, at any size."""
    return torch.nn.functional.normalize(torch.nn.functional.adaptive_avg_pool2d(images.float() - 128, 2).flatten(1))


def draw_set(folder: Path, side: int | None = None) -> RetrievalSet:
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (7, 2, 2, 3)).astype(np.uint8)
    folder.mkdir()
    database, queries = [folder / f"d{row}.png" for row in range(7)], [folder / f"q{row}.png" for row in range(5)]
    for row, photo in enumerate(photos):
        cv2.imwrite(str(database[row]), cv2.resize(photo, (32, 32), interpolation=cv2.INTER_NEAREST))
        if row < 5:
            noisy = np.clip(photo + rng.normal(0, 60, photo.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(queries[row]), cv2.resize(noisy, (32, 32), interpolation=cv2.INTER_NEAREST))
    positives = [np.array([row]) for row in range(5)]
    return RetrievalSet(Protocol("drawn@0", 7, 5), database, queries, positives, query_short_side=side)


def extractor(
    function: Callable[[Tensor], Tensor], dim: int = 12, preprocess: Preprocess = SMALL, **options
) -> Extractor:
    """Of a model that is nothing but a function of uint8 images."""
    model = torch.nn.Module().eval()
    model.forward, model.normalise = function, lambda images: images
    model.dim, model.preprocess, model.fixed_size = dim, preprocess, options.pop("fixed_size", False)
    return Extractor(model, "cpu", **options)  # type: ignore[arg-type]


def run(drawn: RetrievalSet, gallery: Extractor | None, function=describe, digest: str = "", **options) -> Evaluation:
    own = EvalOptions(**{"ks": (1, 2), "progress": False, **options})
    return evaluate(extractor(function, digest=digest), drawn, gallery=gallery, options=own)


def test_itself_as_gallery_changes_nothing_but_the_name(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    alone = run(drawn, None, workdir=tmp_path / "alone", batch_size=3)
    both = run(drawn, extractor(describe, name="me"), workdir=tmp_path / "both", batch_size=3)
    assert both.recalls == alone.recalls and both.intervals == alone.intervals
    assert np.array_equal(both.neighbours.indices, alone.neighbours.indices)
    assert np.array_equal(np.load(tmp_path / "both/descriptors.npy"), np.load(tmp_path / "alone/descriptors.npy"))
    assert (alone.protocol, both.protocol) == ("drawn@0", "drawn@0[gallery-me]")


@pytest.mark.parametrize("side", [None, 16])
def test_each_describes_its_own_images_at_its_own_size(tmp_path: Path, side: int | None) -> None:
    seen: dict[str, list[tuple[int, ...]]] = {"queries": [], "database": []}

    def noting(who: str):
        def function(images: Tensor) -> Tensor:
            seen[who].append(tuple(images.shape))
            return describe(images) if who == "queries" else describe(images.flip(3))

        return function

    gallery = extractor(noting("database"), 12, LARGE, name="teacher", digest="t" * 64)
    options = {"batch_size": 4, "workdir": tmp_path / "work", "digest": "s" * 64}
    run(draw_set(tmp_path / "a", side), gallery, noting("queries"), **options)
    assert seen["database"] == [(4, 3, 16, 24), (3, 3, 16, 24)]
    assert seen["queries"] == ([(4, 3, 8, 8), (1, 3, 8, 8)] if side is None else [(1, 3, 16, 16)] * 5)
    # Mirrored in the gallery alone: right is where left was.
    rows = np.load(tmp_path / "work/descriptors.npy").astype(np.float32).reshape(12, 3, 2, 2)
    near = (rows[:7, :, :, ::-1].reshape(7, 12) @ rows[7:].reshape(5, 12).T).argmax(0)
    assert near.tolist() == list(range(5))
    assert json.loads((tmp_path / "work/schema.json").read_text())["model"] == f"{'s' * 64}, gallery {'t' * 64}"


def test_lengths_that_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="queries' descriptors have 12 numbers and those of the gallery big 4,096"):
        run(draw_set(tmp_path / "a"), extractor(describe, 4096, LARGE, name="big"))


def test_bad_images_keep_their_rows(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    drawn.database[6].write_bytes(b"")
    drawn.queries[1].unlink()
    result = run(drawn, extractor(describe, 12, LARGE, name="g"), on_bad_image="skip")
    assert list(result.bad) == [6, 7 + 1] and result.protocol == "drawn@0[gallery-g][6of7db,4of5q]"
    assert result.recalls[2] == 1
    with pytest.raises(DataError, match="1 of 7 database images and 1 of 5 queries"):
        run(drawn, extractor(describe, 12, LARGE, name="g"))


def rank_main(rank: int, folder: Path, drawn: RetrievalSet) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    run(drawn, extractor(describe, 12, LARGE, name="g"), workdir=folder / "work", batch_size=2)
    dist.destroy_process_group()


def test_two_ranks_write_what_one_writes(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    spawn(rank_main, (tmp_path, drawn), nprocs=2)
    run(drawn, extractor(describe, 12, LARGE, name="g"), workdir=tmp_path / "alone", batch_size=2)
    assert (tmp_path / "work/descriptors.npy").read_bytes() == (tmp_path / "alone/descriptors.npy").read_bytes()
