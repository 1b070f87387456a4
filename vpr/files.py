"""Atomic writes: files that are replaced whole or not at all; what is said of disks that refuse; checks of archives."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vpr.errors import FULL, DiskError, disk_error, existing, readable_bytes


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place once the block has ended.

    The temporary file lies in the target's own folder, so that the last step is a rename inside one file system,
    wherever TMPDIR is. Its content reaches the disk before the rename, and the rename before this returns: after a
    crash `path` is the old file or the new one. Where the block raises, the temporary file is removed and `path` stays
    as it was. A process that is killed leaves `.<name>.<random>.partial` behind, which no reader looks at.

    A link stays a link: the file that it names is replaced. What is no file, such as /dev/stdout, is written as it is.

    Raises:
        DiskError: the folder cannot be made or written to, or the disk is full, whichever error the block raises then.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield Path(path)
        return
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.partial")  # 40: names end at 255 bytes
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, target)
        with suppress(OSError):  # not every file system can do that with a folder
            _flush(target.parent, os.O_RDONLY)
    except (OSError, RuntimeError) as error:
        reason = disk_error(error, target, temporary)
        if reason is None:
            raise
        raise reason from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def reserved(path: Path, size: int) -> Iterator[None]:
    """Give the file that the block makes `size` bytes on the disk, for good: mapped, it may not outgrow a full one.

    A process that writes into a mapped file for which there is no room is ended without a word.

    Raises:
        DiskError: the disk is too small, full or read-only; the file is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
        if size and hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if error.errno == errno.EINVAL and size > shutil.disk_usage(existing(path)).free:  # more than any file may have
            error.errno = errno.ENOSPC
        reason = disk_error(error, path)
        if reason is None:
            raise
        needed = f"{readable_bytes(size)} are needed: " if error.errno in FULL else ""
        raise DiskError(f"{needed}{reason}") from error


def write_text(path: str | Path, text: str, errors: str = "strict") -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; `errors` as of `open`, DiskError as of `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors, newline="")


def csv_line(cells: Iterable[object]) -> str:
    """Return a line of a csv (RFC 4180), with its end; None is an empty cell.

    Unlike Python's own writer it quotes a cell that has a carriage return, by which readers would split the row.
    """
    texts = ("" if cell is None else str(cell) for cell in cells)
    quoted = ('"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text for text in texts)
    return ",".join(quoted) + "\n"


def csv_name(name: str) -> str:
    """Return the name of a file for a csv; one that a spreadsheet would take for a formula begins with `./`."""
    return f"./{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def check_archive(path: str | Path, most: int | None = None) -> None:
    """Check sizes and checksums of a zip archive, as torch and numpy write them, before anything in it is unpacked.

    Args:
        most: bytes that it may unpack to; None: as many as it has, for archives without compression.

    Raises:
        ValueError: it unpacks to more, or the CRC32 of a member is wrong.
        zipfile.BadZipFile, OSError: it cannot be read.
    """
    most = os.path.getsize(path) if most is None else most
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > most:
            raise ValueError(f"it would unpack to {size:,} bytes, and {most:,} are expected at most")
        bad = archive.testzip()
    if bad is not None:
        raise ValueError(f"the checksum of {bad} in it is wrong")


def _flush(path: Path, flags: int) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
