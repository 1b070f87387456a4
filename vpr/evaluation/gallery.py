"""Asymmetric evaluation: the gallery model of `evaluate.py gallery_ckpt=...`."""

from __future__ import annotations

import logging

import torch

from vpr.errors import CheckpointError
from vpr.retrieval.extractor import Extractor

log = logging.getLogger(__name__)

DESCRIPTOR = "vpr.distill.terms.descriptor.Descriptor"


def load_gallery(path: str, student: Extractor, ckpt: str, device: torch.device | None = None) -> Extractor:
    """Open the model of `path`, which is to describe the database for the queries of another one.

    Args:
        student: describes the queries, with the precision that both then have.
        ckpt: its file, for messages.
        device: where the gallery computes; None: where the student does.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere, or its descriptors have other dimensions.
    """
    gallery = Extractor.load(path, device or student.device, student.precision)
    if gallery.dim != student.dim:
        raise CheckpointError(
            f"ckpt={ckpt} describes with {student.dim:,} numbers and gallery_ckpt={path} with {gallery.dim:,}: they "
            f"cannot be compared. Train the student into the gallery's space: python train.py distillation=descriptor "
            f"distillation.terms.descriptor.keep=true distillation.teacher.ckpt={path}"
        )
    if not shares_space(student, gallery):
        log.warning(
            "%s was not trained into the space of %s as far as its checkpoint says (distillation=descriptor by that "
            "teacher): their descriptors may have nothing to do with each other.",
            *(ckpt, path),
        )
    return gallery


def shares_space(student: Extractor, gallery: Extractor) -> bool:
    """Tell whether a student's checkpoint says that it describes as the gallery does.

    So it is where it learned by the descriptor term from that very model, with no projection that was left behind. An
    exported model shares the space of the checkpoint that it was made from, whatever its precision.
    """
    if student.origin == gallery.origin:
        return True
    run = student.record["config"].get("distillation") or {} if student.record else {}
    teachers = [teacher.get("digest") for teacher in run.get("teachers") or ()]
    terms = [term for term in (run.get("terms") or {}).values() if term.get("_target_") == DESCRIPTOR]
    direct = any(term.get("keep") or not term.get("project") for term in terms)
    whitened = run.get("cache") and (run.get("cache_pca") or (run.get("teacher") or {}).get("pca"))
    return direct and not {gallery.digest, gallery.origin}.isdisjoint(teachers) and not whitened
