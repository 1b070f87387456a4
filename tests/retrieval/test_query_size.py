"""Queries in their own shape, one in a batch; and describers that take one size alone."""

from __future__ import annotations

import logging
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
from vpr.errors import DataError
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.types import Preprocess, Protocol

PREPROCESS = Preprocess(size=(8, 12))
QUERY_SIZES = [(20, 30), (31, 16), (16, 16), (48, 60)]
EXPECTED = [(16, 24), (31, 16), (16, 16), (16, 20)]


def describe(images: Tensor) -> Tensor:
    """Four corners' colours, at any size."""
    return torch.nn.functional.normalize(torch.nn.functional.adaptive_avg_pool2d(images.float() - 128, 2).flatten(1))


def draw_set(folder: Path, name: str = "tokyo@25m-nms", side: int | None = 16) -> RetrievalSet:
    """Four queries of four shapes; five database images, of which the first four show the same places."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    database, queries = [folder / f"d{row}.png" for row in range(5)], [folder / f"q{row}.png" for row in range(4)]
    for row in range(5):
        corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        cv2.imwrite(str(database[row]), cv2.resize(corners, (60, 40), interpolation=cv2.INTER_NEAREST))
        if row < 4:
            shape = QUERY_SIZES[row][::-1]
            cv2.imwrite(str(queries[row]), cv2.resize(corners, shape, interpolation=cv2.INTER_NEAREST))
    rows = [np.array([row]) for row in range(4)]
    return RetrievalSet(Protocol(name, 5, 4), database, queries, rows, query_short_side=side)


def extractor(
    function: Callable[[Tensor], Tensor], dim: int = 12, preprocess: Preprocess = PREPROCESS, **options
) -> Extractor:
    """Of a model that is nothing but a function of uint8 images."""
    model = torch.nn.Module().eval()
    model.forward, model.normalise = function, lambda images: images
    model.dim, model.preprocess, model.fixed_size = dim, preprocess, options.pop("fixed_size", False)
    return Extractor(model, "cpu", **options)  # type: ignore[arg-type]


def run(
    drawn: RetrievalSet, seen: list[tuple[int, ...]] | None = None, fixed_size: bool = False, **options
) -> Evaluation:
    def noting(images: Tensor) -> Tensor:
        if seen is not None:
            seen.append(tuple(images.shape))
        return describe(images)

    own = EvalOptions(**{"ks": (1, 2), "batch_size": 3, "progress": False, **options})
    return evaluate(extractor(noting, fixed_size=fixed_size), drawn, options=own)


def test_queries_keep_their_shape_and_come_alone(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []
    result = run(draw_set(tmp_path / "a"), seen, workdir=tmp_path / "work")
    assert sorted(seen) == sorted([*((1, 3, *size) for size in EXPECTED), (3, 3, 8, 12), (2, 3, 8, 12)])
    assert result.recalls == {1: 1.0, 2: 1.0} and result.protocol == "tokyo@25m-nms"
    # Rows lie as without a query size: database first, then the queries.
    descriptors = np.load(tmp_path / "work/descriptors.npy").astype(np.float32)
    assert (descriptors[:4] @ descriptors[5:].T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_bad_images_keep_their_numbers(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    drawn.database[1].write_bytes(b"")
    drawn.queries[2].unlink()
    result = run(drawn, on_bad_image="skip")
    assert list(result.bad) == [1, 5 + 2] and "q2.png" in result.bad[7]
    assert result.protocol == "tokyo@25m-nms[4of5db,3of4q]"
    assert result.neighbours.indices[[0, 2], 0].tolist() == [0, 2]  # old rows 0 and 3
    with pytest.raises(DataError, match="1 of 5 database images and 1 of 4 queries"):
        run(drawn)


def test_queries_come_before_the_database(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def picky(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape))
        raise ValueError("another size")

    with pytest.raises(ValueError, match="another size"):
        evaluate(extractor(picky), draw_set(tmp_path / "a"), options=EvalOptions(progress=False))
    assert seen == [(1, 3, 16, 24)]


def test_a_describer_of_one_size_is_measured_at_it_and_the_id_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = draw_set(tmp_path / "a", "one-size@25m")
    seen: list[tuple[int, ...]] = []
    with caplog.at_level(logging.INFO):
        first, again = (run(drawn, seen, fixed_size=True) for _ in range(2))
    assert first.protocol == again.protocol == "one-size@25m[q8x12]"
    assert {shape[2:] for shape in seen} == {(8, 12)}
    assert len(caplog.messages) == 1
    assert "16 pixels at the shorter side" in caplog.text and "8x12 alone" in caplog.text


def test_one_size_means_nothing_to_other_sets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert run(draw_set(tmp_path / "a", "plain@25m", None), fixed_size=True).protocol == "plain@25m"
    assert not caplog.messages


def rank_main(rank: int, folder: Path, drawn: RetrievalSet) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    seen: list[tuple[int, ...]] = []
    result = run(drawn, seen, on_bad_image="skip", workdir=folder / "work")
    told = {"recalls": result.recalls, "indices": result.neighbours.indices.tolist(), "seen": seen, "bad": result.bad}
    torch.save(told, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_share_queries_and_database(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    drawn.queries[1].unlink()
    spawn(rank_main, (tmp_path, drawn), nprocs=2)
    alone = run(drawn, on_bad_image="skip", workdir=tmp_path / "alone")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert ranks[0]["seen"] == [(1, 3, *EXPECTED[0]), (1, 3, *EXPECTED[2]), (3, 3, 8, 12)]
    assert ranks[1]["seen"] == [(1, 3, *EXPECTED[3]), (2, 3, 8, 12)]
    for told in ranks:
        assert told["recalls"] == alone.recalls and told["bad"] == alone.bad
        assert told["indices"] == alone.neighbours.indices.tolist()
    assert (tmp_path / "work/descriptors.npy").read_bytes() == (tmp_path / "alone/descriptors.npy").read_bytes()
