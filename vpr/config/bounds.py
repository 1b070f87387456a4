"""What a single key of ours may be called and hold: a key of the schema, one of a few words, a number large enough."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.config.hints import did_you_mean
from vpr.errors import ConfigError

CHOICES: dict[str, tuple[Any, ...]] = {
    "batch.shuffle": ("within_group", "all"),
    "batch.choice": ("random", "recent"),
    "image.interpolation": ("bilinear", "bicubic"),
    "trainer.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.matmul_precision": ("highest", "high", "medium"),
    "trainer.sync_batchnorm": ("auto", True, False),
    "trainer.monitor_k": (1, 5, 10, 20),
    "dataset.on_bad_image": ("raise", "skip"),
    "distillation.cache": (False, True),
    "distillation.teacher.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
    "precision": ("32-true", "16-mixed", "bf16-mixed"),
    "dtype": ("float16", "float32"),
}
AT_LEAST = {
    "seed": 0,
    "generation": 0,
    "trainer.max_epochs": 1,
    "batch.places": 2,
    "batch.images_per_place": 2,
    "supervision.tuples": 1,
    "supervision.refresh_every": 1,
    "supervision.refresh_gallery": 1,
    "trainer.eval_batch_size": 1,
    "trainer.eval_every": 0,
    "trainer.num_workers": -1,
    "trainer.save_top": 1,
    "trainer.log_every": 1,
    "trainer.early_stop": 1,
    "trainer.checkpoint_every.steps": 1,
    "finetune.bn_momentum": 0,
    "distillation.task_weight": 0,
    "distillation.cache_pca": 1,
    "pca.dim": 1,
    "pca.samples": 2,
    "pca.seed": 0,
    "batch_size": 1,
    "agg.clusters": 2,
    "clusters": 2,
    "images": 1,
    "descriptors_per_image": 1,
    "iterations": 1,
    "num_workers": -1,
    "k": 1,
    "page_queries": 1,
}
WHY = {
    "batch.places": "A metric loss needs images of other places to compare with. ",
    "batch.images_per_place": "A metric loss needs two images of a place to pull together. ",
}


def known_keys(cfg: DictConfig, path: str = "") -> None:
    """Raise ConfigError for a key that the schema has not, which Hydra lets pass behind a `+`."""
    schema = OmegaConf.get_type(cfg)
    if schema is None or not is_dataclass(schema):
        return
    names = [f.name for f in fields(schema)]
    for key in map(str, cfg):
        full = f"{path}.{key}" if path else key
        if key not in names:
            raise ConfigError(f"{full}: there is no such key.{did_you_mean(key, names)} Leave +{full} out.")
        if OmegaConf.is_dict(cfg[key]):
            known_keys(cfg[key], full)


def known_choices(cfg: DictConfig) -> None:
    """Raise ConfigError for a word that is none of the choices."""
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key, default=choices[0])
        if value not in choices:
            options = ", ".join(_as_typed(c) for c in choices)
            raise ConfigError(f"{key}={value}: it must be one of {options}.{did_you_mean(str(value), choices)}")


def large_enough(cfg: DictConfig) -> None:
    """Raise ConfigError for a number below its least."""
    for key, least in AT_LEAST.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value < least:
            raise ConfigError(f"{key}={value}: the least is {least}. {WHY.get(key, '')}Type {key}={least} or more.")


def _as_typed(choice: Any) -> str:
    return "null" if choice is None else str(choice).lower()
