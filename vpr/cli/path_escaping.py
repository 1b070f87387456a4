"""Quote paths on the command line for Hydra, so that they can be typed as they are.

Hydra's grammar has a meaning of its own for `= ( ) [ ] { } , ~` and blanks, all of which stand in names of checkpoints
such as `model_epoch=3.ckpt` or `channels(1024)_rows(4).ckpt`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

CHECKPOINTS = {"ckpt", "gallery_ckpt", "agree_with", "ckpt_path", "weights", "init"}
PATH_KEYS = CHECKPOINTS | {"root", "out", "file", "save", "dir", "path", "csv", "database", "query", "queries"}
PATH_KEYS |= {"centroids", "positions", "calibrate", "folder", "teacher", "images", "map", "budget", "calibration"}
SHORT = {"index": "index.folder"}
"""Keys that may be typed shorter. Hydra would take `index=PATH` for a choice of the group conf/index."""
PATH_NODES = {"paths", "path"}
_PLAIN = re.compile(r"[\w/\-+.%*@?|:$\\]*", re.ASCII)
_GRAMMAR = re.compile(
    r"""\s*(["'].*          # quoted by the user
        |\[.*\]             # a list
        |\{.*\}             # a dictionary
        |(choice|range|interval|glob|sort|shuffle|tag|extend_list|str)\(.*\)  # one of Hydra's functions
        )\s*$""",
    re.VERBOSE | re.DOTALL,
)


def escape_paths(argv: Sequence[str]) -> list[str]:
    """Return the arguments with the values of path keys quoted for Hydra where they need it.

    Values that are quoted already, lists, functions of Hydra and interpolations stay as they are. In a multirun commas
    outside brackets separate values; else they belong to the path. Keys of `SHORT` are written out.
    """
    multirun = any(arg == "--multirun" or re.fullmatch(r"-[a-z]*m[a-z]*", arg) for arg in argv)
    return [_escape(arg, multirun) for arg in argv]


def _escape(arg: str, multirun: bool) -> str:
    key, equals, value = arg.partition("=")
    if key in SHORT:
        key, arg = SHORT[key], f"{SHORT[key]}{equals}{value}"
    if not equals or key.startswith("-") or not _is_path_key(key) or _GRAMMAR.match(value) or "${" in value:
        return arg
    paths = split_outside_brackets(value) if multirun else [value]
    return f"{key}=" + ",".join(map(_quote, paths))


def _is_path_key(key: str) -> bool:
    parts = key.lstrip("+").split(".")
    return parts[-1] in PATH_KEYS or any(part in PATH_NODES for part in parts[:-1])


def _quote(path: str) -> str:
    if path.startswith("~/"):  # no shell expands it after `key=`
        path = str(Path(path).expanduser())
    if _PLAIN.fullmatch(path) or _GRAMMAR.match(path):
        return path
    # A backslash means itself, unless it stands before a quote or at the end.
    path = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), path)
    return f"'{path}'"


def split_outside_brackets(text: str) -> list[str]:
    """Split at the commas that stand outside brackets, parentheses and quotes.

    >>> split_outside_brackets("a(1,2).ckpt,b[3,4].ckpt,c.ckpt")
    ['a(1,2).ckpt', 'b[3,4].ckpt', 'c.ckpt']
    """
    pieces, depth, quote = [""], 0, ""
    for char in text:
        if quote or char in "\"'":
            quote = "" if char == quote else quote or char
        depth += (char in "([{") - (char in ")]}") if not quote else 0
        if char == "," and depth <= 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += char
    return pieces
