"""Names under which checkpoints keep the state of callbacks and data modules: files that were written stay readable."""

from __future__ import annotations

import pytest

from vpr.training.callbacks.bad_images import BadImages
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.callbacks.evaluation import RecallEvaluation
from vpr.training.callbacks.throughput import Throughput
from vpr.training.places import PlacesDataModule
from vpr.training.teacher_cache import TeacherTargets
from vpr.training.tuples import TuplesDataModule

CALLBACKS = {
    BadImages: "BadImages",
    RecallEvaluation: "Recall",
    ResumeCheckpoint: "LastCheckpoint",
    TeacherTargets: "TeacherTargets",
    Throughput: "Speed",
}
DATA_MODULES = {PlacesDataModule: "PlacesDataModule", TuplesDataModule: "TuplesDataModule"}


@pytest.mark.parametrize(("callback", "key"), CALLBACKS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_callbacks_keep_their_key(callback: type, key: str):
    assert callback.__new__(callback).state_key == key


@pytest.mark.parametrize(("module", "key"), DATA_MODULES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_data_modules_keep_their_key(module: type, key: str):
    assert module.__qualname__ == key, "Lightning keeps the state of a data module under this name"
