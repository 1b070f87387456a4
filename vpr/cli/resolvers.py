"""Resolvers: the functions that conf/ calls, such as `${label:teacher}`.

They are known to OmegaConf from the import on: launchers of sweeps unpickle jobs in processes that call nothing first.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.cli.run_names import LABELS, student_label


def label(kind: str, *, _root_: DictConfig) -> str | None:
    """Return a label of the run, see `vpr.cli.run_names`: `${label:teacher}`, `${label:job}` and so on."""
    return LABELS[kind](_root_)


def student(backbone: str, agg: str, *, _root_: DictConfig) -> str:
    """Return the name of the student: `${student:${hydra:runtime.choices.backbone},${hydra:runtime.choices.agg}}`."""
    return student_label(_root_, backbone, agg)


def by_generation(values: list[Any], *, _root_: DictConfig) -> Any:
    """Return the value for this generation, the last one for all later ones.

    `${by_generation:[1,5]}`: one epoch in generation 0, five in each later one.
    """
    return values[min(_root_.generation, len(values) - 1)]


def common_image_size(*, _root_: Any) -> list[int]:
    """Return the [height, width] at which all training sets are used, `${image_size:}`; empty where they differ.

    An empty list is explained by `vpr.cli.rules.image_size_is_known`.
    """
    sizes = [list(size) for size in training_sizes(_root_).values()]
    return sizes[0] if sizes and all(size == sizes[0] for size in sizes) else []


def training_sizes(cfg: Any) -> dict[str, Any]:
    """Return `dataset.image_size`: {training set: [height, width] at which it is usually used}."""
    sizes = OmegaConf.select(cfg, "dataset.image_size")
    return sizes if OmegaConf.is_dict(sizes) else {}


OmegaConf.register_new_resolver("label", label, replace=True)
OmegaConf.register_new_resolver("student", student, replace=True)
OmegaConf.register_new_resolver("by_generation", by_generation, replace=True)
OmegaConf.register_new_resolver("image_size", common_image_size, replace=True)
