from __future__ import annotations

import pytest
import torch

from xedge.models.dense import DenseConfig, LevelOutput
from xedge.models.label_aware import Coefficients
from xedge.train.assigners.atss import assign
from xedge.train.assigners.grid import make_grid
from xedge.train.losses.atss import WEIGHTS
from xedge.train.losses.dense import (
    Targets,
    bin_labels,
    detection_loss,
    flatten,
    level_labels,
    make_targets,
)

GRID = make_grid(64, 64, (8, 16, 32), 8)
CONFIG = DenseConfig(classes=("a", "b", "c"))
BY_BINS = DenseConfig(
    classes=("a", "b", "c"), label_aware_by="regression", coefficients=Coefficients(0.5, 1.0, 0.0)
)
BOX = torch.tensor([[10.0, 12.0, 50.0, 44.0]])


def targets_of(boxes: list[torch.Tensor], labels: list[int]) -> Targets:
    """Targets of an image a box; a box without rows is an image without objects."""
    owners = [assign(GRID, box) for box in boxes]
    classes = [torch.full((len(box),), k) for box, k in zip(boxes, labels, strict=True)]
    return make_targets(GRID, owners, boxes, classes, 3)


def perfect_outputs(certainty: float) -> list[LevelOutput]:
    """Level outputs that say exactly what the target of `BOX`, class 1 of 3, is."""
    targets = targets_of([BOX], [1])
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
    targets = targets_of([BOX, torch.zeros(0, 4)], [1, 0])
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
    targets = targets_of([BOX], [1])
    maps = level_labels(targets, GRID, CONFIG)
    assert [tuple(m.shape[2:]) for m in maps if m is not None] == [(8, 8), (4, 4), (2, 2)]
    rows = torch.cat([m.flatten(2).transpose(1, 2) for m in maps if m is not None], 1)
    assert torch.equal(rows, targets.one_hot)


def test_bin_labels_are_the_floors_of_the_distances_in_strides() -> None:
    targets = targets_of([BOX], [1])
    one_hot = bin_labels(targets, GRID, 16).reshape(1, len(GRID.points), 4, 17)
    assert (one_hot.sum(3) == 1).all()
    found = one_hot.argmax(3)[0]
    assert (found[~targets.positive[0]] == 0).all()
    # Row 3, column 3 of the finest level has its centre at (28, 28) of the box 10 12 50 44.
    assert targets.positive[0, 3 * 8 + 3]
    assert found[3 * 8 + 3].tolist() == [18 // 8, 16 // 8, 22 // 8, 16 // 8]
    for k in targets.positive[0].nonzero()[:, 0]:
        distance = torch.cat([GRID.points[k] - BOX[0, :2], BOX[0, 2:] - GRID.points[k]])
        assert found[k].tolist() == (distance // GRID.point_strides[k]).tolist()


def test_a_distance_beyond_the_last_interval_is_in_it() -> None:
    far = bin_labels(targets_of([BOX], [1]), GRID, 2).reshape(-1, 4, 3).argmax(2)
    assert far.max() == 1


def test_a_level_without_positives_is_told_no_bins() -> None:
    targets = targets_of([BOX, BOX], [1, 2])
    maps = level_labels(targets, GRID, BY_BINS)
    assert [m is not None for m in maps] == [True, False, False]
    assert maps[0] is not None
    assert maps[0].shape == (2, 4 * 17, 8, 8)


def test_a_perfect_answer_has_the_smallest_loss() -> None:
    targets = targets_of([BOX], [1])
    good, figures = detection_loss(perfect_outputs(12.0), targets, GRID, WEIGHTS)
    assert figures["giou"] == pytest.approx(0, abs=1e-5)
    assert figures["focal"] < 1e-4
    worse = perfect_outputs(12.0)
    worse[0].distances.add_(6.0)
    assert detection_loss(worse, targets, GRID, WEIGHTS)[0] > good
    unsure, _ = detection_loss(perfect_outputs(1.0), targets, GRID, WEIGHTS)
    assert unsure > good


def test_no_object_at_all_still_gives_a_finite_loss_with_gradients() -> None:
    targets = targets_of([torch.zeros(0, 4)], [0])
    outputs = [LevelOutput(*(t.requires_grad_() for t in o)) for o in perfect_outputs(2.0)]
    loss, _ = detection_loss(outputs, targets, GRID, WEIGHTS)
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs[0].logits.grad is not None


def test_boxes_come_back_from_distances() -> None:
    _, boxes, _ = flatten(perfect_outputs(1.0), GRID)
    positive = targets_of([BOX], [1]).positive[0]
    assert torch.allclose(boxes[0][positive], BOX)
