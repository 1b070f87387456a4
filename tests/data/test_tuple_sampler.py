"""Order of queries: each once an epoch, chunks of whole batches, the same for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.data.tuple_sampler import QueryOrder
from vpr.errors import ConfigError


def passing(order: QueryOrder) -> list[list[list[int]]]:
    """The batches of one pass, chunk by chunk; a tuple is its query alone."""
    return [
        [batch.ravel().tolist() for batch in order.batches(chunk.queries[:, None])[done:]]
        for chunk, done in order.passing()
    ]


def test_an_epoch_has_each_query_once_in_chunks_of_whole_batches():
    order = QueryOrder(queries=17, tuples=3, refresh_every=7, seed=0)  # 9 queries a chunk
    chunks = passing(order)
    assert [[len(batch) for batch in chunk] for chunk in chunks] == [[3, 3, 3], [3, 3, 2]]
    assert sorted(query for chunk in chunks for batch in chunk for query in batch) == list(range(17))
    assert (len(order), order.chunks) == (6, 2)
    assert passing(order) == chunks
    order.set_epoch(1)
    assert passing(order) != chunks
    assert passing(QueryOrder(17, 3, 7, seed=1)) != chunks


@pytest.mark.parametrize("start", range(7))
def test_a_resumed_pass_leaves_out_what_was_done_and_the_next_one_nothing(start: int):
    order = QueryOrder(queries=17, tuples=3, refresh_every=6, seed=0)
    whole = [batch for chunk in passing(order) for batch in chunk]
    order.start_batch = start
    assert [batch for chunk in passing(order) for batch in chunk] == whole[start:]
    assert [batch for chunk in passing(order) for batch in chunk] == whole


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch(world: int):
    alone = [batch for chunk in passing(QueryOrder(17, 5, 10, seed=0)) for batch in chunk]
    parts = [passing(QueryOrder(17, 5, 10, seed=0, rank=rank, world_size=world)) for rank in range(world)]
    together = [
        np.concatenate(batch).tolist() for chunk in zip(*parts, strict=True) for batch in zip(*chunk, strict=True)
    ]
    # the last two queries are enough for two ranks, but not for three
    assert together == alone[: len(alone) - (world == 3)]
    assert all(batch for part in parts for chunk in part for batch in chunk)


def test_a_fixed_order_stays_in_the_first_epoch():
    order = QueryOrder(8, 2, 100, seed=0)
    order.fixed = True
    first = passing(order)
    order.set_epoch(5)
    assert passing(order) == first


def test_too_few_are_said():
    with pytest.raises(ConfigError, match="supervision.tuples=1: 2 processes need at least 2"):
        QueryOrder(8, 1, 100, seed=0, world_size=2)
    with pytest.raises(ConfigError, match="1 queries do not fill one batch of 4 tuples on 2 processes"):
        QueryOrder(1, 4, 100, seed=0, world_size=2)
