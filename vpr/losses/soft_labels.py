"""Losses on region descriptors: hardest regions, and soft labels of an earlier generation (Ge et al., ECCV 2020)."""

from __future__ import annotations

import torch
from torch import Tensor


def hardest_regions(anchor: Tensor, regions: Tensor) -> Tensor:
    """Return of each negative the region that looks most like the anchor.

    Args:
        anchor: (T, D), of whole images.
        regions: (T, n, R, D) of the negatives; all rows of unit norm.

    Returns:
        (T, n, D). The choice has no gradient, what is chosen has.
    """
    shape = regions.shape[:3]
    chosen = likeness(anchor.detach(), regions.detach()).view(shape).argmax(2)[:, :, None, None]
    return regions.gather(2, chosen.expand(-1, -1, 1, regions.shape[3])).squeeze(2)


def soft_labels(
    student: tuple[Tensor, Tensor],
    earlier: tuple[Tensor, Tensor],
    temperature: float,
    student_temperature: float,
    present: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of each tuple between an earlier generation's likenesses and the student's.

    The likenesses are the dot products of the anchor's whole image and all regions of all its difficult positives;
    their softmax at `temperature` is the label. No gradient flows into `earlier`.

    Args:
        student, earlier: anchors (T, D) and regions (T, d, R, D), rows of unit norm; D may differ between the two.
        temperature: of the earlier generation; the smaller, the sharper the label.
        student_temperature: of the student, the same in all generations.
        present: (T, d) bool, which difficult positives there are; None: all.

    Returns:
        (T',) float32, of the tuples that have a difficult positive. Training takes the mean.
    """
    of_student, of_earlier = likeness(*student) / student_temperature, likeness(*earlier).detach() / temperature
    if present is not None:
        kept = present.any(1)
        absent = ~present[kept].repeat_interleave(student[1].shape[2], dim=1)
        # A finite number, since 0 * infinity would be NaN.
        of_student, of_earlier = (
            x[kept].masked_fill(absent, torch.finfo(x.dtype).min) for x in (of_student, of_earlier)
        )
    return -(of_earlier.softmax(1) * of_student.log_softmax(1)).sum(1)


def likeness(anchor: Tensor, regions: Tensor) -> Tensor:
    """Return the dot products (T, d * R) of anchors (T, D) with regions (T, d, R, D), in float32."""
    with torch.autocast(anchor.device.type, enabled=False):
        return torch.einsum("td,tnd->tn", anchor.float(), regions.float().flatten(1, 2))
