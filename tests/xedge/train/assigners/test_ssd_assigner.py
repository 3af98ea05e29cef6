from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from xedge.train.assigners.ssd import MATCH_IOU, assign

PRIORS = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [0, 0, 20, 10], [40, 40, 50, 50]])


def test_a_prior_that_overlaps_more_than_half_is_taken_and_others_are_background() -> None:
    # IoU with the priors: 80/100, 0, 80/200, 0.
    assert assign(PRIORS, torch.tensor([[0.0, 0, 10, 8]])).tolist() == [0, -1, -1, -1]


def test_an_object_that_overlaps_no_prior_by_half_has_its_best_one() -> None:
    # IoU with the last prior: 9/191.
    assert assign(PRIORS, torch.tensor([[47.0, 47, 57, 57]])).tolist() == [-1, -1, -1, 0]


def test_several_priors_of_one_object() -> None:
    # IoU 110/220 is not more than half, 110/200 is: 11 rows of 20.
    priors = torch.tensor([[0.0, 0, 20, 10], [0, 0, 20, 11], [0, 0, 20, 6]])
    assert assign(priors, torch.tensor([[0.0, 0, 20, 11]])).tolist() == [0, 0, 0]
    assert assign(priors, torch.tensor([[0.0, 0, 20, 12]])).tolist() == [0, 0, -1]


def test_two_objects_with_the_same_best_prior_both_have_one() -> None:
    # Both overlap prior 0 most: 90/100 and 80/100. The first keeps it; the second has next
    # 80/200 with prior 2.
    boxes = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 8]])
    assert assign(PRIORS, boxes).tolist() == [0, -1, 1, -1]
    assert assign(PRIORS, boxes.flip(0)).tolist() == [1, -1, 0, -1]


def test_a_prior_of_ones_own_is_not_lost_to_a_larger_overlap() -> None:
    priors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 30, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 7], [0, 0, 10, 10]])
    # Overlaps of object 0: 70/100, 70/90, 70/300; of object 1: 1, 90/100, 100/300. Object 1 has
    # prior 0, and object 0 keeps prior 1 although object 1 overlaps that more.
    assert assign(priors, boxes).tolist() == [1, 0, -1]


def test_no_object_leaves_background_and_one_without_area_too() -> None:
    assert (assign(PRIORS, torch.zeros(0, 4)) == -1).all()
    assert (assign(PRIORS, torch.tensor([[5.0, 5, 5, 9]])) == -1).all()


def test_more_objects_than_priors() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10 - k] for k in range(6)])
    assert sorted(set(assign(PRIORS[:2], boxes).tolist())) == [-1, 0]


@given(st.integers(0, 2**31 - 1), st.integers(1, 8))
def test_every_object_has_a_prior_and_a_good_match_is_the_best_one(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0)) * 8
    priors = torch.cat([torch.cat([grid, grid + side], 1) for side in (12.0, 24.0)])
    corner = torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 3 + torch.rand(count, 2, generator=generator) * 20], 1)
    owner = assign(priors, boxes)
    assert set(range(count)) <= set(owner.tolist())
    overlap = box_iou(priors, boxes)
    best, index = overlap.max(1)
    assert (owner[best > MATCH_IOU] >= 0).all()
    # Those that were matched against the rule are priors of an object's own, one each at most.
    assert int(((owner >= 0) & ((best <= MATCH_IOU) | (owner != index))).sum()) <= count
