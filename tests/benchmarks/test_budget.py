"""A budget ends, is shared fairly, and says what it cut."""

from __future__ import annotations

import time

import pytest
from xedge_benchmarks import budget
from xedge_benchmarks.budget import Budget


def test_no_end() -> None:
    endless = Budget()
    assert not endless.over()
    assert endless.part(3) is endless
    assert endless.stopped("rounds", 1, 9) == ()


def test_what_is_left_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(budget.time, "monotonic", lambda: now)
    whole = Budget(30.0, began=90.0)
    assert not whole.over()
    assert whole.part(4).seconds == 5.0
    now = 120.0
    assert whole.over()
    assert whole.part(4).seconds == 0.0


def test_a_record_says_how_far_it_came() -> None:
    cut = Budget(30.0, began=time.monotonic() - 60)
    assert cut.stopped("bags", 3, 20) == ("stopped after 3 of 20 bags: 30 s had passed",)
    assert cut.stopped("bags", 20, 20) == ()
    part = Budget(7.5, began=cut.began, whole=30)
    assert part.stopped("bags", 3, 20) == (
        "stopped after 3 of 20 bags: 7.5 s, its share of 30, had passed",
    )
    assert cut.no_time == cut.part(3).part(2).no_time == "no time was left of 30 s"
