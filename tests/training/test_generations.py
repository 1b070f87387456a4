"""Generations as runs: each learns by the labels of the one before, and begins anew."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vpr import checkpoint
from vpr.errors import ConfigError
from vpr.training import tuple_mining
from vpr.training.generations import RegionsObjective
from vpr.training.run import fit

RUN = [
    *("supervision=generations", "supervision.mining.difficult=1", "supervision.mining.positive_pool=2"),
    *("supervision.rerank.k1=4", "backbone.crop=[2,3,4]", "trainer.max_epochs=1", "supervision.refresh_every=12"),
]
NETVLAD = ["agg=netvlad", "agg.clusters=4", "agg.allow_random_init=true"]


@pytest.fixture
def generation(tiny_tuples: Callable, tmp_path: Path) -> Callable[..., Path]:
    """Train a generation into a folder of its own, and return that."""

    def train(number: int, *overrides: str) -> Path:
        folder = tmp_path / f"generation{number}"
        fit(tiny_tuples([*RUN, *NETVLAD, f"generation={number}", *overrides]), folder)
        return folder

    return train


def test_each_generation_learns_from_the_one_before(
    generation: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    forward = RegionsObjective.forward

    def recorded(self, features, descriptors, batch):
        result = forward(self, features, descriptors, batch)
        assert batch.size == 5 and batch.present.all()
        seen.append((self.soft.temperature, result.value.item(), self.loss(*parts(descriptors, batch)).value.item()))
        return result

    def parts(descriptors, batch):
        tuples = descriptors.unflatten(0, (-1, batch.size))
        return tuples[:, 0], tuples[:, 1], tuples[:, 2:4]

    monkeypatch.setattr(RegionsObjective, "forward", recorded)
    first = generation(0)
    assert not seen, "generation 0 has no regions"
    second = generation(1, f"supervision.soft.ckpt={first / 'last.ckpt'}")
    header, *rows = csv.reader((tmp_path / "log" / "csv" / "metrics.csv").read_text().splitlines())
    logged = [dict(zip(header, row, strict=True)) for row in rows]
    told = [
        tuple(float(row[f"train/{name}"]) for name in ("loss", "hard", "soft")) for row in logged if row["train/soft"]
    ]
    assert told and all(loss == pytest.approx(hard + 0.5 * soft, rel=1e-5) and soft > 0 for loss, hard, soft in told)
    third = generation(2, f"supervision.soft.ckpt={second / 'last.ckpt'}")
    assert [temperature for temperature, *_ in seen] == [0.07] * 6 + [0.06] * 6
    # Soft labels of 7 regions are never free, and a region looks at least as much like the query as the whole image.
    assert all(value > whole for _, value, whole in seen)
    weights = [checkpoint.load(folder / "last.ckpt").state_dict() for folder in (first, second, third)]
    assert all(weights[0].keys() == other.keys() for other in weights), "no copy of the earlier one is kept"
    assert any(not torch.equal(weights[1][key], weights[2][key]) for key in weights[1])


def test_a_generation_begins_with_the_weights_that_the_first_one_began_with(generation: Callable, monkeypatch):
    begun = []
    connect = RegionsObjective.connect

    def recorded(self, describer):
        begun.append({key: value.clone() for key, value in describer.state_dict().items()})
        connect(self, describer)

    monkeypatch.setattr(RegionsObjective, "connect", recorded)
    first = generation(0)
    second = generation(1, f"supervision.soft.ckpt={first / 'last.ckpt'}")
    generation(2, f"supervision.soft.ckpt={second / 'last.ckpt'}")
    assert all(torch.equal(begun[0][key], begun[1][key]) for key in begun[0])
    trained = checkpoint.load(first / "last.ckpt").state_dict()
    assert any(not torch.equal(begun[0][key], trained[key]) for key in trained)


def test_a_generation_goes_on_where_the_one_before_was_moved_and_not_with_another(
    generation: Callable, interrupted_at: Callable, steps: list, tmp_path: Path
):
    """It is cut off in the middle of its second part of tuples, and ends as if nothing had been."""
    first = generation(0) / "last.ckpt"
    steps.clear()
    straight = generation(1, f"supervision.soft.ckpt={first}").rename(tmp_path / "straight")
    expected = list(steps)
    steps.clear()
    soft = checkpoint.read(straight / "best.ckpt")["config"]["supervision"]["soft"]
    assert (soft["ckpt"], soft["earlier"]) == (None, checkpoint.digest(checkpoint.read(first)))
    with interrupted_at(4):
        generation(1, f"supervision.soft.ckpt={first}")
    assert steps == expected[:5]
    second, moved = tmp_path / "generation1" / "last.ckpt", first.rename(tmp_path / "moved.ckpt")
    with pytest.raises(ConfigError, match="is of a run with supervision="):
        generation(1, f"supervision.soft.ckpt={second}", f"ckpt_path={second}")
    generation(1, f"supervision.soft.ckpt={moved}", f"ckpt_path={second}")
    assert steps == expected
    ours, theirs = (checkpoint.read(folder / "last.ckpt")["weights"] for folder in (straight, second.parent))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ((1,), "generation=1 learns from generation 0: type its last.ckpt"),
        (
            (1, "supervision.soft.ckpt=x", "supervision.mining.difficult=0"),
            "soft labels are those of difficult positives",
        ),
        ((0, "image.size=[48,44]"), r"a map of 12 x 11. Type image.size=\[48,36\] or \[48,48\]"),
    ],
)
def test_what_cannot_be_is_told(generation: Callable, overrides: tuple, says: str):
    with pytest.raises(ConfigError, match=says):
        generation(*overrides)


def test_other_aggregators_are_told_in_generation_0(tiny_tuples: Callable, tmp_path: Path):
    with pytest.raises(ConfigError, match="supervision.grid=3: .* GeM has none. Type agg=netvlad"):
        fit(tiny_tuples(RUN), tmp_path)


def test_positives_are_reranked_from_generation_1_on(generation: Callable, monkeypatch: pytest.MonkeyPatch):
    made, jaccard = [], tuple_mining.jaccard

    def recorded(queries, gallery, settings, device):
        made.append((len(queries), len(gallery), settings.k1))
        return jaccard(queries, gallery, settings, device)

    monkeypatch.setattr(tuple_mining, "jaccard", recorded)
    generation(0)
    assert not made
    generation(1, "supervision.soft.weight=0")
    assert made == [(24, 24, 4)] * 2, "two chunks, each among all queries and all of the gallery"
    generation(2, "supervision.soft.weight=0", "supervision.rerank=null")
    assert len(made) == 2


def test_without_labels_no_earlier_one_is_needed(generation: Callable):
    assert (generation(1, "supervision.soft.weight=0") / "best.ckpt").is_file()
