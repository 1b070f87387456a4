"""The LightningModule: one training step, the optimiser, and the position of a run in its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint as recomputed

from vpr.distill.distiller import Distiller
from vpr.distributed import world_size
from vpr.errors import ConfigError, TrainingDiverged
from vpr.losses.pairs import LossResult
from vpr.models.describer import Describer
from vpr.types import Features, PlaceBatch


class Position(NamedTuple):
    """Progress of a run: `batch` batches of epoch `epoch` are done."""

    epoch: int = 0
    batch: int = 0


def describe_in_chunks(describer: Describer, images: Tensor, chunk: int | None) -> tuple[Features, Tensor]:
    """Return features and descriptors of normalised images (n, 3, H, W), the activations of one chunk at a time.

    The loss sees the whole batch, and its gradients are exact: those of the descriptors are computed first, and going
    back through the network each chunk is computed a second time, from the same random numbers, as activations of none
    were kept (GradCache, Gao et al., RepL4NLP 2021; checkpointing, Chen et al., 2016). Features and descriptors of the
    whole batch stay in memory, activations between do not.

    BatchNorm in training mode normalises by the images of a chunk, as it does by those of a device; its running
    statistics follow the first computation alone. Ranks that synchronise BatchNorm make the same number of chunks.

    Args:
        chunk: images of a chunk at most; None: all at once. Chunks are of nearly equal size.
    """

    def describe(part: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        features = describer.features(part)
        return features.map, features.cls, describer.aggregator(features)

    count = _chunks(describer, images, chunk)
    if count <= 1:
        features = describer.features(images)
        return features, describer.aggregator(features)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(describer)

    parts = [
        recomputed(describe, part, use_reentrant=False, context_fn=contexts) for part in images.tensor_split(count)
    ]
    maps, tokens, descriptors = zip(*parts, strict=True)
    return Features(torch.cat(maps), None if tokens[0] is None else torch.cat(tokens)), torch.cat(descriptors)


def _chunks(describer: nn.Module, images: Tensor, chunk: int | None) -> int:
    if chunk is None:
        return 1
    count = torch.tensor(-(-len(images) // chunk), device=images.device)
    if world_size() > 1 and any(isinstance(module, nn.SyncBatchNorm) for module in describer.modules()):
        dist.all_reduce(count, dist.ReduceOp.MAX)
    return int(count)


@contextmanager
def _statistics_held(network: nn.Module) -> Iterator[None]:
    """Let BatchNorm in training mode normalise by the images that come, without a change to its running statistics."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    before = [(m.momentum, None if m.num_batches_tracked is None else m.num_batches_tracked.clone()) for m in norms]
    for module in norms:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, (momentum, batches) in zip(norms, before, strict=True):
            module.momentum = momentum
            if module.num_batches_tracked is not None and batches is not None:
                module.num_batches_tracked.copy_(batches)


class TrainingModule(pl.LightningModule):
    """Train a describer with an objective and, possibly, a distiller.

    Args:
        describer: the network that is trained.
        objective: (features, descriptors, batch) -> LossResult, on the global batch.
        distiller: (features, descriptors, batch) -> {term: scalar}.
        optimizer: (parameters) -> Optimizer.
        backbone_lr: learning rate of the backbone, times that of the rest.
        schedule: (optimizer, steps_per_epoch, total_steps) -> scheduler stepped at each optimiser step.
        seed: with the step's number, all randomness inside the network (dropout, drop path) follows from it.
        channels_last: memory format of the images; faster for mixed precision on GPUs.
        chunk: images whose activations a device holds at once; None: those of its whole batch.
    """

    def __init__(
        self,
        describer: Describer,
        objective: nn.Module,
        distiller: Distiller,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Any],
        backbone_lr: float = 1.0,
        seed: int = 0,
        channels_last: bool = False,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        self.describer = describer
        self.objective = objective
        self.distiller = distiller
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.backbone_lr = backbone_lr
        self.seed = seed
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.chunk = chunk
        self.resume_from = Position()

    def training_step(self, batch: PlaceBatch, batch_idx: int) -> Tensor:
        images = self.describer.normalise(batch.images).contiguous(memory_format=self.memory_format)
        features, descriptors = describe_in_chunks(self.describer, images, self.chunk)
        result = self.objective(features, descriptors, batch)
        terms = self.distiller(features, descriptors, batch)
        loss = self.distiller.total(result.value, terms)
        self._check_finite(loss, terms)
        self._log_step(loss, result, terms, len(batch.labels))
        return loss

    def _check_finite(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Raise TrainingDiverged at the step whose loss is no number, before anything is saved."""
        if loss.isfinite():  # on a GPU it waits for the forward pass alone
            return
        bad = [name for name, value in terms.items() if not value.isfinite()]
        of = f" of {', '.join(bad)}" if bad else ""
        raise TrainingDiverged(
            f"Step {self.global_step + 1:,} (epoch {self.current_epoch + 1}): the loss{of} is {loss.item()}: training "
            "has diverged. Nothing was saved over the last good checkpoints. Try a smaller optimizer.lr, "
            "trainer.gradient_clip_val=1, or trainer.precision=32-true."
        )

    def _log_step(self, loss: Tensor, task: LossResult, terms: dict[str, Tensor], size: int) -> None:
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        self.log("train/mined", task.mined, prog_bar=True, batch_size=size)
        if terms:
            self.log("train/task", task.value.detach(), batch_size=size)
        for name, value in task.parts.items():
            self.log(f"train/{name}", value.detach(), batch_size=size)
        for name, value in terms.items():
            self.log(f"distill/{name}", value.detach(), batch_size=size)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=size)

    def on_fit_start(self) -> None:
        self.distiller.teachers_to(self.device)

    def on_train_batch_start(self, batch: PlaceBatch, batch_idx: int) -> None:
        self.distiller.step = self.global_step
        # A function of the step instead of a generator's state: a resumed run draws the same numbers.
        torch.manual_seed((self.seed * 1_000_003 + self.global_step) * world_size() + self.global_rank)

    def configure_optimizers(self) -> Any:
        if self.trainer.max_epochs == 0:
            return None
        backbone = [p for p in self.describer.backbone.parameters() if p.requires_grad]
        in_backbone = {id(p) for p in backbone}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in in_backbone]
        try:
            optimizer = self.make_optimizer([{"params": rest}, {"params": backbone}])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimizer: {error}. Change the values of the optimizer group.") from error
        optimizer.param_groups[1]["lr"] *= self.backbone_lr
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = self.make_schedule(optimizer, total // max(1, self.trainer.max_epochs or 1), total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        batch = progress.processed
        at_end = batch >= self.trainer.num_training_batches
        position = Position(self.current_epoch + 1, 0) if at_end else Position(self.current_epoch, batch)
        checkpoint["position"] = position._asdict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.resume_from = Position(**checkpoint["position"])
