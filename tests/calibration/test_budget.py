"""Budgets: the lower end of the interval counts, and what was not measured is not within."""

from __future__ import annotations

from dataclasses import replace

import pytest
from xedge_calibration.budget import Budget, overdrawn

from xedge.metrics import Difference, PairedComparison, Share

NONE = Share(0, 600, 0.0, 0.01)
NAN = float("nan")


def compared(ap50: Difference, *recalls: Difference) -> PairedComparison:
    whole = recalls[0] if recalls else None
    return PairedComparison(ap50, (ap50,) * 2, whole, recalls, NONE, NONE, NONE)


FINE = Difference(0.0, -0.004, 0.004)


@pytest.mark.parametrize(
    ("ap50", "recalls", "said"),
    [
        (FINE, (FINE, FINE), []),
        (Difference(-0.001, -0.006, 0.004), (FINE, FINE), ["AP50 -0.10"]),
        (FINE, (FINE, Difference(0.0, -0.011, 0.1)), ["recall of knife"]),
        (FINE, (FINE, Difference(NAN, NAN, NAN)), []),  # none of its objects is in the set
        (Difference(NAN, NAN, NAN), (FINE, FINE), ["AP50 not measured"]),
        (FINE, (), ["recall not measured"]),
    ],
)
def test_what_breaks_a_budget_is_named(
    ap50: Difference, recalls: tuple[Difference, ...], said: list[str]
) -> None:
    found = overdrawn(Budget(), compared(ap50, *recalls), ("gun", "knife"))
    assert [f.startswith(s) for f, s in zip(found, said, strict=True)] == [True] * len(said)


def test_recall_may_be_left_out() -> None:
    assert overdrawn(Budget(recall=None), compared(FINE), ("gun", "knife")) == []


def test_few_images_show_nothing() -> None:
    same = Difference(0.0, 0.0, 0.0)
    few = replace(compared(same, same, same), flips=Share(0, 599, 0.0, 0.01))
    assert overdrawn(Budget(), few, ("gun", "knife")) == [
        "599 bags are too few to show a loss of 0.5 points"
    ]
