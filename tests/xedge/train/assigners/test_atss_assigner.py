from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from xedge.train.assigners.atss import TOP_K, assign
from xedge.train.assigners.grid import Grid, make_grid

GRID = make_grid(96, 128, (8, 16, 32), 8)


def assign_one_by_one(grid: Grid, boxes: torch.Tensor) -> torch.Tensor:
    """Algorithm 1 of the paper as it is written, an object at a time."""
    best = torch.full((len(grid.points),), -1.0)
    owner = torch.full((len(grid.points),), -1)
    for g, box in enumerate(boxes):
        candidates: list[int] = []
        start = 0
        for length in grid.lengths:
            distance = (grid.points[start : start + length] - (box[:2] + box[2:]) / 2).norm(dim=1)
            near = np.argsort(distance.numpy(), kind="stable")[:TOP_K]
            candidates += [start + int(i) for i in near]
            start += length
        overlaps = box_iou(grid.boxes[candidates], box[None])[:, 0]
        threshold = overlaps.mean() + overlaps.std()
        for i, overlap in zip(candidates, overlaps, strict=True):
            x, y = grid.points[i]
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if overlap >= threshold and inside and overlap > best[i]:
                best[i], owner[i] = overlap, g
    return owner


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_it_is_the_papers_algorithm(seed: int, count: int) -> None:
    torch.manual_seed(seed)
    # Odd fractions keep two locations from being equally near, where order would decide.
    corner = torch.rand(count, 2) * torch.tensor([90.0, 60.0]) + 0.137
    boxes = torch.cat([corner, corner + 9.3 + torch.rand(count, 2) * 30], 1)
    assert torch.equal(assign(GRID, boxes), assign_one_by_one(GRID, boxes))


def test_every_object_of_a_usual_size_gets_a_location() -> None:
    torch.manual_seed(0)
    for _ in range(100):
        corner = torch.rand(1, 2) * torch.tensor([70.0, 40.0])
        box = torch.cat([corner, corner + 16 + torch.rand(1, 2) * 38], 1)
        assert (assign(GRID, box) == 0).any()


def test_no_object_leaves_background() -> None:
    assert (assign(GRID, torch.zeros(0, 4)) == -1).all()
