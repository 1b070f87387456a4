"""Arrays of .npy files, read without executing what a file may hold: object arrays of numbers, text, lists and arrays.

A pickle may name numpy's own functions, and some of these write to memory as its arguments say. So its names become
inert notes here, from which arrays are made once all sizes have been compared with the bytes that are there.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vpr.errors import DataError

KINDS = "biufSU"  # of the plain values that lists of names and rows consist of
DEEP = 8  # levels of lists in lists
WIDE = 4  # values a byte of the file: a pickle can name one list many times


def load_npy(path: Path) -> np.ndarray:
    """Load an array, objects included.

    Raises:
        DataError: no such file, a damaged one, or one with anything else than plain values, lists and arrays of them.
    """
    with _named(path), path.open("rb") as file:
        shape, fortran, dtype = read_header(file)
        size = os.fstat(file.fileno()).st_size
        if dtype.hasobject:
            return np.asarray(_NumpyOnly(file).load_built(WIDE * size), dtype=object).reshape(shape)
        if math.prod(shape) * dtype.itemsize > size - file.tell():
            raise ValueError(f"it ends before its {math.prod(shape):,} values")
        values = np.fromfile(file, dtype, math.prod(shape))
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def map_npy(path: Path, mode: str = "r") -> np.memmap:
    """Map an array of plain values; `mode` as of `numpy.memmap`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        shape, _, dtype = read_header(file)
    if dtype.kind not in KINDS:
        raise ValueError(f"{path.name} holds {dtype}")
    array = np.lib.format.open_memmap(path, mode)  # ValueError where the file is shorter than its header says
    assert array.shape == shape
    return array


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether columns come first, and dtype; ValueError where they are none."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # numpy parses it as Python: TokenError, SyntaxError, RecursionError and others
        raise ValueError(f"its header is damaged ({str(error).splitlines()[0] if str(error) else error!r})") from error
    if dtype.kind not in KINDS + "O" or min(shape, default=0) < 0:
        raise ValueError(f"it holds {dtype} in the shape {shape}")
    return shape, fortran, dtype


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn all that damaged content can raise into a DataError that names the file."""
    where = os.path.abspath(path)
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {where}. Get it from where the set's other files are.") from error
    except Exception as error:  # whatever an unpickler can meet, RecursionError and MemoryError included
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{where} cannot be read as .npy: {reason}. Download it again.") from error


class _Note:
    """Inert stand-in for an object of numpy: the arguments that a pickle makes it with, and its state."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Note):
    __slots__ = ()

    def built(self) -> np.dtype:
        """Return the dtype; ValueError where it is not of plain values or objects."""
        name, order = self.arguments[0], self.state[1] if isinstance(self.state, tuple) else "|"
        if not isinstance(name, str) or len(name) > 16 or order not in ("<", ">", "|", "="):
            raise ValueError(f"it holds a dtype {name!r}")
        dtype = np.dtype(name if order == "|" else order + name)
        if dtype.kind not in KINDS + "O":
            raise ValueError(f"it holds {dtype}")
        return dtype


class _Scalar(_Note):
    __slots__ = ()

    def built(self) -> Any:
        dtype, data = self.arguments
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise ValueError("it holds a number without type or bytes")
        return _filled(dtype.built(), (), data)[()]


class _Array(_Note):
    """Array by `_reconstruct`, whose content comes as its state, or by `_frombuffer` (pickle protocol 5)."""

    __slots__ = ()

    def content(self) -> tuple[np.dtype, tuple[int, ...], bool, Any]:
        """Return dtype, shape, whether columns come first, and bytes or a list."""
        if self.state is None:
            data, dtype, shape, order = self.arguments
            fortran = order == "F"
        else:
            _, shape, dtype, fortran, data = self.state
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(dtype, _Dtype):
            raise ValueError("it holds an array without shape or type")
        return dtype.built(), shape, bool(fortran), data


class _NumpyOnly(pickle.Unpickler):
    """Unpickler to which the names that numpy itself writes are notes, and all others errors."""

    NAMES = {
        (f"numpy.{core}.{module}", name): note
        for core in ("core", "_core")  # numpy < 2 says `numpy.core`
        for module, name, note in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _Array),
        )
    } | {("numpy", "ndarray"): _Note, ("numpy", "dtype"): _Dtype}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no numpy array")
        return self.NAMES[module, name]

    def load_built(self, most: int) -> Any:
        """Return what is pickled, with arrays and numbers of numpy in it, of `most` values in all."""
        self.left = most
        return self._built(self.load(), DEEP)

    def _built(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth < 0 or self.left < 0:
            raise ValueError("it holds lists in lists without end")
        if isinstance(value, _Array):
            dtype, shape, fortran, data = value.content()
            if dtype.kind != "O":
                return _filled(dtype, shape, data, fortran)
            if not isinstance(data, list) or len(data) != math.prod(shape):
                raise ValueError(f"it holds an array of the shape {shape} with other content")
            array = np.empty(len(data), object)
            for number, item in enumerate(data):
                array[number] = self._built(item, depth - 1)
            return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
        if isinstance(value, _Scalar):
            return value.built()
        if isinstance(value, list | tuple):
            return type(value)(self._built(item, depth - 1) for item in value)
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        raise ValueError(f"it holds a {type(value).__name__}")


def _filled(dtype: np.dtype, shape: tuple[int, ...], data: Any, fortran: bool = False) -> np.ndarray:
    """Make an array of bytes that fill it exactly."""
    if dtype.kind == "O" or not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"it holds an array of the shape {shape} with other content")
    return np.frombuffer(bytes(data), dtype).reshape(shape, order="F" if fortran else "C")
