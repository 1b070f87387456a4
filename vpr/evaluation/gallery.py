"""The gallery model of `evaluate.py gallery_ckpt=...`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from vpr import checkpoint
from vpr.checkpoint import model_name
from vpr.errors import CheckpointError
from vpr.retrieval.evaluate import Gallery
from vpr.retrieval.extractor import describe_fn

log = logging.getLogger(__name__)

DESCRIPTOR = "vpr.distill.terms.descriptor.Descriptor"


def load_gallery(
    path: str, student: Mapping[str, Any], ckpt: str, dim: int, device: torch.device, precision: str = "32-true"
) -> Gallery:
    """Return the model of the checkpoint `path` as a gallery for the queries of another one.

    Args:
        student: content of the checkpoint `ckpt` whose model describes the queries, with `dim` numbers each.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere, or its descriptors have another length.
    """
    content = checkpoint.read(path)
    describer = checkpoint.unpack(content, path)
    if describer.dim != dim:
        raise CheckpointError(
            f"ckpt={ckpt} describes with {dim:,} numbers and gallery_ckpt={path} with {describer.dim:,}: they cannot "
            f"be compared. Train the student into the gallery's space: python train.py distillation=descriptor "
            f"distillation.terms.descriptor.keep=true distillation.teacher.ckpt={path}"
        )
    digest = checkpoint.digest(content)
    if not shares_space(student, digest):
        log.warning(
            "%s was not trained into the space of %s as far as its checkpoint says (distillation=descriptor by that "
            "teacher): their descriptors may have nothing to do with each other.",
            *(ckpt, path),
        )
    describe = describe_fn(describer.to(device), device, precision)
    return Gallery(describe, describer.dim, describer.preprocess, model_name(content, path), digest)


def shares_space(student: Mapping[str, Any], gallery: str) -> bool:
    """Tell whether a student's checkpoint says that it describes as the model of the digest `gallery` does.

    So it is where it learned by the descriptor term from that very model, with no projection that was left behind.
    """
    if checkpoint.digest(student) == gallery:
        return True
    run = student["config"].get("distillation") or {}
    teachers = [teacher.get("digest") for teacher in run.get("teachers") or ()]
    terms = [term for term in (run.get("terms") or {}).values() if term.get("_target_") == DESCRIPTOR]
    direct = any(term.get("keep") or not term.get("project") for term in terms)
    return direct and gallery in teachers and not run.get("cache_pca")
