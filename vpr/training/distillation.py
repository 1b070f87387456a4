"""Teachers and distiller of a run, from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from vpr import checkpoint
from vpr.cli.compose import plain
from vpr.data.loading import loader_workers
from vpr.data.places import Places
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.distiller import Distiller
from vpr.distill.hub import load_hub
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.base import Term
from vpr.errors import ConfigError
from vpr.models.aggregators.projected import Projected, projected_node
from vpr.models.describer import Describer, build_describer
from vpr.retrieval.extractor import AUTOCAST, pick_device
from vpr.training.teacher_whitening import Whitener
from vpr.training.trainer import device_count, resolve_precision


def make_distiller(cfg: DictConfig) -> Distiller:
    """Return the distiller of a run with its teachers; `connect` it to the student before training.

    Raises:
        CheckpointError: a teacher's file is missing, damaged or from elsewhere.
        WeightsUnavailable: the weights of a teacher's network cannot be had.
        ConfigError: a term needs more than a cache of descriptors.
    """
    node = cfg.distillation
    terms = {name: instantiate(term, _convert_="all") for name, term in node.terms.items()}
    if node.cache:
        _check_cached(terms)
    # The student's initial weights are the same with a teacher as without.
    with torch.random.fork_rng(devices=[]):
        teachers: list[Teacher] = make_teachers(cfg)
    kept = [CachedTeacher(teacher, node.cache_pca) for teacher in teachers] if node.cache else teachers
    return Distiller(terms, kept, node.task_weight)


def _check_cached(terms: Mapping[str, Term]) -> None:
    mapped = [name for name, term in terms.items() if term.needs_map]
    if mapped:
        raise ConfigError(
            f"distillation.cache=true keeps the teacher's descriptors alone, and {', '.join(mapped)} compares feature "
            "maps. Type distillation.cache=false, or choose terms that need descriptors only: similarity, rkd, rank, "
            "descriptor, logit, or wakd with distillation.terms.wakd.maps=0."
        )


def make_teachers(cfg: DictConfig) -> list[Teacher]:
    """Return the teachers of `distillation.teacher`, on the CPU."""
    node: Any = plain(cfg.distillation.teacher)
    networks = list(_networks(node, plain(cfg.image)))
    share = node["share"] or [1.0] * len(networks)
    size = tuple(node["size"]) if node["size"] else None
    dtype = AUTOCAST[resolve_precision(node["precision"], cfg.trainer.accelerator)]
    return [
        Teacher(network, name, part / sum(share), size, dtype, checkpoint.digest(content), content["config"])
        for (network, name, content), part in zip(networks, share, strict=True)
    ]


def _networks(node: dict[str, Any], image: dict[str, Any]) -> Iterator[tuple[nn.Module, str, dict[str, Any]]]:
    """Yield (network, name, content of its checkpoint) of each teacher."""
    paths = [node["ckpt"]] if isinstance(node["ckpt"], str) else node["ckpt"]
    for path in paths or ():
        content = checkpoint.read(path)
        yield checkpoint.unpack(content, path), str(path), content
    if node["backbone"]:
        # Its own mean and deviation; of the student's images only the size and the interpolation hold.
        image = {**image, "mean": None, "std": None}
        describer = build_describer(node["backbone"], node["agg"], image)
        content = checkpoint.pack(describer, {"backbone": node["backbone"], "agg": node["agg"]})
        yield describer, str(node["backbone"].get("name", node["backbone"]["_target_"])), content
    if node["hub"]:
        network = load_hub(node["hub"])
        source = network.source
        content = checkpoint.pack(network, {"backbone": {"hub": source.name, "args": source.args}, "agg": {}})
        yield network, source.name, content


def whiten_teachers(cfg: DictConfig, distiller: Distiller, student: Describer, sources: Sequence[Places]) -> None:
    """Put PCA-whitened copies in the teachers' places where `distillation.teacher.pca` asks for that.

    Raises:
        ConfigError: the photos or the descriptors are too few for so many dimensions.
    """
    pca = cfg.distillation.teacher.pca
    if pca is None:
        return
    whitener = Whitener(
        student.dim if pca == "student" else pca,
        sources,
        Path(cfg.paths.runs) / "teachers",
        pick_device("cpu" if cfg.trainer.accelerator == "cpu" else "auto"),
        cfg.trainer.eval_batch_size,
        loader_workers(cfg.trainer.num_workers, device_count(cfg.trainer)),
    )
    distiller.teachers = tuple(whitener([teacher for teacher in distiller.teachers if isinstance(teacher, Teacher)]))


def keep_projection(distiller: Distiller, describer: Describer, agg: dict[str, Any], seed: int) -> dict[str, Any]:
    """Put a projection that a term keeps behind the student's aggregator; random, as the seed says.

    Returns:
        the `agg` node from which the student can be built again: `agg` itself where there is no such projection.
    """
    dim = distiller.kept(_shape(describer))
    if dim is None:
        return agg
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        describer.aggregator = Projected(describer.backbone.spec, describer.aggregator, dim)
    return projected_node(agg, dim)


def connect(distiller: Distiller, describer: Describer, seed: int) -> None:
    """Make the projections between a student and its teachers; random, as the seed says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        distiller.connect(_shape(describer))


def _shape(student: Describer) -> Shape:
    return Shape(student.dim, student.backbone.spec.channels, "student")


def record(node: DictConfig, distiller: Distiller) -> dict[str, Any]:
    """Return what a checkpoint says of its distillation: the settings, and each teacher by name and digest.

    Where this machine keeps a teacher's file is no part of it.
    """
    found = plain(node)
    hub = found["teacher"]["hub"]
    if hub:
        found["teacher"]["hub"] = {**hub, "repo": "/".join(Path(hub["repo"]).parts[-2:])}
    teachers = [
        {"name": "/".join(Path(t.name).parts[-2:]), "share": t.share, "digest": t.digest} for t in distiller.teachers
    ]
    return {**found, "teacher": {**found["teacher"], "ckpt": None}, "teachers": teachers}


def check_same_distillation(recorded: Mapping[str, Any], path: Path) -> None:
    """Make sure that the run of `path` learned by the same terms from the same teachers.

    Raises:
        ConfigError: it did not.
    """
    stored = checkpoint.read(path)["config"].get("distillation", {})
    before, now = _what_counts(stored), _what_counts(recorded)
    for what, old in before.items():
        if old != now[what]:
            raise ConfigError(
                f"ckpt_path={path} is of a run with distillation.{what}={old}, and this one has {now[what]}. Repeat "
                "that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path out."
            )


def _what_counts(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "terms": run.get("terms", {}),
        "task_weight": run.get("task_weight", 1.0),
        "cache": run.get("cache", False),
        "cache_pca": run.get("cache_pca"),
        "teachers": [(t["digest"], t["share"]) for t in run.get("teachers", ())],  # their files may have moved
    }
