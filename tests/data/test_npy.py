"""Arrays of .npy files: hostile ones execute nothing and end nothing, and published forms read as before."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr.data.npy import load_npy, map_npy
from vpr.errors import DataError

reconstruct = np.array([1], object).__reduce__()[0]


def npy(path: Path, pickled: bytes, shape: str = "(1,)") -> Path:
    """Write a file whose header says object array, and whose content is this pickle."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode() + pickled)
    return path


class Made:
    """Pickles as a call of `function` with a state to be set."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


def test_a_state_that_would_end_the_process_is_a_message(tmp_path: Path) -> None:
    """As `ndarray.__setstate__` takes it, the list has fewer objects than the shape says: SIGSEGV at the first look."""
    state = (1, (1 << 20,), np.dtype(object), False, [1])
    path = npy(tmp_path / "ground_truth.npy", pickle.dumps(Made(reconstruct, (np.ndarray, (0,), b"b"), state)))
    with pytest.raises(DataError, match=r"ground_truth.npy cannot be read as .npy: it holds an array of the shape"):
        load_npy(path)


@pytest.mark.parametrize(
    "value",
    [
        Made(reconstruct, (np.ndarray, (0,), b"b"), (1, (1 << 40,), np.dtype("f8"), False, b"12345678")),
        Made(reconstruct, (np.ndarray, (0,), b"b"), (1, (-1,), np.dtype("f8"), False, b"")),
        Made(reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("f8"), False, [0])),
        Made(reconstruct, (np.ndarray, (0,), b"b"), "state"),
        Made(reconstruct, (np.ndarray, (0,), b"b")),
        Made(np.dtype, ("f8", False, True), (3, "<", None, None, None, 1 << 30, 1 << 30, 0)),
        Made(np.dtype, ("O8", False, True)),
        Made(print, ("executed",)),
    ],
)
def test_hostile_pickles_are_messages(tmp_path: Path, value: Made, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="cannot be read as .npy"):
        load_npy(npy(tmp_path / "x.npy", pickle.dumps(value)))
    assert capsys.readouterr().out == ""


def test_lists_without_end_are_messages(tmp_path: Path) -> None:
    itself: list[Any] = []
    itself.append(itself)
    bomb: list[Any] = [0]
    for _ in range(60):
        bomb = [bomb, bomb]
    wide: list[Any] = [0] * 1000
    for _ in range(5):
        wide = [wide] * 1000
    for value in (itself, bomb, wide):
        with pytest.raises(DataError, match="lists in lists without end"):
            load_npy(npy(tmp_path / "x.npy", pickle.dumps(value)))
    with pytest.raises(DataError, match="cannot be read"):
        load_npy(npy(tmp_path / "x.npy", b"(" * 100_000 + b"t" * 100_000 + b"."))


@pytest.mark.parametrize("header", [b"{'descr': ", b"{" * 117, b"(" * 117, b"\x00" * 118, b"{'descr': '<f8', 'fortran"])
def test_a_damaged_header_is_a_message_of_arrays_and_maps(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.ljust(118) + b"\x00" * 64)
    with pytest.raises(DataError, match="its header is damaged"):
        load_npy(path)
    with pytest.raises(ValueError, match="its header is damaged"):
        map_npy(path)


def test_a_header_that_promises_too_much_is_a_message(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(1000))
    content = (tmp_path / "x.npy").read_bytes().replace(b"(1000,), }        ", b"(1000000000000,), }")
    (tmp_path / "x.npy").write_bytes(content[:128] + content[-8000:])
    with pytest.raises(DataError, match="it ends before its 1,000,000,000,000 values"):
        load_npy(tmp_path / "x.npy")


def test_forms_in_use_read_as_numpy_reads_them(tmp_path: Path) -> None:
    ragged = np.empty(3, object)
    ragged[:] = [np.array([3, 1]), [2], np.float32(7)]
    pairs = np.empty((2, 2), object)
    pairs[:] = [[0, [1, 2]], [np.int64(1), []]]
    for array in (np.array(["a", "ü"]), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array([b"x"]), ragged, pairs):
        for protocol in range(3, 6):
            if array.dtype.hasobject:
                npy(tmp_path / "x.npy", pickle.dumps(array, protocol), str(array.shape))
            else:
                np.save(tmp_path / "x.npy", array)
            found = load_npy(tmp_path / "x.npy")
            assert found.dtype == array.dtype and found.shape == array.shape
            assert all(map(np.array_equal, found.ravel(), array.ravel()))
    buffer = io.BytesIO()
    np.save(buffer, np.array(np.zeros(2, [("a", "f8")])))
    (tmp_path / "x.npy").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="it holds"):
        load_npy(tmp_path / "x.npy")


def test_published_files_read_as_before(shared: Path) -> None:
    files = sorted((shared / "metadata").rglob("*.npy"))
    assert files
    for path in files:
        found, before = load_npy(path), np.load(path, allow_pickle=True)
        assert found.shape == before.shape and found.dtype == before.dtype
        assert all(map(np.array_equal, found.ravel().tolist(), before.ravel().tolist()))
