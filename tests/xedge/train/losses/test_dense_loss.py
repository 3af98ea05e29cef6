from __future__ import annotations

import pytest
import torch

from xedge.models.dense import LevelOutput
from xedge.train.assigners.atss import make_grid
from xedge.train.losses.dense import detection_loss, flatten, make_targets

GRID = make_grid(64, 64, (8, 16, 32), 8)
BOX = torch.tensor([[10.0, 12.0, 50.0, 44.0]])


def perfect_outputs(certainty: float) -> list[LevelOutput]:
    """Level outputs that say exactly what the target of `BOX`, class 1 of 3, is."""
    targets = make_targets(GRID, [BOX], [torch.tensor([1])], 3)
    outputs, start = [], 0
    for (h, w), length in zip(GRID.sizes, GRID.lengths, strict=True):
        part = slice(start, start + length)
        start += length
        logits = (targets.one_hot[0, part].T * 2 - 1) * certainty
        points = GRID.points[part]
        distance = torch.cat([points - BOX[:, :2], BOX[:, 2:] - points], 1).clamp(min=0)
        quality = torch.logit(targets.centerness[0, part].clamp(1e-4, 1 - 1e-4))
        outputs.append(
            LevelOutput(
                logits.reshape(1, 3, h, w),
                distance.T.reshape(1, 4, h, w),
                quality.reshape(1, 1, h, w),
            )
        )
    return outputs


def test_targets_name_class_box_and_centerness_of_the_positives() -> None:
    targets = make_targets(
        GRID, [BOX, torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0).long()], 3
    )
    assert targets.positive[0].any()
    assert not targets.positive[1].any()
    assert torch.equal(targets.one_hot[0].sum(1) > 0, targets.positive[0])
    assert (targets.one_hot[0, :, [0, 2]] == 0).all()
    for point, centerness in zip(
        GRID.points[targets.positive[0]], targets.centerness[0][targets.positive[0]], strict=True
    ):
        l, t = (point - BOX[0, :2]).tolist()  # noqa: E741
        r, b = (BOX[0, 2:] - point).tolist()
        expected = ((min(l, r) / max(l, r)) * (min(t, b) / max(t, b))) ** 0.5
        assert centerness.item() == pytest.approx(expected, rel=1e-5)


def test_label_maps_are_the_one_hots_in_their_places() -> None:
    targets = make_targets(GRID, [BOX], [torch.tensor([1])], 3)
    maps = targets.label_maps(GRID)
    assert [tuple(m.shape[2:]) for m in maps] == [(8, 8), (4, 4), (2, 2)]
    assert torch.equal(torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1), targets.one_hot)


def test_a_perfect_answer_has_the_smallest_loss() -> None:
    targets = make_targets(GRID, [BOX], [torch.tensor([1])], 3)
    good, figures = detection_loss(perfect_outputs(12.0), targets, GRID)
    assert figures["giou"] == pytest.approx(0, abs=1e-5)
    assert figures["focal"] < 1e-4
    worse = perfect_outputs(12.0)
    worse[0].distances.add_(6.0)
    assert detection_loss(worse, targets, GRID)[0] > good
    unsure, _ = detection_loss(perfect_outputs(1.0), targets, GRID)
    assert unsure > good


def test_no_object_at_all_still_gives_a_finite_loss_with_gradients() -> None:
    targets = make_targets(GRID, [torch.zeros(0, 4)], [torch.zeros(0).long()], 3)
    outputs = [LevelOutput(*(t.requires_grad_() for t in o)) for o in perfect_outputs(2.0)]
    loss, _ = detection_loss(outputs, targets, GRID)
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs[0].logits.grad is not None


def test_boxes_come_back_from_distances() -> None:
    _, boxes, _ = flatten(perfect_outputs(1.0), GRID)
    positive = make_targets(GRID, [BOX], [torch.tensor([1])], 3).positive[0]
    assert torch.allclose(boxes[0][positive], BOX)
