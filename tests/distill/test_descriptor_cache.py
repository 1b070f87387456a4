"""A teacher's descriptors on disk: filled in any order, gone on with, and never used when they are of others."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from vpr.distill import descriptor_cache
from vpr.distill.descriptor_cache import DescriptorCache
from vpr.errors import DiskError

ROWS, DIM = 10, 4


def make(folder: Path, rows: int = ROWS, **identity: object) -> DescriptorCache:
    return DescriptorCache(folder, "targets", {"teacher": "a", "size": (3, 4), **identity}, rows, DIM)


def fill(file: DescriptorCache, rows: slice = slice(None)) -> None:
    values = np.random.default_rng(0).normal(size=file.shape)
    file.attach()[rows] = (values / np.linalg.norm(values, axis=1, keepdims=True))[rows]


def complete(folder: Path) -> DescriptorCache:
    file = make(folder)
    assert not file.begin()
    fill(file)
    file.seal({})
    return file


def test_rows_are_missing_until_they_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(descriptor_cache, "BLOCK", 3)
    file = make(tmp_path)
    assert not file.begin()
    assert file.missing().tolist() == list(range(ROWS))
    fill(file, slice(2, 9))
    assert file.missing().tolist() == [0, 1, 9]
    again = make(tmp_path)
    assert not again.begin()  # not complete, so nobody uses it; what is there stays
    assert again.missing().tolist() == [0, 1, 9]
    fill(again)
    again.seal({})
    assert make(tmp_path).begin() and make(tmp_path).bad() == {}


@pytest.mark.parametrize("damage", [0.0, np.nan, np.inf, 0.5])
def test_a_row_that_a_crash_has_cut_short_is_missing(tmp_path: Path, damage: float):
    file = make(tmp_path)
    file.begin()
    fill(file)
    file.attach()[6, 1:3] = damage
    assert file.missing().tolist() == [6]


def test_photos_without_a_target_are_named(tmp_path: Path):
    file = make(tmp_path)
    file.begin()
    fill(file, slice(1, None))
    file.seal({0: "0.jpg: is empty"})
    assert make(tmp_path).begin() and make(tmp_path).bad() == {0: "0.jpg: is empty"}


def flip_a_bit(file: DescriptorCache) -> None:
    data = bytearray(file.values.read_bytes())
    data[-3] ^= 1
    file.values.write_bytes(data)


def shorten(file: DescriptorCache) -> None:
    file.values.write_bytes(file.values.read_bytes()[:-8])


def cut_label(file: DescriptorCache) -> None:
    file.label.write_text(file.label.read_text()[:40])


def relabel(file: DescriptorCache, **content: object) -> None:
    file.label.write_text(json.dumps(json.loads(file.label.read_text()) | content))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flip_a_bit, "its checksum is not the one"),
        (shorten, "mmap length is greater than file size"),
        (lambda file: np.save(file.values, np.zeros((ROWS, DIM), np.float32)), "numbers of float32 instead of"),
        (lambda file: file.values.write_bytes(b""), "is not used"),
        (lambda file: file.values.unlink(), "No such file"),
        (lambda file: file.label.unlink(), "No such file"),
        (cut_label, "is not used"),
        (lambda file: file.label.write_text("[1]"), "is not used"),
        (lambda file: relabel(file, identity="a"), "is not used"),
        (lambda file: relabel(file, identity={"teacher": "b", "size": [3, 4]}), "it is of another teacher"),
    ],
)
def test_what_is_damaged_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage, sentence: str):
    file = complete(tmp_path)
    damage(file)
    with caplog.at_level(logging.WARNING):
        assert not make(tmp_path).begin()
    assert sentence in caplog.text
    assert make(tmp_path).missing().tolist() == list(range(ROWS))


@pytest.mark.parametrize("change", [{"teacher": "b"}, {"size": (4, 4)}, {"pca": 3}])
def test_another_identity_is_another_file(tmp_path: Path, change: dict):
    complete(tmp_path)
    assert not make(tmp_path, **change).begin()


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskError, match=r"\d bytes are needed: .* the disk is full .*teacher.pca"):
        make(tmp_path).begin()
    assert not list(tmp_path.iterdir())
