from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vpr import distributed
from vpr.data.file_lists import FilePaths
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.types import Preprocess, Protocol

SMALL = Preprocess(size=(8, 8))
PLACES = 23
SIDES = ("database", "queries")


def describe(images: Tensor) -> Tensor:
    """Look at the coarse picture only: enough to find some places again, not all."""
    coarse = torch.nn.functional.avg_pool2d(images.float() - 128, 4).flatten(1)
    return torch.nn.functional.normalize(coarse)


def draw_set(folder: Path, no_positives: str = "skip") -> RetrievalSet:
    """23 places; 10 noisy queries, the last without a positive."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (PLACES, 8, 8, 3)).astype(float)
    noisy = np.clip(photos[:10] + rng.normal(0, 90, (10, 8, 8, 3)), 0, 255)
    paths: dict[str, list[Path]] = {"database": [], "queries": []}
    for name, images in (("database", photos), ("queries", noisy)):
        (folder / name).mkdir(parents=True)
        for row, image in enumerate(images):
            paths[name].append(folder / name / f"{row:02}.png")
            cv2.imwrite(str(paths[name][-1]), image.astype(np.uint8))
    positives = [np.array([row]) for row in range(9)] + [np.empty(0, np.int64)]
    return RetrievalSet(Protocol("drawn@0", PLACES, 10, no_positives), paths["database"], paths["queries"], positives)


def extractor(
    function: Callable[[Tensor], Tensor], dim: int = 12, preprocess: Preprocess = SMALL, **options
) -> Extractor:
    """Of a model that is nothing but a function of uint8 images."""
    model = torch.nn.Module().eval()
    model.forward, model.normalise = function, lambda images: images
    model.dim, model.preprocess, model.fixed_size = dim, preprocess, options.pop("fixed_size", False)
    return Extractor(model, "cpu", **options)  # type: ignore[arg-type]


def run(
    drawn: RetrievalSet, function: Callable[[Tensor], Tensor] = describe, digest: str = "", **options
) -> Evaluation:
    own = EvalOptions(**{"ks": (1, 3), "batch_size": 4, "progress": False, **options})
    return evaluate(extractor(function, digest=digest), drawn, options=own)


def test_recall_against_a_written_out_search(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path)
    images = {p: torch.from_numpy(cv2.imread(str(p))[..., ::-1].copy()).permute(2, 0, 1)[None] for p in drawn.database}
    database = torch.cat([describe(images[path]) for path in drawn.database])
    right = {1: 0, 3: 0}
    for row, path in enumerate(drawn.queries[:9]):
        query = describe(torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1)[None])
        order = (database @ query[0]).argsort(descending=True)
        for k in right:
            right[k] += row in order[:k]
    result = run(drawn)
    assert result.metrics() == {"R@1": right[1] / 9, "R@3": right[3] / 9}
    assert 0 < right[1] < right[3] < 9  # the drawn set tells something
    assert result.protocol == "drawn@0" and result.images_per_second > 0
    assert result.counts == {
        "database": 23,
        "queries": 10,
        "counted_queries": 9,
        "queries_without_positives": 1,
        "bad_images": 0,
    }
    assert all(low <= result.recalls[k] <= high for k, (low, high) in result.intervals.items())


def test_millions_of_paths_are_not_made_at_once(tmp_path: Path) -> None:
    class Lazy(FilePaths):
        def __iter__(self) -> Iterator[Path]:
            raise AssertionError("all paths at once")

    drawn = draw_set(tmp_path)
    sides = {side: Lazy(tmp_path, [f"{side}/{path.name}" for path in getattr(drawn, side)]) for side in SIDES}
    assert run(replace(drawn, **sides)).recalls == run(drawn).recalls  # type: ignore[arg-type]


def test_queries_without_positives_may_count_as_misses(tmp_path: Path) -> None:
    skip, miss = run(draw_set(tmp_path / "a")), run(draw_set(tmp_path / "b", no_positives="miss"))
    assert miss.recalls[3] == pytest.approx(skip.recalls[3] * 9 / 10)


def test_descriptors_stay_in_the_working_folder(tmp_path: Path) -> None:
    run(draw_set(tmp_path / "a"), workdir=tmp_path / "work", dtype="float32", digest="abc")
    stored = np.load(tmp_path / "work/descriptors.npy")
    assert stored.dtype == np.float32 and np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)
    schema = json.loads((tmp_path / "work/schema.json").read_text())
    assert schema == {"dim": 12, "dtype": "float32", "database": 23, "queries": 10, "model": "abc"}


def test_temporary_folder_is_removed_even_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    drawn = draw_set(tmp_path / "a")
    run(drawn)
    drawn.queries[3].unlink()
    with pytest.raises(DataError):
        run(drawn)
    assert not list((tmp_path / "temp").iterdir())


def damage(drawn: RetrievalSet) -> None:
    drawn.database[0].write_bytes(b"no picture")
    drawn.database[20].unlink()
    drawn.queries[4].unlink()


def test_bad_images_raise_with_counts_and_the_first_one(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path)
    damage(drawn)
    with pytest.raises(DataError) as caught:
        run(drawn)
    message = str(caught.value)
    assert "2 of 23 database images and 1 of 10 queries of drawn@0 cannot be read (first: " in message
    assert "00.png" in message and message.endswith("Extract the archive again, or pass dataset.on_bad_image=skip.")


def test_skipped_images_leave_the_set_and_change_its_name(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path)
    damage(drawn)
    result = run(drawn, on_bad_image="skip")
    assert result.protocol != "drawn@0" and "22" not in result.protocol and "21of23" in result.protocol
    assert (result.counts["database"], result.counts["queries"], result.counts["bad_images"]) == (21, 9, 3)
    clean = run(drawn.without([0, 20], [4]))
    assert result.recalls == clean.recalls
    assert np.array_equal(result.neighbours.indices, clean.neighbours.indices)
    assert list(result.bad) == [0, 20, PLACES + 4]


@pytest.mark.parametrize("options", [{"ks": ()}, {"ks": (0, 1)}, {"dtype": "int8"}, {"on_bad_image": "ignore"}])
def test_wrong_choices(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        run(draw_set(tmp_path), **options)


class OfTwoParts(Exception):
    """Cannot be unpickled: that would call it with one argument."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} {number}")


def rank_main(rank: int, folder: Path, drawn: RetrievalSet) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    rows = []

    def noting(images: Tensor) -> Tensor:
        rows.append(len(images))
        return describe(images)

    result = run(drawn, noting, on_bad_image="skip", workdir=folder / "work")
    torch.save(
        {"recalls": result.recalls, "indices": result.neighbours.indices.tolist(), "rows": sum(rows)},
        folder / f"{rank}.pt",
    )
    try:
        run(drawn, on_bad_image="raise")
    except DataError as error:
        (folder / f"{rank}.txt").write_text(str(error))

    def odd(images: Tensor) -> Tensor:
        raise OfTwoParts("a hole", 7)

    def of_another_kind() -> None:
        raise DataError("a sequence in two parts")

    kind, prefix = (OfTwoParts, "") if rank else (RuntimeError, "OfTwoParts: ")
    with pytest.raises(kind, match=f"^{prefix}a hole 7$"):  # on rank 1 alone
        run(drawn, odd if rank else describe, on_bad_image="skip")
    with pytest.raises(DataError, match="^a sequence in two parts$"):  # on rank 0 alone, as where it searches
        distributed.on_rank_zero(of_another_kind)
    assert distributed.on_rank_zero(dist.get_rank) == 0
    dist.destroy_process_group()


def test_two_ranks_give_exactly_the_recall_of_one(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path / "a")
    drawn.database[5].unlink()  # of 33 images, 9 batches: an uneven share, and one bad image
    torch.multiprocessing.spawn(rank_main, (tmp_path, drawn), nprocs=2)
    alone = run(drawn, on_bad_image="skip", workdir=tmp_path / "alone")
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [told["rows"] for told in both] == [17, 15]  # batches 0, 2, 4, 6, 8 and 1, 3, 5, 7 with the bad image
    for told in both:
        assert told["recalls"] == alone.recalls
        assert told["indices"] == alone.neighbours.indices.tolist()
    assert (tmp_path / "work/descriptors.npy").read_bytes() == (tmp_path / "alone/descriptors.npy").read_bytes()
    messages = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert messages[0] == messages[1] and "1 of 23 database images" in messages[0]
