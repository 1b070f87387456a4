"""Words of a command line that Hydra would misread or refuse in words of its own: flags, and paths cut at a comma."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from vpr.cli.hints import LIGHTNING, did_you_mean
from vpr.cli.path_escaping import split_outside_brackets
from vpr.cli.schema import SCHEMAS
from vpr.errors import ConfigError

FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"),
)


def check_words(argv: Sequence[str], config_name: str) -> None:
    """Refuse words that mean something else than was typed.

    Args:
        argv: of the script; argv[0] is its name.

    Raises:
        ConfigError: a flag that is none, or a path under -m that has a comma in it; it says what to type.
    """
    multirun = any(word == "--multirun" or re.fullmatch(r"-[a-z]*m[a-z]*", word) for word in argv[1:])
    for word, after in zip(argv[1:], [*argv[2:], ""], strict=True):
        if word.startswith("--") and not any(flag.startswith(word.partition("=")[0]) for flag in FLAGS):
            raise ConfigError(_no_flag(word, after, config_name))
        key, equals, value = word.partition("=")
        if multirun and equals and len(split_outside_brackets(value)) > 1 and os.path.exists(value):
            raise ConfigError(
                f"{word}: with -m a comma separates values, and {value} is one file or folder. Type it in both kinds "
                f"of quotes: \"{key}='{value}'\"."
            )


def _no_flag(word: str, after: str, config_name: str) -> str:
    name, equals, value = word[2:].partition("=")
    name = name.replace("-", "_")
    value = value if equals else after if after and "=" not in after and not after.startswith("-") else "VALUE"
    keys = sorted(_keys(SCHEMAS[config_name]), key=lambda key: key.count("."))
    found = [key for key in keys if key == name or key.endswith(f".{name}")]
    if found:
        return f"{word}: settings are typed as key=value. Type {found[0]}={value}."
    if name in LIGHTNING.split() and config_name == "train":
        return f"{word}: settings are typed as key=value. Type +trainer.extra.{name}={value}."
    near = did_you_mean(name, [key.rpartition(".")[2] for key in keys])
    return f"{word}: there is no such flag, and settings are typed as key=value.{near} --help shows them all."


def _keys(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the full keys of a schema and of those in it."""
    types = get_type_hints(schema)
    for field in fields(schema):
        yield f"{path}{field.name}"
        if is_dataclass(types[field.name]):
            yield from _keys(types[field.name], f"{path}{field.name}.")
