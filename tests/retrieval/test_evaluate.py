from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.processes import spawn
from vpr import distributed
from vpr.data.file_lists import FilePaths
from vpr.data.image_digests import image_digests
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.kreciprocal import KReciprocal
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


def blurred(images: Tensor) -> Tensor:
    """Describe by less than `describe` looks at."""
    return torch.nn.functional.normalize((images.float() - 128).mean((2, 3)))


def each_against_others(drawn: RetrievalSet, images: int = PLACES) -> RetrievalSet:
    paths, nothing = drawn.database[:images], [np.empty(0, np.int64)] * images
    return RetrievalSet(Protocol("own", no_positives="unknown"), paths, paths, nothing, each_against_others=True)


def agreement_of_the_drawn(drawn: RetrievalSet) -> dict[str, object]:
    """Compare two models on the database of a set, each image against the others, bad ones left out."""
    options, teacher = EvalOptions(progress=False, batch_size=4, on_bad_image="skip"), extractor(describe)
    result = evaluate(extractor(blurred, 3), each_against_others(drawn), agree_with=teacher, options=options)
    assert result.agreement is not None
    return result.agreement.plain()


def rank_main(rank: int, folder: Path, drawn: RetrievalSet) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    rows = []

    def noting(images: Tensor) -> Tensor:
        rows.append(len(images))
        return describe(images)

    result = run(drawn, noting, on_bad_image="skip", workdir=folder / "work")
    torch.save(
        {
            **{"recalls": result.recalls, "indices": result.neighbours.indices.tolist(), "rows": sum(rows)},
            "agreement": agreement_of_the_drawn(drawn),
        },
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
    spawn(rank_main, (tmp_path, drawn), nprocs=2)
    alone = run(drawn, on_bad_image="skip", workdir=tmp_path / "alone")
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [told["rows"] for told in both] == [17, 15]  # batches 0, 2, 4, 6, 8 and 1, 3, 5, 7 with the bad image
    for told in both:
        assert told["recalls"] == alone.recalls and told["agreement"] == agreement_of_the_drawn(drawn)
        assert told["indices"] == alone.neighbours.indices.tolist()
    assert (tmp_path / "work/descriptors.npy").read_bytes() == (tmp_path / "alone/descriptors.npy").read_bytes()
    messages = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert messages[0] == messages[1] and "1 of 23 database images" in messages[0]


@pytest.mark.parametrize("no_positives", ["skip", "unknown"])
def test_agreement_with_a_teacher_needs_no_labels(tmp_path: Path, no_positives: str) -> None:
    drawn, options = draw_set(tmp_path, no_positives), EvalOptions(batch_size=4, progress=False, dtype="float32")
    teacher = extractor(describe, name="big", digest="0123456789abcdef")
    result = evaluate(extractor(blurred, 3), drawn, agree_with=teacher, options=options)
    same = evaluate(extractor(describe), drawn, agree_with=teacher, options=options)
    first, taught = (r.neighbours.indices[:, 0] for r in (result, same))
    assert result.agreement is not None and same.agreement is not None
    assert result.agreement.same.tolist() == (first == taught).tolist() and 0 < result.agreement.first_match < 1
    assert result.agreement.teachers_first.tolist() == taught.tolist()
    assert (same.agreement.first_match, same.agreement.rank_correlation) == (1, pytest.approx(1))
    assert (same.agreement.ranked, same.agreement.teacher_name) == (20, "big 0123456789ab")
    assert bool(result.recalls) == (no_positives == "skip")
    assert evaluate(teacher, drawn, options=options).agreement is None


def test_each_image_against_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, described = each_against_others(draw_set(tmp_path)), []

    def count(images: Tensor) -> Tensor:
        described.append(len(images))
        return describe(images)

    result = evaluate(extractor(count), own, agree_with=extractor(count), options=EvalOptions(progress=False))
    assert sum(described) == 2 * PLACES  # once by each
    indices = result.neighbours.indices
    assert indices.shape == (PLACES, 20) and not (indices == np.arange(PLACES)[:, None]).any()
    assert result.agreement is not None and result.agreement.first_match == 1 and result.agreement.ranked == 20
    own.database[3].write_bytes(b"")
    skipped = EvalOptions(progress=False, on_bad_image="skip")
    fewer = evaluate(extractor(describe), own, agree_with=extractor(describe), options=skipped)
    assert fewer.counts["database"] == fewer.counts["queries"] == PLACES - 1
    assert fewer.agreement is not None and len(fewer.agreement.same) == PLACES - 1


def test_each_against_the_others_is_not_re_ranked_and_needs_two(tmp_path: Path) -> None:
    drawn = draw_set(tmp_path)
    with pytest.raises(ConfigError, match=r"compares each image with all others.* Type rerank=none"):
        evaluate(extractor(describe), each_against_others(drawn), rerank=KReciprocal())
    with pytest.raises(DataError, match=r"has one image, .*00.png, and each image is compared with the others"):
        each_against_others(drawn, 1)


def test_a_model_that_was_trained_on_the_map_is_measured_under_an_id_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn, options = draw_set(tmp_path), EvalOptions(progress=False)

    def trained_on(paths: Sequence[Path]) -> Extractor:
        return extractor(describe, record={"images": torch.from_numpy(image_digests(paths))})

    result = evaluate(trained_on(drawn.database[:7]), drawn, options=options)
    assert result.protocol == "drawn@0[map]" and result.seen == (7, 0) and caplog.text == ""
    elsewhere = evaluate(trained_on([Path(__file__)]), drawn, options=options)
    assert elsewhere.protocol == "drawn@0" and elsewhere.seen == (0, 0)
    assert evaluate(extractor(describe), drawn, options=options).seen is None
    cheat = evaluate(trained_on(drawn.queries[:3]), drawn, options=options)
    assert cheat.protocol == "drawn@0[queries]" and cheat.recalls == result.recalls
    assert "was trained on 3 of the 10 queries of drawn@0: what is measured on them is no measurement" in caplog.text
    gallery = extractor(describe, record={"images": torch.from_numpy(image_digests(drawn.database))}, name="big")
    both = evaluate(extractor(describe), drawn, gallery=gallery, options=options)
    assert both.protocol == "drawn@0[map][gallery-big]"
