"""The class-balanced loss by hand, and what its mask must never do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.models.chr import BALANCES
from xedge.train.losses.multilabel import balanced_loss, cross_entropies, kept, targets_of


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def test_difficult_classes_count_as_there() -> None:
    presence = torch.tensor([[1, 0, -1]], dtype=torch.int8)
    assert targets_of(presence).tolist() == [[1.0, 1.0, 0.0]]


def test_cross_entropy_by_hand_and_at_its_ends() -> None:
    logits = torch.tensor([[logit(0.25), logit(0.25), 40.0, -40.0]])
    values = cross_entropies(logits, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    expected = [-math.log(0.25), -math.log(0.75), -math.log(1e-10), 0.0]
    assert values[0].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_wrong_answer_keeps_its_slope_where_float32_rounds_its_score_to_one() -> None:
    wrong = torch.tensor([[18.0]], requires_grad=True)
    cross_entropies(wrong, torch.zeros(1, 1)).sum().backward()
    assert wrong.grad is not None
    # s(-18) / (s(-18) + 1e-10) = 1.52e-8 / 1.53e-8
    assert wrong.grad.item() == pytest.approx(0.9935, rel=1e-3)


# One image, four classes: there and scored low; absent and scored .3, .01, .3.
TARGETS = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
COARSE = torch.tensor([[logit(0.01), logit(0.3), logit(0.01), logit(0.3)]])
FINE = torch.tensor([[logit(0.01), logit(0.3), logit(0.3), logit(0.01)]])


def test_what_a_coarse_level_switches_off_stays_off() -> None:
    coarse, fine = kept([COARSE, FINE], TARGETS, "paper", 0.05)
    assert coarse.tolist() == [[True, True, False, True]]
    # The third is above epsilon here, but the coarser level has switched it off.
    assert fine.tolist() == [[True, True, False, False]]
    turned = kept([FINE, COARSE], TARGETS, "paper", 0.05)
    assert turned[0].tolist() == [[True, True, True, False]]
    assert turned[1].tolist() == [[True, True, False, False]]


def test_the_released_mask_is_each_levels_own_at_minus_20() -> None:
    coarse, fine = torch.tensor([[-30.0, -20.1, -19.9]]), torch.tensor([[-30.0, -19.9, -20.1]])
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    masks = kept([coarse, fine], targets, "released", 0.5)
    assert masks[0].tolist() == [[True, False, True]]
    assert masks[1].tolist() == [[True, True, False]]


def test_the_loss_divides_by_all_entries_and_sums_the_levels() -> None:
    total, share = balanced_loss([COARSE, FINE], TARGETS, "paper", 0.05)
    coarse = (-math.log(0.01) - 2 * math.log(0.7)) / 4
    fine = (-math.log(0.01) - math.log(0.7)) / 4
    assert total.item() == pytest.approx(coarse + fine, rel=1e-5)
    assert share.item() == pytest.approx(5 / 8)
    plain, everything = balanced_loss([COARSE, FINE], TARGETS, "none", 0.05)
    dropped = (-math.log(0.99) - math.log(0.7) - math.log(0.99)) / 4
    assert plain.item() == pytest.approx(coarse + fine + dropped, rel=1e-5)
    assert everything.item() == 1


def test_what_is_switched_off_has_no_slope() -> None:
    coarse, fine = COARSE.clone().requires_grad_(), FINE.clone().requires_grad_()
    balanced_loss([coarse, fine], TARGETS, "paper", 0.05)[0].backward()
    assert coarse.grad is not None
    assert fine.grad is not None
    assert (coarse.grad != 0).tolist() == [[True, True, False, True]]
    assert (fine.grad != 0).tolist() == [[True, True, False, False]]


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    balance=st.sampled_from(BALANCES),
    epsilon=st.floats(0, 0.99),
)
def test_positives_always_count_and_finer_levels_never_see_more(
    seed: int, balance: str, epsilon: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(4, 3, generator=generator) * 15 for _ in range(3)]
    targets = (torch.rand(4, 3, generator=generator) < 0.3).float()
    masks = kept(logits, targets, balance, epsilon)
    assert all(bool(mask[targets > 0].all()) for mask in masks)
    if balance == "paper":
        assert all(bool((coarse | ~fine).all()) for coarse, fine in zip(masks, masks[1:]))  # noqa: B905, RUF007
    loss, share = balanced_loss(logits, targets, balance, epsilon)
    assert loss >= 0
    assert loss <= balanced_loss(logits, targets, "none", 0)[0]
    assert 0 <= share <= 1
