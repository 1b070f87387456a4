"""Distillation of a run: its teachers, what attaches them to the student, and the record of them for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vpr import checkpoint
from vpr.data.places import Places
from vpr.distill.bank import BankSampler
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.distiller import Distiller
from vpr.distill.hub import load_hub
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.base import Term
from vpr.errors import ConfigError
from vpr.interop.opener import OpenedModel, open_model
from vpr.models.aggregators.projected import Projected, projected_node
from vpr.models.describer import Describer, build_describer
from vpr.models.onnx_describer import OnnxDescriber
from vpr.retrieval.extractor import AUTOCAST
from vpr.training.teacher_whitening import Whitener
from vpr.training.trainer import resolve_precision


@dataclass
class Distillation:
    """Teachers and distiller of a run; without terms it is plain training.

    Args:
        node: `distillation` of the configuration, plain.
        distiller: terms and teachers.
        seed: of the projections that are trained.
        whitener: fits PCA whitening to the teachers' descriptors; None leaves them as they are.
    """

    node: Mapping[str, Any]
    distiller: Distiller
    seed: int = 0
    whitener: Whitener | None = None

    @classmethod
    def from_node(
        cls,
        node: Mapping[str, Any],
        terms: Mapping[str, Term],
        image: Mapping[str, Any],
        accelerator: str,
        seed: int,
        whitener: Whitener | None = None,
        teachers: Sequence[Teacher] | None = None,
    ) -> Distillation:
        """Make the teachers and the distiller of a run, which `attach` brings together with the student.

        Args:
            node: `distillation` of the configuration, plain.
            terms: name -> term, made of `node["terms"]`.
            image: the node of that name, for teachers that do not say how they get their images.
            accelerator: as of Lightning's Trainer.
            teachers: those of the node, where they have been made already.

        Raises:
            CheckpointError: a teacher's file is missing, damaged or from elsewhere.
            WeightsUnavailable: the weights of a teacher's network cannot be had.
            ConfigError: a term needs more than a cache of descriptors.
        """
        if node["cache"]:
            _check_cached(terms)
        if teachers is None:
            # The student's initial weights are the same with a teacher as without.
            with torch.random.fork_rng(devices=[]):
                teachers = make_teachers(node["teacher"], image, accelerator)
        size = node["bank"]
        bank = None if size is None else BankSampler(None if size == "all" else size, seed)
        return cls(node, Distiller(terms, teachers, node["task_weight"], bank), seed, whitener)

    def attach(self, describer: Describer, agg: Mapping[str, Any], sources: Sequence[Places]) -> dict[str, Any]:
        """Attach the teachers to the student: cache or whiten them, keep a projection, connect the terms.

        Args:
            describer: the student; gets a projection behind its aggregator where a term keeps one.
            agg: the node of its aggregator.
            sources: training places, to whose images whitening is fitted.

        Returns:
            the nodes `agg` and `distillation` as a checkpoint keeps them.

        Raises:
            ConfigError: the images are too few for so many dimensions, or a term needs what a teacher does not give.
        """
        teachers = [teacher for teacher in self.distiller.teachers if isinstance(teacher, Teacher)]
        if self.node["cache"]:
            dim = describer.dim if self.pca == "student" else self.pca
            self.distiller.teachers = tuple(CachedTeacher(teacher, dim) for teacher in teachers)
        elif self.whitener:
            self.distiller.teachers = tuple(self.whitener(teachers, describer.dim, sources))
        agg = self.keep_projection(describer, agg)
        self.connect(describer)
        return {"agg": agg, "distillation": self.record()}

    @property
    def pca(self) -> Any:
        """Dimensions to which teachers are whitened: a number, `student`, or None; also by the key's earlier name."""
        return self.node["teacher"]["pca"] or self.node["cache_pca"]

    def keep_projection(self, describer: Describer, agg: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a projection that a term keeps behind the student's aggregator; random, as the seed says.

        Returns:
            the node from which the student can be built again: `agg` itself where there is no such projection.
        """
        dim = self.distiller.kept(_shape(describer))
        if dim is None:
            return agg
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            describer.aggregator = Projected(describer.backbone.spec, describer.aggregator, dim)
        return projected_node(agg, dim)

    def connect(self, describer: Describer) -> None:
        """Make the projections between the student and its teachers; random, as the seed says."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.distiller.connect(_shape(describer))

    def record(self) -> dict[str, Any]:
        """Return the settings, and each teacher by name and digest, for a checkpoint.

        Where this machine keeps a teacher's file is no part of it.
        """
        teacher = {**self.node["teacher"], "ckpt": None}
        if hub := teacher["hub"]:
            teacher["hub"] = {**hub, "repo": "/".join(Path(hub["repo"]).parts[-2:])}
        teachers = [
            {"name": "/".join(Path(t.name).parts[-2:]), "share": t.share, "digest": t.digest}
            for t in self.distiller.teachers
        ]
        return {**self.node, "teacher": teacher, "teachers": teachers}


def _shape(student: Describer) -> Shape:
    return Shape(student.dim, student.backbone.spec.channels, "student")


def _check_cached(terms: Mapping[str, Term]) -> None:
    mapped = [name for name, term in terms.items() if term.needs_map]
    if mapped:
        raise ConfigError(
            f"distillation.cache=true keeps the teacher's descriptors alone, and {', '.join(mapped)} compares feature "
            "maps. Type distillation.cache=false, or choose terms that need descriptors only: similarity, rkd, rank, "
            "descriptor, logit, or wakd with distillation.terms.wakd.maps=0."
        )


def make_teachers(node: Mapping[str, Any], image: Mapping[str, Any], accelerator: str) -> list[Teacher]:
    """Return the teachers of the node `distillation.teacher`, on the CPU; `image` and `accelerator` as `from_node`."""
    networks = list(_networks(node, image))
    shares = node["share"] or [1.0] * len(networks)
    size = tuple(node["size"]) if node["size"] else None
    dtype = AUTOCAST[resolve_precision(node["precision"], accelerator)]

    def teacher(path: str, opened: OpenedModel, share: float) -> Teacher:
        images = checkpoint.training_images(opened.record) if "images" in opened.record else None
        network: nn.Module = opened.describer
        computes_in = None if isinstance(network, OnnxDescriber) else dtype
        return Teacher(network, path, share, size, computes_in, opened.digest, opened.config, images)

    for path, opened in networks:
        _check_exported(path, opened.describer, node["precision"], size)
    return [teacher(*network, share / sum(shares)) for network, share in zip(networks, shares, strict=True)]


def _check_exported(path: str, network: nn.Module, precision: str, size: tuple[int, int] | None) -> None:
    """Raise ConfigError where an exported model is to compute otherwise than it was exported."""
    if not isinstance(network, OnnxDescriber):
        return
    if AUTOCAST.get(precision) is not None:
        raise ConfigError(
            f"distillation.teacher.precision={precision}: {path} is exported, and computes as it was "
            f"({network.info.precision}). Type distillation.teacher.precision=auto."
        )
    if size and size != network.preprocess.size and network.fixed_size:
        raise ConfigError(
            f"distillation.teacher.size={list(size)}: {path} was exported for images of "
            f"{list(network.preprocess.size)}. Type distillation.teacher.size=null."
        )


def _networks(node: Mapping[str, Any], image: Mapping[str, Any]) -> Iterator[tuple[str, OpenedModel]]:
    """Yield the name or path and the model of each teacher."""
    paths = [node["ckpt"]] if isinstance(node["ckpt"], str) else node["ckpt"]
    for path in paths or ():
        yield str(path), open_model(path)
    if node["backbone"]:
        # Its own mean and deviation; of the student's images only the size and the interpolation hold.
        describer = build_describer(node["backbone"], node["agg"], {**image, "mean": None, "std": None})
        content = checkpoint.pack(describer, {"backbone": node["backbone"], "agg": node["agg"]})
        yield _of_network(describer, str(node["backbone"].get("name", node["backbone"]["_target_"])), content)
    if node["hub"]:
        network = load_hub(node["hub"])
        source = network.source
        content = checkpoint.pack(network, {"backbone": {"hub": source.name, "args": source.args}, "agg": {}})
        yield _of_network(network, source.name, content)


def _of_network(network: Any, name: str, content: Mapping[str, Any]) -> tuple[str, OpenedModel]:
    """Return a network that comes from no file as `_networks` yields it."""
    return name, OpenedModel(network, name, checkpoint.digest(content), {"config": content["config"]})
