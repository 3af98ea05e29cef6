from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torchvision.ops import box_iou

from xedge.train.assigners.grid import make_grid
from xedge.train.assigners.paa import MIN_IOU, TOP_K, assign, candidates, separate

GRID = make_grid(96, 128, (8, 16, 32), 8)


def boxes_of(seed: int, count: int) -> torch.Tensor:
    torch.manual_seed(seed)
    corner = torch.rand(count, 2) * torch.tensor([90.0, 60.0])
    return torch.cat([corner, corner + 2 + torch.rand(count, 2) * 60], 1)


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_candidates_overlap_enough_or_most(seed: int, count: int) -> None:
    boxes = boxes_of(seed, count)
    overlap = box_iou(GRID.boxes, boxes)
    for k, owner in enumerate(candidates(GRID, boxes).tolist()):
        best = [m for m in range(count) if 0 < overlap[k, m] == overlap[:, m].max()]
        if best:  # the later object where two want it
            assert owner == best[-1]
        elif overlap[k].max() >= MIN_IOU:
            assert overlap[k, owner] == overlap[k].max()
        else:
            assert owner == -1


def test_a_tiny_object_has_a_candidate() -> None:
    owner = candidates(GRID, torch.tensor([[60.0, 40.0, 63.0, 43.0]]))
    assert (owner == 0).sum() > 0
    assert box_iou(GRID.boxes[owner == 0], torch.tensor([[60.0, 40.0, 63.0, 43.0]])).max() < MIN_IOU


def test_two_clear_groups_are_told_apart() -> None:
    """Eleven good losses around 1 and sixteen bad ones around 5, shuffled."""
    good = 1 + 0.05 * torch.arange(-5.0, 6.0)
    bad = 5 + 0.2 * torch.arange(-8.0, 8.0)
    order = torch.randperm(27, generator=torch.Generator().manual_seed(0))
    losses = torch.cat([good, bad])[order]
    positive = separate(losses)
    # Good ones up to the most likely: of a symmetric group the middle one, sixth in order.
    assert sorted(losses[positive].tolist()) == pytest.approx(good[:6].tolist())


def mixture_by_hand(values: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Expectation and maximisation as in a textbook: weighted densities of both Gaussians."""
    weight, mean = np.array([0.5, 0.5]), np.array([values.min(), values.max()])
    deviation = np.array([1.0, 1.0])
    for _ in range(steps):
        density = weight * norm.pdf(values[:, None], mean, deviation)
        share = density / density.sum(1, keepdims=True)
        total = share.sum(0)
        weight, mean = total / total.sum(), (share * values[:, None]).sum(0) / total
        spread = (share * (values[:, None] - mean) ** 2).sum(0) / total
        deviation = np.sqrt(spread + 1e-6)  # scikit-learn's floor of a variance
    density = weight * norm.pdf(values[:, None], mean, deviation)
    return density.argmax(1), density.sum(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_is_a_textbooks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.sort(np.r_[generator.normal(1, 0.2, 9), generator.normal(4, 0.6, 18)])
    component, likelihood = mixture_by_hand(values, 60)
    low = np.flatnonzero(component == 0)
    expected = low[: likelihood[low].argmax() + 1]
    assert np.flatnonzero(separate(torch.from_numpy(values)).numpy()).tolist() == expected.tolist()


@given(st.lists(st.floats(0, 20, width=32), min_size=1, max_size=27))
@settings(max_examples=50, deadline=None)
def test_the_best_candidate_is_always_positive(values: list[float]) -> None:
    losses = torch.tensor(values)
    positive = separate(losses)
    assert positive.shape == losses.shape
    assert positive[losses.argmin()]


def test_equal_losses_and_single_candidates_are_no_trouble() -> None:
    assert separate(torch.full((6,), 2.0)).sum() >= 1
    assert separate(torch.tensor([3.0])).tolist() == [True]


def test_a_level_sends_its_best_nine_only() -> None:
    """Of one object that every location may have: the losses fall along each level's rows."""
    owner = torch.zeros(len(GRID.points), dtype=torch.int64)
    losses = torch.cat([torch.arange(float(n), 0, -1) for n in GRID.lengths])
    result = assign(GRID, owner, losses)
    start = 0
    for length in GRID.lengths:
        taught = (result[start : start + length] == 0).nonzero()[:, 0]
        assert (taught >= length - TOP_K).all()
        start += length
    assert (result == 0).any()


def test_each_object_is_separated_among_its_own_candidates() -> None:
    boxes = torch.tensor([[6.0, 6.0, 66.0, 66.0], [70.0, 20.0, 126.0, 90.0]])
    owner = candidates(GRID, boxes)
    torch.manual_seed(0)
    losses = torch.rand(len(owner)) + 3 * (torch.rand(len(owner)) > 0.3)
    result = assign(GRID, owner, losses)
    assert ((result == -1) | (result == owner)).all()
    for k in (0, 1):
        alone = assign(GRID, torch.where(owner == k, owner, -1), losses)
        assert torch.equal(result == k, alone == k)
        mine = owner == k
        assert result[torch.where(mine, losses, math.inf).argmin()] == k


def test_no_object_leaves_background() -> None:
    owner = candidates(GRID, torch.zeros(0, 4))
    assert (owner == -1).all()
    assert (assign(GRID, owner, torch.zeros(len(owner))) == -1).all()
