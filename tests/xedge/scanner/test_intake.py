"""Which strips are used: every line that came is used or refused by name."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.scanner.intake import Intake, Refusal
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
    assert Refusal.REVERSED in back.refused
    again = intake.admit(strip(8, encoder=[3, 4, 5, 6]))
    assert again.use is not None
    assert again.use.tolist() == [False, True, True, True]


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
