"""Schema of the configuration: names, types and bounds of our own settings; the values stand in conf/.

Hydra checks names and types while it composes, `vpr.cli.checks` the bounds and choices, which are metadata of the
fields. A node of which a `_target_` is made is free here (`Any`) and checked by `vpr.cli.checks.check_targets`.

`conf/train.yaml`, `evaluate.yaml`, `cluster.yaml`, `demo.yaml`, `distil.yaml` and `export.yaml` are tables of contents
of the scripts of their names. `trainer.monitor` is the name of an evaluation set (null: the first one) and
`trainer.monitor_k` the k of its recall by which checkpoints are compared; recalls are logged as `<protocol id>/R@1`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

import vpr.cli.resolvers  # noqa: F401 - what conf/ calls as ${...:}

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def at_least(least: float, because: str = "") -> Any:
    """Field of a number that has a least value; `because` is said to a user who typed less."""
    return field(default=MISSING, metadata={"least": least, "because": because})


def one_of(*choices: Any) -> Any:
    """Field that holds one of a few values."""
    return field(default=MISSING, metadata={"choices": choices})


@dataclass
class PathsConfig:
    """Folders: `data` is read, runs are written into `runs`."""

    data: str = MISSING
    runs: str = MISSING


@dataclass
class LabelsConfig:
    """Labels of a run, see `vpr.cli.run_names`."""

    student: str = MISSING
    teacher: str | None = MISSING
    term: str = MISSING
    dataset: str = MISSING


@dataclass
class ImageConfig:
    """Preprocessing of images, see `vpr.types.Preprocess`: `size` is [height, width] in pixels."""

    size: list[int] = MISSING
    mean: list[float] | None = MISSING
    std: list[float] | None = MISSING
    interpolation: str = one_of("bilinear", "bicubic")


@dataclass
class BatchConfig:
    """A training batch: `places` is the number of a whole step, over all devices."""

    places: int = at_least(2, because="A metric loss needs images of other places to compare with.")
    images_per_place: int = at_least(2, because="A metric loss needs two images of a place to pull together.")
    shuffle: str = one_of("within_group", "all")
    choice: str = one_of("random", "recent")
    drop_last: bool = MISSING
    chunk: int | None = at_least(2, because="BatchNorm needs two images to normalise by.")


@dataclass
class FinetuneConfig:
    """Training of a pretrained backbone: its learning rate, its BatchNorm, and what becomes of its weights."""

    backbone_lr: float = MISSING
    backbone_bn: bool = MISSING
    bn_momentum: float | None = at_least(0)
    interpolate: float | None = at_least(0)


@dataclass
class CheckpointEveryConfig:
    """Intervals at which last.ckpt is written within an epoch: minutes, steps, or both; null is never."""

    minutes: float | None = MISSING
    steps: int | None = at_least(1)


@dataclass
class TrainerConfig:
    """Length, devices and bookkeeping of training. conf/trainer/default.yaml explains each key."""

    max_epochs: int = at_least(0)
    accelerator: str = one_of("auto", "cpu", "gpu", "cuda", "mps")
    devices: Any = MISSING
    strategy: str = MISSING
    precision: str = one_of("auto", *PRECISIONS)
    matmul_precision: str = one_of("highest", "high", "medium")
    gradient_clip_val: float | None = MISSING
    compile: bool = MISSING
    channels_last: bool = MISSING
    sync_batchnorm: Any = one_of("auto", True, False)
    num_workers: int = at_least(-1)
    eval_batch_size: int = at_least(1)
    eval_every: int = at_least(0)
    checkpoint_every: CheckpointEveryConfig = field(default_factory=CheckpointEveryConfig)
    save_top: int = at_least(1)
    monitor: str | None = MISSING
    monitor_k: int = one_of(1, 5, 10, 20)
    early_stop: int | None = at_least(1)
    log_every: int = at_least(1)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class PCAConfig:
    """PCA at the end of a model. conf/train.yaml and conf/evaluate.yaml explain each key."""

    dim: int | None = at_least(1)
    whiten: bool = MISSING
    dataset: Any = MISSING
    samples: int = at_least(2)
    seed: int = at_least(0)


@dataclass
class TrainConfig:
    """Root of `train.py`."""

    name: str = MISSING
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    seed: int = at_least(0)
    generation: int = at_least(0)
    ckpt_path: str | None = MISSING
    init: str | None = MISSING
    evaluate_first: bool = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    pca: PCAConfig = field(default_factory=PCAConfig)
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
    callbacks: Any = field(default_factory=dict)
    logger: Any = field(default_factory=dict)


@dataclass
class EvaluatePCAConfig(PCAConfig):
    """PCA behind the model that is measured, from a file or into one."""

    file: str | None = MISSING
    save: str | None = MISSING


@dataclass
class EvaluateConfig:
    """Root of `evaluate.py`."""

    ckpt: str = MISSING
    gallery_ckpt: str | None = MISSING
    agree_with: str | None = MISSING
    pca: EvaluatePCAConfig = field(default_factory=EvaluatePCAConfig)
    seed: int = at_least(0)
    paths: PathsConfig = field(default_factory=PathsConfig)
    dataset: Any = MISSING
    rerank: Any = MISSING
    ks: list[Any] = MISSING
    batch_size: int = at_least(1)
    num_workers: int = at_least(-1)
    device: str = MISSING
    precision: str = one_of(*PRECISIONS)
    dtype: str = one_of("float16", "float32")
    out: str | None = MISSING


@dataclass
class IndexConfig:
    """The place index of the demo. conf/demo.yaml explains each key."""

    folder: str | None = MISSING
    rebuild: bool = MISSING
    verify: bool = MISSING
    kind: Any = MISSING


@dataclass
class DemoConfig:
    """Root of `demo.py`."""

    ckpt: str = MISSING
    database: str = MISSING
    query: str = MISSING
    positions: str | None = MISSING
    k: int = at_least(1)
    calibrate: str | None = MISSING
    accept: float = MISSING
    every: float = MISSING
    heat: bool = MISSING
    watch: bool = MISSING
    open: bool = MISSING
    page_queries: int = at_least(1)
    rerank: Any = MISSING
    index: IndexConfig = field(default_factory=IndexConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    batch_size: int = at_least(1)
    num_workers: int = at_least(-1)
    device: str = MISSING
    precision: str = one_of(*PRECISIONS)
    out: str = MISSING


@dataclass
class HeldOutConfig:
    """Images that `distil.py` compares students on. conf/distil.yaml explains each key."""

    share: float = MISSING
    most: int = at_least(2)
    database: int = at_least(2)


@dataclass
class DistilConfig:
    """Root of `distil.py`."""

    teacher: str = MISSING
    images: Any = MISSING
    map: Any = MISSING
    budget: Any = MISSING
    name: str = MISSING
    seed: int = at_least(0)
    brief: int = at_least(1)
    full: int = at_least(1)
    tie: float = at_least(0)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    recipe: Any = MISSING
    candidates: dict[str, Any] = field(default_factory=dict)
    paths: PathsConfig = field(default_factory=PathsConfig)
    every: float = MISSING
    batch_size: int = at_least(1)
    num_workers: int = at_least(-1)
    device: str = MISSING
    out: str = MISSING


@dataclass
class BoundConfig:
    """Limits beyond which an exported file is not kept. conf/export.yaml explains each key."""

    difference: float = at_least(0)
    cosine: float = at_least(0)
    recall_drop: float = at_least(0)


@dataclass
class BundledIndexConfig:
    """Place index whose photos become a place bundle."""

    folder: str | None = MISSING


@dataclass
class ExportConfig:
    """Root of `export.py`."""

    ckpt: str = MISSING
    precision: Any = MISSING
    calibration: Any = MISSING
    calibration_images: int = at_least(8)
    verify: Any = MISSING
    size: list[int] | None = MISSING
    dynamic_size: bool = MISSING
    bound: BoundConfig = field(default_factory=BoundConfig)
    index: BundledIndexConfig = field(default_factory=BundledIndexConfig)
    calibrate: str | None = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    batch_size: int = at_least(1)
    num_workers: int = at_least(-1)
    out: str | None = MISSING


@dataclass
class ClusterConfig:
    """Root of `cluster.py`."""

    seed: int = at_least(0)
    clusters: int = at_least(2)
    images: int = at_least(1)
    descriptors_per_image: int = at_least(1)
    iterations: int = at_least(1)
    overwrite: bool = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    batch_size: int = at_least(1)
    num_workers: int = at_least(-1)
    device: str = MISSING
    backbone: Any = MISSING
    dataset: Any = MISSING


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "cluster": ClusterConfig,
    "demo": DemoConfig,
    "distil": DistilConfig,
    "export": ExportConfig,
}
"""Root of each script."""


def typed(name: str, node: Mapping[str, Any]) -> Any:
    """Return the plain node `name` of a training configuration as its class: `trainer` as TrainerConfig."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig)[name], node))


def register() -> None:
    """Make the schemas known to Hydra as `train_schema` and so on.

    A VPR_DATA in the environment that is empty is removed: data would be looked for in the root of the disk.
    """
    if not os.environ.get("VPR_DATA", "set").strip():
        del os.environ["VPR_DATA"]
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
