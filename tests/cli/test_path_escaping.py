"""Paths are typed as they are; what Hydra parses from the escaped argument is the path again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vpr.cli.path_escaping import escape_paths, split_outside_brackets


def parsed(*argv: str) -> object:
    """Return what Hydra understands of the last argument."""
    (override,) = OverridesParser.create().parse_overrides([escape_paths(argv)[-1]])
    if override.is_sweep_override():
        return [part.strip("'") for part in override.sweep_string_iterator()]
    return override.value()


@pytest.mark.parametrize(
    "path",
    [
        "runs/x/best.ckpt",
        "epoch=3.ckpt",
        "resnet50_MixVPR_4096_channels(1024)_rows(4).ckpt",
        "resnet18_epoch(56)_step(13965)_R1[0.8993]_R5[0.9646].ckpt",
        "R1[0.91].ckpt",
        "with blanks, and commas.ckpt",
        "it's.ckpt",
        "back\\slash's\\",
        "a{b}.ckpt",
        "Zürich~1.ckpt",
        "C:\\runs\\best.ckpt",
    ],
)
@pytest.mark.parametrize("key", ["ckpt", "ckpt_path", "backbone.weights", "+distillation.teacher.ckpt", "paths.data"])
def test_any_path_arrives_as_typed(key: str, path: str) -> None:
    assert parsed(f"{key}={path}") == path


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada (1)")
    assert parsed("ckpt=~/x.ckpt") == str(Path("/home/ada (1)/x.ckpt"))


@pytest.mark.parametrize(
    "argument",
    [
        "ckpt='quoted=already.ckpt'",
        'ckpt="quoted, already.ckpt"',
        "weights=null",
        "out=${paths.runs}/out(1)",
        "backbone.crop=[3,4]",
        "dataset=[gsv_cities,msls_val]",
        "dataset.eval.x.database={condition: day, frame: {lt: 120}}",
        "ckpt=glob(*)",
        "name=a(1)",
        "--config-dir=a=b",
    ],
)
def test_other_arguments_stay(argument: str) -> None:
    assert escape_paths([argument]) == [argument]


def test_escaping_twice_is_escaping_once() -> None:
    # Lightning starts further processes with the arguments that this one has escaped.
    once = escape_paths(["ckpt=a=1(2).ckpt", "-m", "weights=b c,d"])
    assert escape_paths(once) == once


def test_commas_separate_only_in_a_sweep() -> None:
    assert parsed("distillation.teacher.ckpt=a,b.ckpt") == "a,b.ckpt"
    assert parsed("-m", "distillation.teacher.ckpt=vgg16.ckpt,resnet=50.ckpt") == ["vgg16.ckpt", "resnet=50.ckpt"]
    assert parsed("--multirun", "ckpt=m(1,2)[3,4].ckpt,b.ckpt") == ["m(1,2)[3,4].ckpt", "b.ckpt"]


def test_split_keeps_quotes_and_brackets_whole() -> None:
    assert split_outside_brackets("a,'b,c',[d,e],(f,g") == ["a", "'b,c'", "[d,e]", "(f,g"]


def test_the_index_of_a_bundle_may_be_typed_short() -> None:
    assert escape_paths(["index=runs/my index", "index/kind=pq"]) == ["index.folder='runs/my index'", "index/kind=pq"]
