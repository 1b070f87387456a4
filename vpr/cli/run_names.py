"""Names of runs: labels of student, teacher, term and dataset, and a hash of its configuration."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from omegaconf import OmegaConf

LIBRARIES = {"timm"}  # files of conf/backbone that stand for any network of a library, chosen by backbone.name
LONGEST = 120  # characters of a name, so that a folder's name stays below 255
_SAYS_NOTHING = re.compile(r"best|last|model(\.int8|\.fp16)?|export|\d+|\d{4}-\d\d-\d\d(_\d\d-\d\d-\d\d)?")


def teacher_label(cfg: Any) -> str | None:
    """Return the name of the teachers of a run, None where it has none."""
    teacher = OmegaConf.select(cfg, "distillation.teacher")
    if teacher is None or not cfg.distillation.get("terms"):
        return None
    if teacher.get("name"):
        return safe(teacher.name)
    if teacher.get("ckpt"):
        return several(map(checkpoint_label, [teacher.ckpt] if isinstance(teacher.ckpt, str) else teacher.ckpt))
    network = teacher.get("backbone") or teacher.get("hub")
    names = [network.get(key) for key in ("name", "model")] if OmegaConf.is_dict(network) else []
    return safe(next((name for name in names if name), "teacher"))


def student_label(cfg: Any, backbone: str, agg: str) -> str:
    """Return the name of the student, `<backbone>-<agg>`, by what was chosen in these two groups.

    A choice in `LIBRARIES` is a library, not a network: there, the network's name is the backbone's. A student that
    starts from the weights of a model, `init`, is named after that.
    """
    if init := OmegaConf.select(cfg, "init"):
        return safe(f"from-{checkpoint_label(init)}")
    name = OmegaConf.select(cfg, "backbone.name") if backbone in LIBRARIES else None
    return safe(f"{name or backbone}-{agg}")


def term_label(cfg: Any) -> str:
    """Return the distillation terms of a run, `none` for plain training."""
    return several(OmegaConf.select(cfg, "distillation.terms") or ["none"])


def dataset_label(cfg: Any) -> str:
    """Return the training sets of a run."""
    part = OmegaConf.select(cfg, "supervision.reads", default="train")
    return several(OmegaConf.select(cfg, f"dataset.{part}") or ["none"])


def run_label(cfg: Any) -> str:
    """Return the name of a run: `<teacher>-to-<student>`, or its student where it has no teacher."""
    teacher, student = teacher_label(cfg), safe(cfg.labels.student)
    return f"{teacher}-to-{student}" if teacher else student


def job_label(cfg: Any) -> str:
    """Return the name of the folder of a job of a sweep: the same for the same configuration."""
    return f"{safe(cfg.name)}-{term_label(cfg)}-seed{cfg.seed}-{identity(cfg)[:6]}"


def distil_label(cfg: Any) -> str:
    """Return the name of what `distil.py` does: `<teacher>-<images>-<budget>`, for whatever of these is given."""
    given = {key: OmegaConf.select(cfg, key) for key in ("teacher", "images", "budget")}
    listed = {key: list(value) if OmegaConf.is_list(value) else [value] for key, value in given.items() if value}
    listed["images"] = [PurePath(str(path)).stem for path in listed.get("images", ())]
    listed["teacher"] = [checkpoint_label(path) for path in listed.get("teacher", ())]
    return safe("-".join("+".join(map(str, listed.get(key, ()))) for key in given))


LABELS = {
    "teacher": teacher_label,
    "term": term_label,
    "dataset": dataset_label,
    "run": run_label,
    "job": job_label,
    "distil": distil_label,
}


def identity(cfg: Any) -> str:
    """Return a SHA-256 of a configuration before it is resolved, by which runs are told apart.

    Hydra's part is left out, and so is a teacher without terms: the undistilled runs of two pairs with one student are
    the same run.
    """
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    content.pop("hydra", None)
    distillation = content.get("distillation")
    if isinstance(distillation, dict) and not distillation.get("terms"):
        del content["distillation"]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def checkpoint_label(path: str) -> str:
    """Return a name for a checkpoint: that of its file, or of the folder that it was trained into.

    >>> checkpoint_label("models/vgg16.ckpt"), checkpoint_label("runs/resnet50-mixvpr/2026-01-31_12-00-00/best.ckpt")
    ('vgg16', 'resnet50-mixvpr')
    >>> checkpoint_label("runs/x/export/resnet18-gem-0123abcd/model.int8.onnx")
    'resnet18-gem-0123abcd'
    """
    names = [PurePath(path).stem, *reversed(PurePath(path).parent.parts)]
    return safe(next((name for name in names if not _SAYS_NOTHING.fullmatch(name)), names[0]))


def several(names: Iterable[Any]) -> str:
    """Return names joined by `+`."""
    return safe("+".join(map(str, names)))


def safe(name: str) -> str:
    """Return a name with nothing that a shell, a file system or W&B reads as something else.

    >>> safe("R1[0.91]/epoch=3 (best)")
    'R1-0.91-epoch-3-best'
    """
    return re.sub(r"[^\w.+]+", "-", name, flags=re.ASCII).strip("-.")[:LONGEST] or "unnamed"
