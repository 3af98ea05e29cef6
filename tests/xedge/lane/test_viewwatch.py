"""Views that are blind, or displaced: nothing is cleared, and nothing goes unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xedge.lane.test_lane_views import OFFSETS, bag, config, dark_things, lane, screened
from xedge.lane import Journal
from xedge.lane.config import FULL
from xedge.lane.journal import JournalReader
from xedge.lane.journal.replay import replay
from xedge.lane.viewwatch import ViewWatch
from xedge.scanner.cutter import BagCutter, CutterConfig
from xedge.scanner.pieces import BagEnded
from xedge.types import Reason, Verdict


@pytest.mark.parametrize("lost", [0, 1])
def test_what_one_view_shows_while_another_is_lost_is_a_bag(lost) -> None:
    gone = [(96, 400) if v == lost else () for v in range(2)]
    things = [bag(150, 200, 1 - lost) if v != lost else [] for v in range(2)]
    report, scans, _ = lane(things, gone=[[one] if one else () for one in gone])
    (decision,) = screened(report, scans)
    last = max(OFFSETS[:2])
    assert (decision.encoder_head, decision.encoder_tail) == (147 + last, 199 + last)
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)


@pytest.mark.parametrize("lost", [0, 1])
def test_what_only_a_lost_view_would_have_shown_has_a_decision_and_is_not_cleared(lost) -> None:
    """Nothing is on record of it: the stretch of belt that the view did not see is the bag."""
    for begin, end in ((128, 160), (112, 496)):
        inside = (begin - OFFSETS[lost] + 12, begin - OFFSETS[lost] + 16)
        things = [bag(*inside, v) if v == lost else [] for v in range(2)]
        gone = [[(begin, end)] if v == lost else () for v in range(2)]
        whole, _, _ = lane(things)
        assert len(whole.decisions) == 1
        report, scans, _ = lane(things, gone=gone)
        assert scans == [None] * len(scans)
        assert {(d.verdict, d.reason) for d in report.decisions} == {
            (Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)}  # fmt: skip
        last = max(OFFSETS[:2])
        spans = [(d.encoder_head - last, d.encoder_tail - last) for d in report.decisions]
        assert any(a <= inside[0] and inside[1] <= b + 1 for a, b in spans), (inside, spans)
        assert all(b - a < 200 + 6 for a, b in spans)  # max_bag_lines, and the gap it is told by
        assert not any(d.late for d in report.decisions)


@pytest.mark.parametrize("shows", [(0,), (0, 1)])
def test_what_fits_into_lines_that_the_leading_view_lost_has_a_decision(shows) -> None:
    """They are in no row, so the bag is cut from none, though the first view saw it."""
    inside = (128 - OFFSETS[1] + 8, 128 - OFFSETS[1] + 24)
    things = [bag(*inside, v) if v in shows else [] for v in range(2)]
    report, _, _ = lane(things, gone=[(), [(128, 160)]])
    (decision,) = report.decisions
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)
    last = max(OFFSETS[:2])
    assert decision.encoder_head - last <= inside[0]
    assert inside[1] <= decision.encoder_tail - last


def test_a_view_that_loses_less_than_a_gap_announces_nothing() -> None:
    report, _, _ = lane([[], []], gone=[(), [(128, 144)]], changes={
        "cutter": CutterConfig(min_gap_lines=20, margin_lines=3, max_bag_lines=200)})  # fmt: skip
    assert report.decisions == ()
    assert report.ledger.blind_lines[1] >= 16


def many(views, shifts=(), bags=6, **more):
    """Bags, one like the other, before views of which some are displaced."""
    things = [[one for k in range(bags) for one in bag(60 + 100 * k, 110 + 100 * k, v)]
              for v in range(views)]  # fmt: skip
    return lane(things, shifts=shifts, **more)


@pytest.mark.parametrize(("shifts", "said"), [
    ((0, 14), "view 2 shows bags 14 lines later than view 1"),
    ((0, -14), "view 2 shows bags 14 lines earlier than view 1"),
    ((20, 0, 0), "view 2 shows bags 20 lines earlier than view 1"),
    ((0, 0, 15), "view 3 shows bags 15 lines later than view 1"),
])  # fmt: skip
def test_a_view_whose_encoder_is_displaced_clears_nothing_and_is_named(
    shifts, said, tmp_path: Path
) -> None:
    with Journal(tmp_path / "j") as journal:
        report, scans, _ = many(len(shifts), shifts, journal=journal)
    seen = screened(report, scans)
    assert len(seen) == 6
    assert {d.verdict for d in seen} == {Verdict.NOT_CLEARED}
    assert all(Reason.DETECTOR_FAULT in d.reasons for d in seen)
    assert said in report.health.displaced
    assert report.health.displaced in report.health.problems
    assert [said in error for error in report.errors] == [True]
    with JournalReader(tmp_path / "j") as reader:
        outcome = replay(reader, {FULL: dark_things})
        (note,) = [r for r in reader.records() if r["kind"] == "view-displaced"]
    assert abs(note["lines"]) == max(map(abs, shifts))
    assert outcome.differences == []


@pytest.mark.parametrize("shift", [-8, 0, 8])
def test_views_that_differ_by_less_than_a_bag_s_margin_agree(shift) -> None:
    report, _, _ = many(2, (0, shift))
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR] * 6
    assert report.health.displaced == ""


def test_one_end_that_a_view_does_not_show_is_no_displacement() -> None:
    """A strap behind each bag that lies edge-on in one view."""
    things = [bag(60, 110, 0) + bag(160, 210, 0) + bag(260, 310, 0),
              bag(60, 135, 1) + bag(160, 235, 1) + bag(260, 335, 1)]  # fmt: skip
    report, _, _ = lane(things)
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR] * 3


def test_a_view_that_was_displaced_is_believed_again_after_some_bags() -> None:
    watch = ViewWatch(BagCutter(), config(), 2)
    told = []

    def judge(later, longer=0):
        ended = BagEnded(
            1, frozenset(), 0, 0, seen=((100, 200), (100 + later, 200 + later + longer))
        )
        doubts, notes = watch.judge(ended)
        told.extend(note.kind for note in notes)
        return bool(doubts)

    assert [judge(30), judge(30), judge(0, 30), judge(-30), judge(30), judge(30)] == [
        True, True, False, True, True, True]  # fmt: skip
    assert told == []
    assert judge(31)
    assert told == ["view-displaced"]
    assert [judge(0), judge(0, 40), judge(0)] == [True] * 3
    assert not judge(0)
    assert told == ["view-displaced", "views-agree"]
    assert watch.displaced == ""
