"""Base class of distillation terms, and the relations that several of them compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.distill.bank import Bank
from vpr.distill.teacher import Outputs, Shape
from vpr.errors import ConfigError


class Term(nn.Module):
    """Comparison of a student with its teachers: one file here and one `conf/distillation/<name>.yaml` each.

    Relational terms compare the images of the global batch, so that their value does not depend on the number of ranks.

    Args:
        weight: of the term in the training loss.

    Attributes:
        needs_map: whether it compares feature maps, which not all teachers show and no cache of descriptors has.
        needs_places: whether it asks which images are of one place, which is not known of tuples or unlabelled images.
        takes_bank: whether `forward` takes a fourth argument, the `Bank` of a step, or None.
        has_bank: whether it will be given one; set before `connect`.
    """

    needs_map = False
    needs_places = False
    takes_bank = False

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.has_bank = False

    def connect(self, name: str, student: Shape, teachers: Sequence[Shape]) -> None:
        """Make the projections between student and teachers; called once, before training. `name` is for messages.

        Raises:
            ConfigError: the term needs feature maps, and a teacher shows none.
        """
        for teacher in teachers if self.needs_map else ():
            if teacher.channels is None:
                raise ConfigError(
                    f"distillation.terms.{name} compares feature maps, and the teacher {teacher.name} gives "
                    "descriptors only. Choose distillation=similarity, rkd, rank, descriptor or logit, or another "
                    "teacher."
                )

    def kept(self, name: str, student: Shape, teachers: Sequence[Shape]) -> int | None:
        """Return the dimensions after a projection that becomes part of the student; None: there is no such projection.

        Called before `connect`, which then gets a student of these dimensions.
        """
        return None

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        """Return the unweighted scalar for the global batch, the same on each rank; `labels` (N,) are its places."""
        raise NotImplementedError


def shared(teachers: Sequence[Outputs], relation: Callable[[Outputs], Tensor]) -> Tensor:
    """Return the mean of a `relation` over all teachers, weighted by their shares."""
    return torch.stack([teacher.share * relation(teacher) for teacher in teachers]).sum(0)


def similarities(outputs: Outputs) -> Tensor:
    """Return the cosine similarities (N, N) of the descriptors."""
    return outputs.descriptors @ outputs.descriptors.T


def off_diagonal(matrix: Tensor) -> Tensor:
    """Drop the diagonal: (N, N) -> (N, N-1).

    >>> off_diagonal(torch.arange(9).view(3, 3)).tolist()
    [[1, 2], [3, 5], [6, 7]]
    """
    n = len(matrix)
    return matrix.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


SELF_SIMILARITY = -1e4  # in the place of an image's similarity to itself: no softmax and no order sees it


class Relational(Term):
    """A term on similarities: those within the batch or, where there is a bank, those to the bank's images.

    Within the batch each network compares its own descriptors, of any dimensions. A bank holds descriptors of teachers
    alone, so the student's are brought into each teacher's space by a trained linear map; where the dimensions agree
    already it is the identity, and the student is compared as it is.
    """

    takes_bank = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.projections = nn.ModuleList()

    def connect(self, name: str, student: Shape, teachers: Sequence[Shape]) -> None:
        super().connect(name, student, teachers)
        for teacher in teachers if self.has_bank else ():
            same = student.dim == teacher.dim
            self.projections.append(nn.Identity() if same else nn.Linear(student.dim, teacher.dim, bias=False))

    def relations(
        self, student: Outputs, teachers: Sequence[Outputs], bank: Bank | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the cosine similarities by student and by teachers (the mean by their shares).

        Returns:
            two matrices (N, N-1) of the images to the others of the batch, or (N, M) to those of the bank, where an
            image's similarity to itself is `SELF_SIMILARITY`.
        """
        if bank is None:
            return off_diagonal(similarities(student)), off_diagonal(shared(teachers, similarities))
        of_student, of_teachers = [], []
        for projection, teacher, descriptors in zip(self.projections, teachers, bank.descriptors, strict=True):
            projected = F.normalize(projection(student.descriptors), dim=1)
            of_student.append(teacher.share * (projected @ descriptors.T))
            of_teachers.append(teacher.share * (teacher.descriptors @ descriptors.T))
        sums = torch.stack(of_student).sum(0), torch.stack(of_teachers).sum(0)
        return sums[0].masked_fill(bank.same, SELF_SIMILARITY), sums[1].masked_fill(bank.same, SELF_SIMILARITY)
