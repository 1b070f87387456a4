"""The loss by regions against its parts by hand, and what the earlier generation is to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from vpr.data.tuples import TupleBatch
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError
from vpr.losses.tuples import TupleLoss, sare_independent
from vpr.models.aggregators.projected import Projected
from vpr.models.describer import Describer, build_describer
from vpr.training.generations import RegionsObjective, SoftLabels
from vpr.types import Features

SIZE, NEGATIVES, GRID = 7, 3, 3  # query, positive, 3 negatives, 2 difficult positives
BACKBONE = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [2, 3, 4]}
NETVLAD = {"_target_": "vpr.models.aggregators.netvlad.NetVLAD", "clusters": 4, "allow_random_init": True}


def describer(seed: int = 0, agg: dict | None = None, size: tuple[int, int] = (24, 36)) -> Describer:
    torch.manual_seed(seed)
    return build_describer(BACKBONE, agg or NETVLAD, {"size": list(size)}).eval()


def batch(present: list[list[bool]]) -> TupleBatch:
    rng = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (len(present) * SIZE, 3, 24, 36), dtype=torch.uint8, generator=rng)
    return TupleBatch(images, torch.arange(len(images)), SIZE, NEGATIVES, torch.tensor(present))


@pytest.fixture
def step() -> Callable:
    """Run an objective on a batch as the training module does."""

    def run(objective: RegionsObjective, student: Describer, images: TupleBatch):
        objective.connect(student)
        features = student.features(student.normalise(images.images))
        return objective(features, student.aggregator(features), images)

    return run


def part(network: Describer, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    map = network.features(network.normalise(image[None])).map[:, :, rows, columns]
    return network.aggregator(Features(map))[0]


def parts(network: Describer, image: torch.Tensor) -> list[torch.Tensor]:
    """The 7 regions of an image, each as the network describes that part of the map; the map has 6 x 9 cells."""
    whole = slice(None)
    rows = [part(network, image, slice(y, y + 2), whole) for y in (0, 2, 4)]
    columns = [part(network, image, whole, slice(x, x + 3)) for x in (0, 3, 6)]
    return [part(network, image, whole, whole), *rows, *columns]


def test_the_loss_is_that_of_the_hardest_regions_and_of_the_labels(step: Callable):
    student, earlier = describer(0), describer(1)
    soft = SoftLabels(Teacher(earlier, "earlier"), GRID, 0.5, 0.06, 0.07)
    images = batch([[True, True], [True, False]])
    with torch.no_grad():
        found = step(RegionsObjective(TupleLoss(sare_independent), GRID, soft), student, images)
        assert student.features(student.normalise(images.images[:1])).map.shape[-2:] == (6, 9)
        hard, labels = [], []
        for t, images_of_tuple in enumerate(images.images.unflatten(0, (2, SIZE))):
            ours = [parts(student, image) for image in images_of_tuple]
            query, positive = ours[0][0], ours[1][0]
            for negative in ours[2:5]:
                hard.append(F.softplus((max(query @ region for region in negative) - query @ positive) / 0.07))
            wanted = [5, 6][: 2 - t]
            theirs = parts(earlier, images_of_tuple[0])[0]
            p = torch.stack([theirs @ r for i in wanted for r in parts(earlier, images_of_tuple[i])]) / 0.06
            q = torch.stack([query @ r for i in wanted for r in ours[i]]) / 0.07
            labels.append(-(p.softmax(0) * q.log_softmax(0)).sum())
    expected = torch.stack(hard).mean() + 0.5 * torch.stack(labels).mean()
    assert found.value.item() == pytest.approx(expected.item(), rel=1e-4)
    told = {name: value.item() for name, value in found.parts.items()}
    parts_by_hand = {"hard": torch.stack(hard).mean().item(), "soft": torch.stack(labels).mean().item()}
    assert told == pytest.approx(parts_by_hand, rel=1e-4)


def test_without_soft_labels_the_hard_loss_is_left(step: Callable):
    student, images = describer(), batch([[True, True]])
    loss = TupleLoss(sare_independent)
    soft = SoftLabels(Teacher(describer(1), "earlier"), GRID, 0.0, 0.07, 0.07)
    with torch.no_grad():
        alone = step(RegionsObjective(loss, GRID), student, images)
        assert step(RegionsObjective(loss, GRID, soft), student, images).value == alone.value > 0


def test_labels_are_in_full_precision_whatever_the_student_is_in(step: Callable, monkeypatch: pytest.MonkeyPatch):
    seen, look = [], SoftLabels._earlier_view
    monkeypatch.setattr(SoftLabels, "_earlier_view", lambda *args: seen.append(look(*args)) or seen[-1])
    soft = SoftLabels(Teacher(describer(1), "earlier"), GRID, 0.5, 0.06, 0.07)
    for mixed in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            step(RegionsObjective(TupleLoss(sare_independent), GRID, soft), describer(0), batch([[True, True]]))
    assert all(torch.equal(full, under) for full, under in zip(*seen, strict=True))


def test_the_earlier_generation_is_neither_trained_nor_saved(step: Callable):
    student, earlier = describer(0), describer(1)
    before = {key: value.clone() for key, value in earlier.state_dict().items()}
    soft = SoftLabels(Teacher(earlier, "earlier"), GRID, 0.5, 0.07, 0.07)
    objective = RegionsObjective(TupleLoss(sare_independent), GRID, soft)
    assert list(objective.parameters()) == [] and objective.state_dict() == {}
    objective.train()
    assert not earlier.training
    step(objective, student.train(), batch([[True, True]])).value.backward()
    assert all(p.grad is None for p in earlier.parameters())
    assert all(p.grad is not None for p in student.parameters())
    assert all(torch.equal(before[key], value) for key, value in earlier.state_dict().items())


def test_regions_need_clusters_and_a_map_that_they_divide():
    objective, gem = RegionsObjective(TupleLoss(sare_independent), 3), {"_target_": "vpr.models.aggregators.gem.GeM"}
    with pytest.raises(ConfigError, match="supervision.grid=3: .* GeM has none. Type agg=netvlad"):
        objective.connect(describer(agg=gem))
    projected = describer()
    projected.aggregator = Projected(projected.backbone.spec, projected.aggregator, 8)
    with pytest.raises(ConfigError, match="a term's projection stands behind them. Type distillation.terms.descriptor"):
        objective.connect(projected)
    with pytest.raises(ConfigError, match="supervision.soft.ckpt=a.ckpt: it gives no descriptors of regions"):
        SoftLabels(Teacher(describer(agg=gem), "a.ckpt"), 3, 0.5, 0.07, 0.07)
    with pytest.raises(ConfigError, match=r"a map of 6 x 10. Type image.size=\[24,36\] or \[24,48\]"):
        objective.connect(describer(size=(24, 40)))
