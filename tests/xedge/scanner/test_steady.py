"""Strips whose clock was set, and what `Steady` makes of their times."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xedge.scanner.steady import JITTER_NS, Steady
from xedge.types import Strip

S = 1_000_000_000


def strips(times_ns):
    lines = np.zeros((1, 4), np.uint16)
    return [Strip(k, np.array([k]), lines, lines, t) for k, t in enumerate(times_ns)]


def times(given_ns):
    steady = Steady(strips(given_ns))
    return [strip.captured_ns for strip in steady], steady.steps


def test_a_clock_that_never_falls_is_left_alone() -> None:
    given_ns = strips([5, 5, 9 * S, 90 * S])
    assert all(a is b for a, b in zip(given_ns, Steady(given_ns), strict=True))


def test_behind_a_step_back_the_belt_goes_on_at_its_pace() -> None:
    assert times([10 * S, 11 * S, 1 * S, 2 * S, 3 * S]) == (
        [10 * S, 11 * S, 12 * S, 13 * S, 14 * S],
        1,
    )


def test_a_clock_that_is_set_right_again_is_believed() -> None:
    assert times([10 * S, 11 * S, 1 * S, 14 * S, 15 * S]) == (
        [10 * S, 11 * S, 12 * S, 14 * S, 15 * S],
        1,
    )


def test_strips_that_changed_places_are_no_step() -> None:
    """Or the lane would lag a strip more behind its detector with every pair."""
    assert times([10, 30, 20, 40]) == ([10, 30, 30, 40], 0)


@given(st.lists(st.integers(0, 5 * JITTER_NS), max_size=20))
def test_times_never_fall_and_nothing_else_changes(given_ns) -> None:
    before = strips(given_ns)
    after = list(Steady(before))
    shown = [strip.captured_ns for strip in after]
    assert shown == sorted(shown)
    assert all(s >= g for s, g in zip(shown, given_ns, strict=True))
    assert [strip.first_line for strip in after] == list(range(len(before)))
    assert all(
        a.low is b.low and a.encoder is b.encoder for a, b in zip(before, after, strict=True)
    )
