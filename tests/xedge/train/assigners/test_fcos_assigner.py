from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xedge.train.assigners.fcos import assign, ranges
from xedge.train.assigners.grid import Grid, make_grid

GRID = make_grid(128, 256, (8, 16, 32), 8)


def assign_one_by_one(grid: Grid, boxes: Tensor) -> list[int]:
    """The paper's rules as they are written, a location and an object at a time."""
    owners = []
    for (x, y), stride in zip(grid.points.tolist(), grid.point_strides.tolist(), strict=True):
        low = 0.0 if stride == grid.strides[0] else 8 * stride / 2
        high = math.inf if stride == grid.strides[-1] else 8 * stride
        owner, smallest = -1, math.inf
        for k, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            off = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2))
            area = (x2 - x1) * (y2 - y1)
            fits = min(sides) > 0 and off < 1.5 * stride and low < max(sides) <= high
            if fits and area < smallest:
                owner, smallest = k, area
        owners.append(owner)
    return owners


def test_ranges_come_from_the_strides() -> None:
    assert ranges((8, 16, 32, 64, 128)) == [
        (0, 64), (64, 128), (128, 256), (256, 512), (512, math.inf)
    ]  # fmt: skip
    assert ranges((16,)) == [(0, math.inf)]


def test_by_hand() -> None:
    """A box of 40 x 24 pixels around (60, 44): of stride 8, the 3 x 3 cells around its centre."""
    owner = assign(GRID, torch.tensor([[40.0, 32.0, 80.0, 56.0]]))
    taught = GRID.points[owner == 0]
    assert sorted(taught.tolist()) == [[x, y] for x in (52, 60, 68) for y in (36, 44, 52)]
    assert (GRID.point_strides[owner == 0] == 8).all()


def test_a_larger_object_goes_to_a_coarser_level() -> None:
    # 160 wide: the farthest side is at least 80 pixels, above stride 8's 64.
    owner = assign(GRID, torch.tensor([[40.0, 20.0, 200.0, 100.0]]))
    assert (GRID.point_strides[owner == 0] == 16).all()
    assert (owner == 0).sum() > 0


def test_the_smallest_of_several_wins() -> None:
    outer, inner = [40.0, 24.0, 80.0, 64.0], [54.0, 38.0, 66.0, 50.0]
    for boxes, small in ((torch.tensor([outer, inner]), 1), (torch.tensor([inner, outer]), 0)):
        owner = assign(GRID, boxes)
        at_centre = (GRID.points == torch.tensor([60.0, 44.0])).all(1)
        assert owner[at_centre].tolist() == [small]
        assert (owner == 1 - small).any()


@given(st.integers(0, 2**31 - 1), st.integers(1, 5))
def test_it_is_the_papers_rules(seed: int, count: int) -> None:
    torch.manual_seed(seed)
    # Eighths of a pixel are exact: no rounding decides a limit.
    corner = (torch.rand(count, 2) * torch.tensor([900.0, 500.0])).round() / 8
    size = 8 + (torch.rand(count, 2) * torch.tensor([1000.0, 400.0])).round() / 8
    boxes = torch.cat([corner, corner + size], 1)
    assert assign(GRID, boxes).tolist() == assign_one_by_one(GRID, boxes)


def test_no_object_leaves_background() -> None:
    assert (assign(GRID, torch.zeros(0, 4)) == -1).all()
