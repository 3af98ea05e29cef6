"""Which strips are used: every line that came is used or refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.scanner.flatfield import FlatField
from xedge.scanner.intake import Intake, Refusal
from xedge.scanner.tube import TubeWatch
from xedge.types import Strip

ELEMENTS = 4


def strip(first, n=4, *, encoder=None, elements=ELEMENTS, intact=True):
    counts = np.zeros((n, elements), np.uint16)
    places = np.arange(first, first + n) if encoder is None else np.asarray(encoder)
    return Strip(first, places.astype(np.int64), counts, counts, 0, intact)


def test_strips_in_order_are_used_whole() -> None:
    intake = Intake(ELEMENTS, 1.0)
    for first in (100, 104, 108):
        admission = intake.admit(strip(first))
        assert admission.use is not None
        assert admission.use.all()
        assert (admission.refused, admission.missing, admission.hole) == ({}, 0, 0)
    assert intake.encoder == 111


def test_skipped_lines_are_missing_and_leave_a_hole() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0))
    admission = intake.admit(strip(10))
    assert (admission.missing, admission.hole) == (6, 6)
    assert admission.use is not None


def test_damaged_and_wrong_strips_are_refused_and_not_also_missing() -> None:
    for change, cause in (
        ({"intact": False}, Refusal.DAMAGED),
        ({"elements": 5}, Refusal.WRONG_WIDTH),
    ):
        intake = Intake(ELEMENTS, 1.0)
        intake.admit(strip(0))
        bad = intake.admit(strip(4, **change))
        assert (bad.use, bad.refused, bad.hole) == (None, {cause: 4}, 4)
        after = intake.admit(strip(8))
        assert (after.missing, after.refused) == (0, {})


def test_a_refused_strip_s_counter_is_not_believed() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0))
    intake.admit(strip(10**12, intact=False))
    assert intake.admit(strip(8)).missing == 0


def test_lines_sent_again_are_refused() -> None:
    intake = Intake(ELEMENTS, 1.0)
    for first in (0, 4, 8):
        intake.admit(strip(first))
    for first in (4, 8):
        assert intake.admit(strip(first)).refused == {Refusal.REPEATED: 4}
    assert intake.admit(strip(12)).missing == 0


def test_a_counter_that_starts_anew_costs_one_strip() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(1000))
    assert intake.admit(strip(0, encoder=range(1004, 1008))).refused == {Refusal.REPEATED: 4}
    admission = intake.admit(strip(4, encoder=range(1008, 1012)))
    assert admission.use is not None
    assert admission.hole >= 4
    assert intake.admit(strip(8, encoder=range(1012, 1016))).hole == 0


def test_a_standing_belt_gives_no_new_lines_and_does_no_harm() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0))
    still = intake.admit(strip(4, encoder=[3, 3, 3, 3]))
    assert (still.use, still.refused, still.hole) == (None, {Refusal.STANDING: 4}, 0)
    moving = intake.admit(strip(8, encoder=[3, 3, 4, 5]))
    assert moving.use is not None
    assert moving.use.tolist() == [False, False, True, True]
    assert moving.hole == 0


def test_a_reversing_belt_does_not_scan_the_same_place_twice() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0))
    back = intake.admit(strip(4, encoder=[2, 1, 2, 3]))
    assert back.use is None
    assert sum(back.refused.values()) == 4
    assert back.refused == {Refusal.RESCANNED: 3, Refusal.STANDING: 1}
    assert back.again is not None
    assert back.again.tolist() == [True, True, True, False]
    assert back.hole == 0
    again = intake.admit(strip(8, encoder=[3, 4, 5, 6]))
    assert again.use is not None
    assert again.use.tolist() == [False, True, True, True]


def test_an_encoder_that_jumps_back_is_not_believed_until_it_is_past_its_old_place() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0, 10))
    back = intake.admit(strip(10, encoder=[5, 6, 7, 8]))
    assert (back.use, back.refused, back.hole) == (None, {Refusal.REVERSED: 4}, 4)
    past = intake.admit(strip(14, encoder=[9, 10, 11, 12]))
    assert past.use is not None
    assert past.use.tolist() == [False, True, True, True]
    assert past.refused == {Refusal.STANDING: 1}
    # From now on a belt that goes back slowly is believed again.
    assert intake.admit(strip(18, encoder=[11, 10, 9, 8])).refused == {Refusal.RESCANNED: 4}


def test_a_belt_that_goes_back_behind_missing_lines_has_not_jumped() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(0, 20))
    assert intake.admit(strip(30, encoder=[9, 8, 7, 6])).refused == {Refusal.RESCANNED: 4}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("wrap", "period"), [(2**32, 2**32), (2**31, 2**31), (2**16, 2**16)])
@pytest.mark.parametrize("signed", [False, True])
def test_an_encoder_that_wraps_goes_on_in_either_direction(direction, wrap, period, signed) -> None:
    least = -wrap // 2 if signed else 0
    start = (wrap // 2 if signed else wrap) - 6 if direction > 0 else least + 6
    intake = Intake(ELEMENTS, 1.0, direction, period)
    seen = []
    for first in range(0, 20, 4):
        raw = (start + direction * np.arange(first, first + 4) - least) % wrap + least
        admission = intake.admit(strip(first, encoder=raw))
        assert admission.use is not None
        assert admission.use.all()
        assert admission.hole == 0
        seen += admission.places.tolist()
    assert seen == [direction * start + k for k in range(20)]


def test_a_line_counter_that_wraps_has_lost_nothing() -> None:
    intake = Intake(ELEMENTS, 1.0)
    intake.admit(strip(2**32 - 4, encoder=range(4)))
    admission = intake.admit(strip(0, encoder=range(4, 8)))
    assert (admission.missing, admission.hole, admission.refused) == (0, 0, {})


def test_a_slow_belt_under_a_steady_detector_is_not_drawn_out() -> None:
    """16 counts a line; the belt slows down to 4 counts from line to line."""
    intake = Intake(ELEMENTS, 16.0)
    intake.admit(strip(0, encoder=range(0, 64, 16)))
    admission = intake.admit(strip(4, 16, encoder=range(52, 116, 4)))
    assert admission.use is not None
    kept = np.arange(52, 116, 4)[admission.use]
    # At least three quarters of a line less a count from one to the next: 12 counts.
    assert kept.tolist() == [60, 72, 84, 96, 108]
    assert admission.refused == {Refusal.STANDING: 11}
    assert admission.hole == 0


@pytest.mark.parametrize(("step", "hole"), [(16, 0), (20, 0), (40, 12)])
def test_a_belt_too_fast_for_the_lines_leaves_holes_between_all_of_them(step, hole) -> None:
    """16 counts a line: at 40 counts from line to line, 20 lines of belt give 8."""
    intake = Intake(ELEMENTS, 16.0)
    intake.admit(strip(0, encoder=range(0, 64, 16)))
    places = 48 + step * np.arange(1, 9)
    assert intake.admit(strip(4, 8, encoder=places)).hole == hole


def test_a_jumping_encoder_is_a_hole() -> None:
    intake = Intake(ELEMENTS, 2.0)
    intake.admit(strip(0, encoder=[0, 2, 4, 6]))
    assert intake.admit(strip(4, encoder=[8, 10, 60, 62])).hole == 24


@settings(max_examples=200)
@given(data=st.data())
def test_every_line_that_comes_is_used_or_refused(data) -> None:
    intake = Intake(ELEMENTS, 1.0)
    last_used = None
    for _ in range(data.draw(st.integers(1, 12))):
        n = data.draw(st.integers(1, 6))
        first = data.draw(st.integers(0, 40))
        places = data.draw(st.lists(st.integers(0, 60), min_size=n, max_size=n))
        given_strip = strip(
            first,
            n,
            encoder=places if data.draw(st.booleans()) else None,
            elements=data.draw(st.sampled_from([ELEMENTS] * 4 + [3])),
            intact=data.draw(st.sampled_from([True] * 4 + [False])),
        )
        admission = intake.admit(given_strip)
        used = 0 if admission.use is None else int(admission.use.sum())
        assert used + sum(admission.refused.values()) == n
        assert min(admission.missing, admission.hole) >= 0
        if admission.use is not None:
            assert used
            kept = given_strip.encoder[admission.use]
            assert (np.diff(kept) > 0).all()
            assert last_used is None or kept[0] > last_used
            last_used = int(kept[-1])


def test_lines_without_x_rays_leave_a_hole_only_where_the_belt_moves() -> None:
    shape = (2, ELEMENTS)
    flat = FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip
    intake = Intake(ELEMENTS, 1.0, tube=TubeWatch(flat))

    def lit(first, marks, encoder=None):
        counts = np.array([[60_000 * (m == "+")] * ELEMENTS for m in marks], np.uint16)
        places = np.arange(first, first + len(marks)) if encoder is None else np.asarray(encoder)
        return intake.admit(Strip(first, places.astype(np.int64), counts, counts, 0))

    assert lit(0, "++++").use.all()
    admission = lit(4, "+--+")
    assert admission.use.tolist() == [True, False, False, True]
    assert admission.refused == {Refusal.TUBE_OFF: 2}
    assert admission.hole == 2
    standing = lit(8, "----", [7] * 4)
    assert (standing.refused, standing.hole) == ({Refusal.STANDING: 4}, 0)
    dark = lit(12, "----", [8, 9, 10, 11])
    assert (dark.use, dark.refused, dark.hole) == (None, {Refusal.TUBE_OFF: 4}, 4)
    after = lit(16, "++++", [12, 13, 14, 15])
    assert after.use.all()
    assert (after.missing, after.hole, intake.encoder) == (0, 0, 15)
