"""The distiller: weighted terms that pull the student towards its teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vpr.distill.bank import Bank, BankSampler
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.teacher import Outputs, Shape, Teacher
from vpr.distill.terms.base import Term
from vpr.distributed import gather_rows
from vpr.errors import ConfigError
from vpr.types import Features, PlaceBatch


class Distiller(nn.Module):
    """A weighted set of distillation terms, (features, descriptors, batch) -> {term: scalar}; no terms: plain training.

    Its parameters are the projections of its terms. Teachers are no part of its state or its parameters, so neither
    the optimiser nor a checkpoint ever sees them: `teachers_to` moves them to a device. It is no part of the describer:
    `best.ckpt` holds neither teachers nor projections that serve training alone.

    Args:
        terms: name -> term.
        teachers: at least one where there are terms; their shares sum to 1.
        task_weight: of the training loss beside the terms; 0 learns from the teachers alone.
        bank: draws the images that terms compare those of the batch with; None: the batch with itself.

    Attributes:
        step: number of the training step, by which the bank is drawn.
    """

    def __init__(
        self,
        terms: Mapping[str, Term] | None = None,
        teachers: Sequence[Teacher | CachedTeacher] = (),
        task_weight: float = 1.0,
        bank: BankSampler | None = None,
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(dict(terms or {}))
        self.teachers = tuple(teachers)  # a tuple, so that torch does not register them
        self.task_weight = task_weight
        self.bank = bank
        self.step = 0

    def connect(self, student: Shape) -> None:
        """Make the projections between the student's sizes and the teachers'.

        Raises:
            ConfigError: a term needs what a teacher does not give, or no term looks at the bank.
        """
        if self.bank and not any(term.takes_bank for _, term in self._terms()):
            raise ConfigError(
                f"distillation.bank: {', '.join(self.terms) or 'plain training'} compares nothing with a bank. Type "
                "distillation.bank=null, or take similarity, rank or descriptor."
            )
        for name, term in self._terms():
            term.has_bank = self.bank is not None and term.takes_bank
            term.connect(name, student, [teacher.shape for teacher in self.teachers])

    def kept(self, student: Shape) -> int | None:
        """Return the dimensions of the student's descriptors where a term's projection becomes part of the student.

        Raises:
            ConfigError: teachers of different dimensions cannot share one projection.
        """
        teachers = [teacher.shape for teacher in self.teachers]
        dims = [dim for name, term in self._terms() if (dim := term.kept(name, student, teachers))]
        return dims[0] if dims else None

    def teachers_to(self, device: torch.device | str) -> None:
        """Move the teachers to a device."""
        for teacher in self.teachers:
            teacher.to(device)

    def forward(self, features: Features, descriptors: Tensor, batch: PlaceBatch) -> dict[str, Tensor]:
        """Return {term: unweighted scalar} for the student's features and descriptors (n, D) of this rank's batch."""
        if not self.terms:
            return {}
        targets = [teacher.targets(batch) for teacher in self.teachers]
        with torch.autocast(descriptors.device.type, enabled=False):
            student = Outputs(gather_rows(descriptors.float()), features.map.float())
            targets = [t._replace(descriptors=gather_rows(t.descriptors)) for t in targets]
            labels, bank = gather_rows(batch.labels), self._bank(batch)
            return {
                name: term(student, targets, labels, bank) if term.takes_bank else term(student, targets, labels)
                for name, term in self._terms()
            }

    def total(self, task: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Return task_weight * task + the sum of weight * value over all terms."""
        weighted = [term.weight * values[name] for name, term in self._terms()]
        return torch.stack([self.task_weight * task, *weighted]).sum()

    def _bank(self, batch: PlaceBatch) -> Bank | None:
        if self.bank is None:
            return None
        assert batch.numbers is not None
        numbers = gather_rows(torch.from_numpy(batch.numbers).to(batch.images.device))
        return self.bank([t for t in self.teachers if isinstance(t, CachedTeacher)], numbers, self.step)

    def _terms(self) -> list[tuple[str, Term]]:
        return list(self.terms.items())  # type: ignore[arg-type]
