"""Names and types of our own settings; the values stand in conf/.

Hydra checks them while it composes: a wrong key or type ends the run at once. What follows a `_target_` is free here
and checked by `check_targets`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from vpr.errors import ConfigError

# FOLDED vpr/cli/schema.py: What several merged data sets say together: each speaks for its own sets, by name, so
# that none overrules another.


def random_weights_ok(dataset: DictConfig) -> bool:
    """Tell whether all training and evaluation sets are for trying things out, so that random weights will do."""
    names = [name for part in ("train", "weak", "eval") for name in dataset.get(part) or {}]
    allowed = dataset.get("random_weights_ok") or {}
    return bool(names) and all(allowed.get(name, False) for name in names)


def common_image_size(*, _root_: Any) -> list[int]:
    """Return the [height, width] that all training sets are used at; an empty list where there is no such size.

    Stands in conf/train.yaml as `${image_size:}`; the rule below explains an empty list.
    """
    sizes = [list(size) for size in _sizes(_root_).values()]
    return sizes[0] if sizes and all(size == sizes[0] for size in sizes) else []


def image_size_is_known(cfg: DictConfig) -> None:
    size = cfg.image.size
    if size is not None and len(size) == 2 and min(size) >= 1:
        return
    example = "Type for example 'image.size=[320,320]' (with the quotes)."
    if OmegaConf.is_interpolation(cfg.image, "size"):
        sizes, names = _sizes(cfg), ", ".join(cfg.dataset.get("train") or cfg.dataset.weak)
        if not sizes:
            raise ConfigError(
                f"image.size: the training sets ({names}) name no dataset.image_size: {{name: [h, w]}}. {example}"
            )
        found = ", ".join(f"{name} {list(size)}" for name, size in sizes.items())
        raise ConfigError(f"image.size: the training sets are used at different sizes ({found}). {example}")
    raise ConfigError(f"image.size={size}: it must be [height, width] in pixels. {example}")


def _sizes(cfg: Any) -> dict[str, Any]:
    sizes = OmegaConf.select(cfg, "dataset.image_size")
    return sizes if OmegaConf.is_dict(sizes) else {}


@dataclass
class PathsConfig:
    """Where data is read (`data`) and runs are written (`runs`)."""

    data: str = MISSING
    runs: str = MISSING


@dataclass
class LabelsConfig:
    """What runs are told apart by, see `vpr.cli.run_names`."""

    student: str = MISSING
    teacher: str | None = MISSING
    term: str = MISSING
    dataset: str = MISSING


@dataclass
class ImageConfig:
    """From photo to network input, see `vpr.types.Preprocess`: size is [height, width] in pixels."""

    size: list[int] = MISSING
    mean: list[float] | None = MISSING
    std: list[float] | None = MISSING
    interpolation: str = MISSING


@dataclass
class BatchConfig:
    """A training batch: `places` is the number of a whole step, over all devices."""

    places: int = MISSING
    images_per_place: int = MISSING
    shuffle: str = MISSING
    choice: str = MISSING
    drop_last: bool = MISSING


@dataclass
class FinetuneConfig:
    """How gently a pretrained backbone is trained."""

    backbone_lr: float = MISSING
    backbone_bn: bool = MISSING
    bn_momentum: float | None = MISSING


@dataclass
class CheckpointEveryConfig:
    """When last.ckpt is written between two ends of epochs: every so many minutes, steps, or both; null is never."""

    minutes: float | None = MISSING
    steps: int | None = MISSING


@dataclass
class TrainerConfig:
    """How long, on what and how it is trained. conf/trainer/default.yaml explains each key."""

    max_epochs: int = MISSING
    accelerator: str = MISSING
    devices: Any = MISSING
    strategy: str = MISSING
    precision: str = MISSING
    matmul_precision: str = MISSING
    gradient_clip_val: float | None = MISSING
    compile: bool = MISSING
    channels_last: bool = MISSING
    sync_batchnorm: Any = MISSING
    num_workers: int = MISSING
    eval_batch_size: int = MISSING
    eval_every: int = MISSING
    checkpoint_every: CheckpointEveryConfig = field(default_factory=CheckpointEveryConfig)
    save_top: int = MISSING
    monitor: str | None = MISSING
    monitor_k: int = MISSING
    early_stop: int | None = MISSING
    log_every: int = MISSING
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainConfig:
    """Root of `train.py`."""

    name: str = MISSING
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    seed: int = MISSING
    generation: int = MISSING
    ckpt_path: str | None = MISSING
    evaluate_first: bool = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    backbone: Any = MISSING
    agg: Any = MISSING
    loss: Any = MISSING
    supervision: Any = MISSING
    distillation: Any = MISSING
    dataset: Any = MISSING
    augment: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    logger: Any = field(default_factory=dict)


@dataclass
class PCAConfig:
    """PCA behind the model that is measured. conf/evaluate.yaml explains each key."""

    dim: int | None = MISSING
    whiten: bool = MISSING
    dataset: Any = MISSING
    samples: int = MISSING
    seed: int = MISSING
    file: str | None = MISSING
    save: str | None = MISSING


@dataclass
class EvaluateConfig:
    """Root of `evaluate.py`."""

    ckpt: str = MISSING
    gallery_ckpt: str | None = MISSING
    pca: PCAConfig = field(default_factory=PCAConfig)
    seed: int = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    dataset: Any = MISSING
    rerank: Any = MISSING
    ks: list[int] = MISSING
    batch_size: int = MISSING
    num_workers: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    dtype: str = MISSING
    out: str | None = MISSING


@dataclass
class IndexConfig:
    """The place index of the demo. conf/demo.yaml explains each key."""

    folder: str | None = MISSING
    rebuild: bool = MISSING
    kind: Any = MISSING


@dataclass
class DemoConfig:
    """Root of `demo.py`."""

    ckpt: str = MISSING
    database: str = MISSING
    query: str = MISSING
    positions: str | None = MISSING
    k: int = MISSING
    calibrate: str | None = MISSING
    accept: float = MISSING
    every: float = MISSING
    heat: bool = MISSING
    watch: bool = MISSING
    open: bool = MISSING
    page_queries: int = MISSING
    index: IndexConfig = field(default_factory=IndexConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    batch_size: int = MISSING
    num_workers: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    out: str = MISSING


@dataclass
class ClusterConfig:
    """Root of `cluster.py`."""

    seed: int = MISSING
    clusters: int = MISSING
    images: int = MISSING
    descriptors_per_image: int = MISSING
    iterations: int = MISSING
    overwrite: bool = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    batch_size: int = MISSING
    num_workers: int = MISSING
    device: str = MISSING
    backbone: Any = MISSING
    dataset: Any = MISSING


def typed(name: str, node: Mapping[str, Any]) -> Any:
    """Return the plain node `name` of a training configuration as its class: `trainer` as TrainerConfig."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig)[name], node))


def register() -> None:
    """Make the schemas known to Hydra as `train_schema` and so on, and `${image_size:}` to OmegaConf.

    A variable VPR_DATA that is empty is taken away: all sets would be looked for in the root of the disk.
    """
    if not os.environ.get("VPR_DATA", "set").strip():
        del os.environ["VPR_DATA"]
    OmegaConf.register_new_resolver("image_size", common_image_size, replace=True)
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="cluster_schema", node=ClusterConfig)
    store.store(name="demo_schema", node=DemoConfig)
