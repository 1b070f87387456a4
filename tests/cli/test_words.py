"""Words that would be misread or refused in Hydra's words, and configurations that give way to what was typed."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf

from vpr.cli import words as words_module
from vpr.cli.compose import compose, compose_words
from vpr.cli.hints import LIGHTNING
from vpr.cli.rules import check_rules
from vpr.cli.words import check_words, drop_teacher_of_none, leave_out_default_eval
from vpr.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max_epochs", "3"], "Type trainer.max_epochs=3."),
        (["--max-epochs=3"], "Type trainer.max_epochs=3."),
        (["--seed", "-m"], "Type seed=VALUE."),
        (["--limit_train_batches", "5"], "Type +trainer.extra.limit_train_batches=5."),
        (["--max_epoch", "5"], "no such flag, .* Did you mean 'max_epochs'"),
        (["--nothing-like-it"], "no such flag, .* --help shows"),
    ],
)
def test_flags_are_answered_with_the_key(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("+", r"\+")):
        check_words(["train.py", *words], "train")
    check_words(["train.py", "--cfg", "job", "--multi", "-m", "seed=1,2"], "train")


def test_a_path_with_a_comma_is_not_cut_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a,b.ckpt"
    path.touch()
    with pytest.raises(ConfigError, match=rf"Type it in both kinds of quotes: \"ckpt='{path}'\""):
        check_words(["evaluate.py", "-m", f"ckpt={path}"], "evaluate")
    check_words(["evaluate.py", f"ckpt={path}"], "evaluate")
    check_words(["evaluate.py", "-m", f"ckpt='{path}'"], "evaluate")


def test_arguments_of_lightning_are_those_of_its_trainer() -> None:
    assert set(LIGHTNING.split()) == set(inspect.signature(pl.Trainer).parameters)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("trainer.limit_train_batches=3", "type +trainer.extra.limit_train_batches=3"),
        ("agg.otu_channels=3", "agg.otu_channels: there is no such key. Did you mean 'out_channels'?"),
        ("agg.zzz=3", "agg.zzz: there is no such key. There are "),
        ("seed=1,2", "ConfigError: seed=1,2: several values make a sweep, for which -m is typed"),
    ],
)
def test_hydras_own_first_lines_are_left_out(word: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_words("train", [word])
    assert says in str(error.value)
    assert "To append" not in str(error.value) and "Could not override" not in str(error.value)


def test_the_key_that_is_hinted_at_works() -> None:
    assert compose("train", ["+trainer.extra.limit_train_batches=3"]).trainer.extra.limit_train_batches == 3


@pytest.mark.parametrize(
    ("dataset", "sets"),
    [
        ("gsv_cities", ["pitts30k_val"]),
        ("[gsv_cities,toycity]", ["toycity"]),
        ("[gsv_cities,pitts30k_val,toycity]", ["pitts30k_val", "toycity"]),
    ],
)
def test_a_training_set_demands_no_evaluation_set_beside_another(
    dataset: str, sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words_module, "typed_words", lambda *nodes: [f"dataset={dataset}"])
    cfg = compose("train", [f"dataset={dataset}"])
    leave_out_default_eval(cfg)
    assert list(cfg.dataset.eval) == sets


def test_none_drops_the_teacher_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["distillation=none", "distillation.teacher.ckpt=x.ckpt"]
    cfg = compose("train", words)
    with pytest.raises(ConfigError, match="would learn nothing"):
        check_rules(cfg)
    monkeypatch.setattr(words_module, "typed_words", lambda *nodes: words)
    drop_teacher_of_none(cfg)
    check_rules(cfg)
    assert OmegaConf.select(cfg, "distillation.teacher.ckpt") is None
