"""Selection of a student for a budget: brief runs of the candidates that fit, and a full one of the best.

The output folder holds `settings.json`, `costs.json`, `train.txt`, `held_out.txt`, the runs in `brief/<candidate>/` and
`full/<candidate>/`, and at the end `best.ckpt`, `report.json` and `report.md`.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vpr import checkpoint
from vpr.cli.budget import Budget
from vpr.cli.run_names import identity
from vpr.cli.sweeps.jobs import JobFailed, quoted, run_once
from vpr.data.loading import loader_workers
from vpr.errors import ConfigError
from vpr.files import atomic_write, write_text
from vpr.interop.opener import read_content
from vpr.interop.zoo import local_file
from vpr.retrieval.agreement import Agreement
from vpr.retrieval.extractor import pick_device
from vpr.training.students import comparison
from vpr.training.students.candidates import (
    Candidate,
    composed,
    costs_of,
    fitting,
    measure_candidates,
    own_backbone,
    read_kept,
    split_words,
)
from vpr.training.students.comparison import Comparison, write_list
from vpr.training.students.report import Report

log = logging.getLogger(__name__)

# Settings that a folder is bound to. Candidates may come and go: each of their runs has an identity of its own.
BOUND = ("budget", "seed", "brief", "full", "tie", "held_out", "recipe")


def distil(settings: Mapping[str, Any], train: Path) -> float:
    """Choose and train a student as `conf/distil.yaml` says; the same call goes on where it was interrupted.

    Args:
        settings: the configuration of distil.py, plain.
        train: the script train.py.

    Returns:
        share of first matches of the held-out images that are the teacher's, 0..1.

    Raises:
        ConfigError: no candidate fits, a run failed, or the folder holds what other settings made.
        CheckpointError: the teacher's file is missing, damaged or from elsewhere.
        DataError: too few images, or images that cannot be read.
    """
    out, device, seed = Path(settings["out"]).absolute(), pick_device(settings["device"]), settings["seed"]
    teacher = str(local_file(settings["teacher"]).absolute())
    content = read_content(teacher)
    frames, every = Path(settings["paths"]["data"]) / "frames", settings["every"]
    of_map = comparison.read(settings["map"], frames, every) if settings["map"] else None
    images = comparison.split(
        comparison.read(settings["images"], frames, every), of_map, **settings["held_out"], seed=seed
    )
    check_folder(out, settings, checkpoint.digest(content), images.digest)
    write_list(images.held_out, out / "held_out.txt")
    everything = write_list(images.train, out / "train.txt")
    log.info("%d images to learn from, %d held out: %s", len(images.train), len(images.held_out), out)

    runs = Runs(settings, teacher, train, out)
    candidates = measure_candidates(
        settings["candidates"],
        own_backbone(content, teacher),
        lambda words: runs.words(words, everything),
        device,
        out / "costs.json",
    )
    fit = fitting(candidates, Budget.parse(settings["budget"]))
    teacher_costs = costs_of(checkpoint.unpack(content, teacher), device)
    workers = loader_workers(settings["num_workers"])
    compare = Comparison(teacher, images, device, settings["batch_size"], workers, seed)
    brief: dict[str, Agreement] = {}
    for candidate in fit if len(fit) > 1 else ():
        brief[candidate.name] = compare(runs.train("brief", candidate, images.train))
        log.info("%s: %s", candidate.name, brief[candidate.name])
    chosen = choose(fit, brief, settings["tie"])
    best = runs.train("full", chosen, images.train)
    report = Report(settings, images, candidates, teacher_costs, brief, chosen, compare(best))
    with atomic_write(out / "best.ckpt") as temporary:
        shutil.copyfile(best, temporary)
    report.write(out)
    return report.full.first_match


def check_folder(out: Path, settings: Mapping[str, Any], teacher: str, images: str) -> None:
    """Make sure that what a folder holds was made with the same settings, by the same teacher, of the same images.

    Args:
        teacher, images: digests.

    Raises:
        ConfigError: it was not.
    """
    file, now = out / "settings.json", {key: settings[key] for key in BOUND} | {"teacher": teacher, "images": images}
    if not file.is_file():
        write_text(file, json.dumps(now, indent=2) + "\n")
        return
    before = read_kept(file)
    for key, value in now.items():
        if before.get(key) != value:
            digest = key in ("teacher", "images")
            changed = f"{key} of other content" if digest else f"{key}={before.get(key)}, and now {key}={value}"
            raise ConfigError(
                f"{out} was begun with {changed}. Repeat those settings to go on; name=NEW begins in a folder of its "
                "own."
            )


def choose(fit: Sequence[Candidate], agreements: Mapping[str, Agreement], tie: float) -> Candidate:
    """Return the candidate whose first matches are most often the teacher's; the smallest of those in a tie.

    Args:
        fit: candidates, the smallest first.
        agreements: by name; not needed of a single candidate.
        tie: difference in first matches (0..1) that counts for nothing.
    """
    if len(fit) == 1:
        return fit[0]
    matches = [agreements[candidate.name].first_match for candidate in fit]
    return next(c for c, match in zip(fit, matches, strict=True) if match >= max(matches) - tie - 1e-9)


@dataclass(frozen=True)
class Runs:
    """Runs of train.py, each in a process of its own, done once.

    Args:
        settings: the configuration of distil.py, plain.
        teacher: absolute path of its checkpoint.
        script: train.py.
        out: folder of the runs.
    """

    settings: Mapping[str, Any]
    teacher: str
    script: Path
    out: Path

    def words(self, candidate: Sequence[str], listed: Path) -> list[str]:
        """Return the command line with the words of a candidate, for the images of a list."""
        paths = self.settings["paths"]
        return [
            *split_words(self.settings["recipe"]),
            *("dataset=my_images", f"dataset.images.my_images.root={quoted(listed)}"),
            f"distillation.teacher.ckpt={quoted(self.teacher)}",
            *candidate,
            f"seed={self.settings['seed']}",
            *(f"paths.{name}={quoted(Path(path).absolute())}" for name, path in paths.items()),
        ]

    def train(self, stage: str, candidate: Candidate, images: Sequence[str]) -> Path:
        """Train a candidate for `settings[stage]` steps, rounded to whole epochs, unless that is done.

        Where so many steps see not all images, they are of a part of them, evenly spaced. Runs of the same images share
        the teacher's descriptors of them.

        Returns:
            path of its best.ckpt.

        Raises:
            ConfigError: the run failed.
        """
        listed, steps = self.out / "train.txt", self.settings[stage]
        cfg = composed(candidate.name, self.words(candidate.words, listed))
        seen = steps * cfg.supervision.images
        if len(images) > seen:
            images = [images[row * len(images) // seen] for row in range(seen)]
            listed = write_list(images, self.out / f"{stage}.txt")
        epochs = max(1, round(steps / math.ceil(len(images) / cfg.supervision.images)))
        words = [*self.words(candidate.words, listed), f"trainer.max_epochs={epochs}", f"name={candidate.name}"]
        directory = self.out / stage / candidate.name
        log.info("%s training of %s: %d epochs of %d images", stage, candidate.name, epochs, len(images))
        try:
            run_once(self.script, (), words, sha256(f"{identity(cfg)} {words}".encode()).hexdigest(), directory)
        except JobFailed as error:
            raise ConfigError(
                f"candidates.{candidate.name}: its {stage} training failed ({error}). What it said stands above, and "
                f"in the log there. The same command goes on; with ~candidates.{candidate.name} without it."
            ) from error
        return directory / "best.ckpt"
