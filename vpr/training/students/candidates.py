"""Candidates for a student: their command lines, the networks that these stand for, and what those cost."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from vpr.cli.budget import Budget
from vpr.cli.compose import CONF, compose_words, plain, typed_words
from vpr.cli.rules import check_rules
from vpr.cli.schema import typed
from vpr.cli.sweeps.jobs import quoted
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError, DataError, WeightsUnavailable
from vpr.files import write_text
from vpr.models.costs import measure
from vpr.models.describer import Describer
from vpr.training.build import make_describer
from vpr.training.distillation import make_teachers
from vpr.training.run import make_distillation
from vpr.training.start import NODES, OF_TRAINING, Start

log = logging.getLogger(__name__)

OWN_BACKBONE = "own"
"""Word of a candidate that stands for the teacher's backbone with its weights."""
Command = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Candidate:
    """A student that could be trained.

    Attributes:
        name: of it, and of the folder of its runs.
        words: of train.py that are its own.
        costs: as `costs_of` returns them; None where it cannot be built.
        reason: why it cannot.
    """

    name: str
    words: Sequence[str]
    costs: Mapping[str, Any] | None = None
    reason: str = ""

    def excess(self, budget: Budget) -> float:
        """Return its largest ratio of a cost to a limit; infinite where it cannot be built."""
        return float("inf") if self.costs is None else budget.excess(in_units(self.costs))

    @property
    def size(self) -> tuple[float, ...]:
        """Key by which candidates are ordered, the smallest first; the same on every machine."""
        assert self.costs is not None
        return self.costs["parameters"], self.costs["gmacs"]


def in_units(costs: Mapping[str, Any]) -> dict[str, float]:
    """Return costs in the units of a budget."""
    return {"ms": costs["latency_ms"], "MB": costs["bytes"] / 1e6, "Mparams": costs["parameters"] / 1e6}


def in_words(costs: Mapping[str, Any]) -> str:
    """Return costs as a line: "3.2 ms, 1.19 MB, 0.298 Mparams"."""
    return ", ".join(f"{value:.3g} {unit}" for unit, value in in_units(costs).items())


def costs_of(describer: Describer, device: torch.device) -> dict[str, Any]:
    """Return `vpr.models.costs.measure`, plain, and `bytes`: of weights and buffers as a checkpoint has them."""
    tensors = describer.state_dict().values()
    return {**measure(describer, device).plain(), "bytes": sum(t.numel() * t.element_size() for t in tensors)}


def split_words(typed: str | Sequence[str]) -> list[str]:
    """Return the words of a line as a shell would, or of a list."""
    return shlex.split(typed) if isinstance(typed, str) else [str(word) for word in typed]


def own_backbone(content: Mapping[str, Any], path: str) -> list[str]:
    """Return the words of train.py for the backbone of a checkpoint, its settings and its weights; none if unknown.

    Args:
        content: of the checkpoint.
        path: of its file.
    """
    node = content["config"]["backbone"]
    for file in sorted((CONF / "backbone").glob("*.yaml")):
        choice = yaml.safe_load(file.read_text())
        if all(choice.get(key) == node.get(key) for key in ("_target_", "name")):
            keys = [key for key in choice if key in node and (key == "crop" or key not in ("name", *OF_TRAINING))]
            settings = [f"backbone.{key}={json.dumps(node[key])}" for key in keys if key != "_target_"]
            return [f"backbone={file.stem}", f"backbone.weights={quoted(path)}", *settings]
    return []


def measure_candidates(
    lines: Mapping[str, str | Sequence[str]],
    backbone: Sequence[str],
    command: Command,
    device: torch.device,
    file: Path,
) -> list[Candidate]:
    """Build all candidates and measure their costs, once: `file` keeps them, as latencies differ from time to time.

    Args:
        lines: name -> words.
        backbone: the words that stand for `OWN_BACKBONE`.
        command: own words of a candidate -> the command line of a run that trains it.
        device: of the latencies.

    Raises:
        ConfigError: words that train.py does not take.
    """
    kept = read_kept(file) if file.is_file() else {}
    candidates = []
    teachers: dict[str, Sequence[Teacher]] = {}
    for name, line in lines.items():
        listed = split_words(line)
        words, costs, reason = [w for word in listed for w in (backbone if word == OWN_BACKBONE else [word])], None, ""
        cfg = composed(name, command(words))
        if OWN_BACKBONE in listed and not backbone:
            reason = "the teacher's backbone is none of conf/backbone."
        elif kept.get(name, {}).get("words") == words:
            costs = kept[name]["costs"]
        else:
            try:
                costs = costs_of(build(cfg, teachers), device)
            except (WeightsUnavailable, ConfigError) as error:
                reason = str(error)
            else:
                kept[name] = {"words": words, "costs": costs}
                write_text(file, json.dumps(kept, indent=2) + "\n")
        log.info("Candidate %s: %s", name, in_words(costs) if costs else f"left out. {reason}")
        candidates.append(Candidate(name, words, costs, reason))
    return candidates


def fitting(candidates: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """Return the candidates within a budget, the smallest first.

    Raises:
        ConfigError: there is none; names the nearest one, and the budget that would take it.
    """
    fit = sorted((c for c in candidates if c.excess(budget) <= 1), key=lambda candidate: candidate.size)
    if fit:
        return fit
    nearest = min(candidates, key=lambda candidate: candidate.excess(budget))
    if nearest.costs is None:
        reasons = " ".join(f"{candidate.name}: {candidate.reason}" for candidate in candidates)
        raise ConfigError(f"candidates: none of the {len(candidates)} can be built. {reasons}")
    raise ConfigError(
        f"budget: none of the {len(candidates)} candidates fits. The nearest is {nearest.name}, "
        f"{in_words(nearest.costs)}: {budget.taking(in_units(nearest.costs))} takes it. Or add a smaller one: "
        "\"+candidates.mine='backbone=... agg=gem image.size=[72,96]'\"."
    )


def composed(name: str, words: Sequence[str]) -> Any:
    """Return the checked configuration of a run of train.py; ConfigError where it does not take these words."""
    try:
        cfg = compose_words("train", words)
        check_rules(cfg)
    except ConfigError as error:
        raise ConfigError(f"candidates.{name}: {error}") from error
    return cfg


def build(cfg: Any, teachers: dict[str, Sequence[Teacher]]) -> Describer:
    """Return the network that a run of train.py begins with, a projection that stays in it included.

    Args:
        cfg: the configuration, which must be the last that was composed.
        teachers: that have been read, by their node; read ones are added.

    Raises:
        WeightsUnavailable: its pretrained weights cannot be had.
        ConfigError: its parts do not fit each other.
    """
    nodes = plain(cfg)
    start = Start.read(cfg.init, typed_words(*NODES)) if cfg.init else None
    nodes |= start.nodes(nodes) if start else {}
    trainer, node = typed("trainer", nodes["trainer"]), nodes["distillation"]["teacher"]
    key = json.dumps(node, sort_keys=True)
    if key not in teachers:
        teachers[key] = make_teachers(node, nodes["image"], trainer.accelerator)
    runs = Path(cfg.paths.runs)
    distillation = make_distillation(cfg.distillation, nodes["image"], trainer, cfg.seed, 0, runs, teachers[key])
    describer, record = start.describer(nodes) if start else make_describer(nodes)
    distillation.attach(describer, record["agg"], ())
    return describer


def read_kept(file: Path) -> dict[str, Any]:
    """Return what an earlier command has written into a json of its folder; DataError where it is damaged."""
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}). Remove it, and it is made again.") from error
