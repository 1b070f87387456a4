"""The order of places: a function of seed and epoch, shared out to ranks without gaps or repeats."""

from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import DataLoader

from vpr.data.places import PlaceBatchSampler
from vpr.errors import ConfigError
from vpr.types import Draw

GROUPS = np.repeat([0, 1, 2], [9, 5, 8])  # 22 places in 3 cities


def epoch_of(sampler: PlaceBatchSampler, epoch: int) -> list[list[Draw]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def places(batches: list[list[Draw]]) -> list[int]:
    return [draw.place for batch in batches for draw in batch]


def test_an_epoch_has_every_place_once_and_says_which_epoch_it_is() -> None:
    batches = epoch_of(PlaceBatchSampler(GROUPS, 4, seed=1), 3)
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 2]
    assert sorted(places(batches)) == list(range(22))
    assert {draw.epoch for batch in batches for draw in batch} == {3}


def test_groups_follow_one_another_and_places_are_shuffled_inside() -> None:
    order = places(epoch_of(PlaceBatchSampler(GROUPS, 4, seed=1), 0))
    assert GROUPS[order].tolist() == GROUPS.tolist()
    assert order != sorted(order)


def test_all_mixes_the_groups() -> None:
    order = places(epoch_of(PlaceBatchSampler(GROUPS, 4, seed=1, shuffle="all"), 0))
    assert sorted(order) == list(range(22)) and GROUPS[order].tolist() != GROUPS.tolist()


def test_the_order_follows_from_seed_and_epoch() -> None:
    sampler = PlaceBatchSampler(GROUPS, 4, seed=1)
    epoch_of(sampler, 0)
    assert epoch_of(sampler, 5) == epoch_of(PlaceBatchSampler(GROUPS, 4, seed=1), 5)
    assert epoch_of(sampler, 5) != epoch_of(sampler, 6)
    assert epoch_of(sampler, 5) != epoch_of(PlaceBatchSampler(GROUPS, 4, seed=2), 5)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_each_global_batch(world_size: int) -> None:
    whole = epoch_of(PlaceBatchSampler(GROUPS, 5, seed=1), 2)
    ranks = [epoch_of(PlaceBatchSampler(GROUPS, 5, 1, rank, world_size), 2) for rank in range(world_size)]
    kept = [batch for batch in whole if len(batch) >= world_size]  # the last one has 2 places
    assert all(len(batches) == len(kept) for batches in ranks)
    for parts, batch in zip(zip(*ranks, strict=True), kept, strict=True):
        assert [draw for part in parts for draw in part] == batch
        assert min(map(len, parts)) >= 1 and max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("number", "drop_last", "batches"), [(22, False, 6), (22, True, 5), (21, False, 5), (20, False, 5), (20, True, 5)]
)
def test_a_last_batch_that_compares_nothing_is_dropped(number: int, drop_last: bool, batches: int) -> None:
    sampler = PlaceBatchSampler(np.zeros(number), 4, seed=0, drop_last=drop_last)
    assert len(sampler) == batches == len(list(sampler))


def test_start_batch_skips_in_the_next_iteration_only() -> None:
    sampler = PlaceBatchSampler(GROUPS, 4, seed=1)
    whole = epoch_of(sampler, 1)
    sampler.start_batch = 4
    assert list(sampler) == whole[4:]
    assert list(sampler) == whole
    assert len(sampler) == 6


def test_lightning_finds_set_epoch() -> None:
    sampler = PlaceBatchSampler(GROUPS, 4, seed=1)
    loader = DataLoader(list(range(22)), batch_sampler=sampler)  # type: ignore[arg-type]
    loader.batch_sampler.sampler.set_epoch(9)  # type: ignore[union-attr]
    assert sampler.epoch == 9


@pytest.mark.parametrize(
    "options",
    [
        {"places_per_batch": 1},
        {"world_size": 5},
        {"shuffle": "some"},
        {"groups": [0]},
        {"groups": [0] * 3, "drop_last": True},
    ],
)
def test_settings_that_give_no_batch_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        PlaceBatchSampler(**{"groups": GROUPS, "places_per_batch": 4, "seed": 0, **options})
