from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_iou

from xedge.models.dense import DenseConfig, DenseOutput, LevelOutput
from xedge.train.assigners.grid import make_grid
from xedge.train.assigners.paa import assign, candidates
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.dense import flatten, make_targets
from xedge.train.losses.paa import PAACriterion, candidate_losses

GRID = make_grid(64, 64, (8, 16, 32), 8)
BOX = torch.tensor([[10.0, 12.0, 50.0, 44.0]])
CONFIG = DenseConfig(classes=("a", "b", "c"), regression="direct", quality="conv")
BATCH = Batch(
    [""],
    torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    [BOX],
    [torch.tensor([1])],
    [torch.tensor([0])],
    torch.tensor([[-1, 1, -1]], dtype=torch.int8),
)


def drawn_outputs(seed: int) -> list[LevelOutput]:
    generator = torch.Generator().manual_seed(seed)

    def draw(channels: int, h: int, w: int) -> Tensor:
        return torch.randn(1, channels, h, w, generator=generator).requires_grad_()

    return [
        LevelOutput(draw(3, h, w), draw(4, h, w).exp() * 16, draw(1, h, w)) for h, w in GRID.sizes
    ]


class Scripted(nn.Module):
    """A detector whose two passes answer what they are told to."""

    def __init__(self, first: list[LevelOutput], second: list[LevelOutput]) -> None:
        super().__init__()
        self.first, self.second, self.labels = first, second, None

    def forward(self, planes: Tensor, labels: Any, *, label_aware: bool) -> DenseOutput:
        self.labels = labels(self.first) if label_aware else labels
        return DenseOutput(self.second, [])


def positives(outputs: list[LevelOutput]) -> Tensor:
    """Owner of each location by the assignment on these predictions."""
    owner = candidates(GRID, BOX)
    possible = make_targets(GRID, [owner], [BOX], [torch.tensor([1])], 3)
    return assign(GRID, owner, candidate_losses(outputs, possible, GRID)[0])


def test_a_candidate_costs_focal_loss_and_giou_by_hand() -> None:
    outputs = drawn_outputs(0)
    owner = candidates(GRID, BOX)
    possible = make_targets(GRID, [owner], [BOX], [torch.tensor([1])], 3)
    losses = candidate_losses(outputs, possible, GRID)
    assert not losses.requires_grad
    assert torch.equal(losses[0].isfinite(), owner == 0)
    logits, boxes, _ = flatten(outputs, GRID)
    k = int((owner == 0).nonzero()[3])
    p = logits[0, k].sigmoid().tolist()
    focal = -0.25 * (1 - p[1]) ** 2 * math.log(p[1])
    focal += sum(-0.75 * p[c] ** 2 * math.log(1 - p[c]) for c in (0, 2))
    a, b = boxes[0, k], BOX[0]
    hull = (torch.maximum(a[2:], b[2:]) - torch.minimum(a[:2], b[:2])).prod()
    iou = box_iou(a[None], b[None])[0, 0]
    union = ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) / (1 + iou)
    giou = 1 - (iou - (hull - union) / hull)
    assert losses[0, k].item() == pytest.approx(focal + 1.3 * giou.item(), rel=1e-5)


def test_the_quality_is_taught_the_overlap_of_the_predicted_box() -> None:
    outputs = drawn_outputs(1)
    criterion = PAACriterion(Setting(CONFIG, OptimConfig(), 64, 64))
    _, parts = criterion(Scripted(outputs, outputs), BATCH, Moment())
    mine = positives(outputs) == 0
    _, boxes, quality = flatten(outputs, GRID)
    overlap = box_iou(boxes[0, mine], BOX)[:, 0].detach()
    expected = functional.binary_cross_entropy_with_logits(quality[0, mine], overlap)
    assert parts["quality"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_la_is_labelled_by_the_first_pass_and_the_loss_by_the_second() -> None:
    first, second = drawn_outputs(2), drawn_outputs(3)
    by_first, by_second = positives(first), positives(second)
    assert not torch.equal(by_first, by_second)
    model = Scripted(first, second)
    criterion = PAACriterion(Setting(CONFIG, OptimConfig(label_aware_from=0.5), 64, 64))
    loss, _ = criterion(model, BATCH, Moment(share=0.5))
    assert model.labels is not None
    labelled = torch.cat([m.flatten(2) for m in model.labels], 2)[0]
    assert torch.equal(labelled[1] == 1, by_first == 0)
    assert (labelled[[0, 2]] == 0).all()
    alone, _ = criterion(Scripted(second, second), BATCH, Moment(share=0.4))
    assert torch.equal(loss, alone)


def test_without_la_there_are_no_labels() -> None:
    model = Scripted(drawn_outputs(4), drawn_outputs(5))
    criterion = PAACriterion(Setting(CONFIG, OptimConfig(label_aware_from=0.5), 64, 64))
    criterion(model, BATCH, Moment(share=0.4))
    assert model.labels is None
