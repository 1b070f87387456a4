from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from vpr.retrieval.search import search


def unit(rows: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> np.memmap:
    """5,000 database rows and 100 queries in one float16 file."""
    file = np.lib.format.open_memmap(tmp_path_factory.mktemp("s") / "d.npy", "w+", np.float16, (5_100, 64))
    file[:] = unit(5_100, 64)
    return file


@pytest.mark.parametrize("block", [None, 1024, 1000, 4999])
def test_same_as_flat_index(mapped: np.memmap, block: int | None) -> None:
    index = faiss.IndexFlatIP(64)
    index.add(np.asarray(mapped[:5_000], np.float32))
    similarities, indices = index.search(np.asarray(mapped[5_000:], np.float32), 20)
    found = search(mapped[:5_000], mapped[5_000:], 20, block)
    assert np.array_equal(found.indices, indices)
    assert np.allclose(found.similarities, similarities, rtol=1e-6)
    assert found.indices.dtype == np.int64 and found.similarities.dtype == np.float32


def test_file_slices_are_read_where_they_lie(mapped: np.memmap) -> None:
    part = mapped[1_000:][500:3_000]
    in_memory = search(np.array(part), np.array(mapped[:3]), 5, 1024)
    assert np.array_equal(search(part, mapped[:3], 5, 1024).indices, in_memory.indices)


def test_mapped_view_that_is_no_run_of_rows(mapped: np.memmap) -> None:
    view = mapped[:3_000:2]
    assert np.array_equal(search(view, mapped[:3], 5, 1024).indices, search(np.array(view), mapped[:3], 5).indices)


def test_writable_copy_on_write_map_is_read_from_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", unit(30, 8))
    mine = np.load(tmp_path / "a.npy", mmap_mode="c")
    mine[7] = mine[3] * 2
    assert search(mine, mine[3:4], 1).indices.tolist() == [[7]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("block", [None, 16, 1024])
def test_ties_go_to_the_lower_row(dtype: type, block: int | None) -> None:
    row = np.array([[0.5, -0.5, 0.5, 0.5, 0, 0, 0, 0]])  # its products are exact, in whatever order they are summed
    database = np.tile(row, (3_000, 1)).astype(dtype)
    database[70] *= 2  # one is better; faiss alone then drops the lowest of the equal rows
    found = search(database, database[:30], 7, block)
    assert (found.indices == [70, 0, 1, 2, 3, 4, 5]).all()


def test_more_neighbours_than_database_rows() -> None:
    found = search(unit(3, 8), unit(2, 8, seed=1), 5, block=2)
    assert np.sort(found.indices[:, :3], axis=1).tolist() == [[0, 1, 2]] * 2
    assert (found.indices[:, 3:] == -1).all() and np.isneginf(found.similarities[:, 3:]).all()


def test_inner_product_order_is_euclidean_order() -> None:
    database, queries = unit(300, 16), unit(25, 16, seed=2)
    distances = np.linalg.norm(database[None] - queries[:, None], axis=2)
    assert np.array_equal(search(database, queries, 10).indices, distances.argsort(axis=1)[:, :10])


def test_file_that_shrank_is_not_taken_for_zeros(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", unit(2_000, 8).astype(np.float16))
    short = np.load(tmp_path / "a.npy", mmap_mode="r")
    with open(tmp_path / "a.npy", "r+b") as file:
        file.truncate(20_000)
    with pytest.raises(OSError, match="ends before row"):
        search(short, unit(1, 8), 1)
