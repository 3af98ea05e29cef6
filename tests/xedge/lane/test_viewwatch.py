"""Views that are blind, or displaced: nothing is cleared, and nothing goes unsaid."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xedge.lane.test_lane_views import (
    AIR,
    OFFSETS,
    WIDTHS,
    View,
    bag,
    config,
    dark_things,
    flat_field,
    lane,
    screened,
)
from xedge.errors import ConfigError
from xedge.lane import Journal
from xedge.lane.config import FULL
from xedge.lane.core import LaneCore
from xedge.lane.events import Emit, Interrupted, Note, RunWindow, StripArrived, WindowDone
from xedge.lane.journal import JournalReader
from xedge.lane.journal.core import freeze, thaw
from xedge.lane.journal.replay import replay
from xedge.lane.viewwatch import ViewWatch
from xedge.scanner.cutter import BagCutter, CutterConfig
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import Pairing, ViewPlan
from xedge.scanner.pieces import BagEnded, BagUnscanned, Lines
from xedge.types import Detections, Reason, Verdict


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


@settings(max_examples=25)
@given(
    things=st.lists(
        st.tuples(st.integers(10, 60), st.integers(8, 40), st.sampled_from([(0,), (1,), (0, 1)])),
        min_size=1, max_size=6,
    ),
    lost=st.lists(
        st.tuples(st.integers(0, 1), st.integers(4, 28), st.integers(1, 10)), max_size=4
    ),
)  # fmt: skip
def test_whatever_any_view_would_have_shown_has_a_decision(things, lost) -> None:
    """Things that some views show, and strips of 16 lines that are lost somewhere."""
    at, shown, spans = 60, [[], []], []
    for gap, length, views in things:
        at += gap
        for view in views:
            shown[view] += bag(at, at + length, view)
        spans.append((at, at + length, views))
        at += length
    gone = [[(16 * a, 16 * (a + n)) for v, a, n in lost if v == view] for view in range(2)]
    report, _, _ = lane(shown, gone=gone)
    last = max(OFFSETS[:2])
    for begin, end, views in spans:
        here = [d for d in report.decisions
                if d.encoder_head - last < end and d.encoder_tail - last >= begin]  # fmt: skip
        assert here, (begin, end, views)
        missed = any(
            a - OFFSETS[view] < end and begin < b - OFFSETS[view]
            for view in range(2) for a, b in gone[view]
        )  # fmt: skip
        if missed:
            assert all(d.verdict is not Verdict.CLEAR for d in here)


@pytest.mark.parametrize("lost", [0, 1])
def test_what_only_a_view_that_is_lost_to_the_end_would_have_shown_has_a_decision(lost) -> None:
    things = [bag(708, 724, v) if v == lost else [] for v in range(2)]
    gone = [[(704, 10_000)] if v == lost else () for v in range(2)]
    report, scans, _ = lane(things, gone=gone)
    last = max(OFFSETS[:2])
    (decision,) = [d for d in report.decisions if d.encoder_tail - last >= 723]
    assert decision.encoder_head - last <= 708
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)
    assert not decision.late
    assert scans[-1] is None


@pytest.mark.parametrize("views", [(0, 1), (1, 0), (0, 1, 2, 3), (2, 0)])
def test_what_a_view_has_not_reached_at_the_end_was_lost_by_nobody(views) -> None:
    report, _, _ = lane([[] for _ in views], views=list(views))
    # As many lines as the views lie apart, a gap's six or more.
    apart = max(OFFSETS[v] for v in views) - min(OFFSETS[v] for v in views)
    assert max(report.ledger.blind_lines) == apart
    assert report.decisions == ()


@pytest.mark.parametrize(("lines", "said"), [(5, 0), (6, 1)])
@pytest.mark.parametrize("seeing", [(0,), (1,), (0, 1), ()])
def test_the_end_is_held_against_the_views_that_saw_it(lines, said, seeing) -> None:
    watch = ViewWatch(BagCutter(config().cutter), config(view_offsets=(0, 30)), 2)
    blind = lines + (30 if 0 in seeing else 0)
    low = np.full((blind, 8), AIR, np.uint16)
    places = np.arange(blind, dtype=np.int64)
    rows = Lines(low, low, places, places, places)
    flaws = [(slice(0, None), Reason.INCOMPLETE_SCAN)]
    assert not [p for p in watch.cut(rows, flaws, 1)[0] if isinstance(p, BagUnscanned)]
    told = [p for p in watch.finish(seeing) if isinstance(p, BagUnscanned)]
    assert [(p.head_encoder, p.tail_encoder) for p in told] == [(0, blind - 1)] * said
    assert not [p for p in watch.finish(seeing) if isinstance(p, BagUnscanned)]


def test_a_lane_that_is_interrupted_tells_of_the_air_that_a_view_lost() -> None:
    sources = [View(0, []), View(1, [], [(304, 10_000)])]
    pairing = Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(2)], 1.0)
    core = LaneCore((flat_field(WIDTHS[0]), flat_field(WIDTHS[1])),
                    config(view_offsets=OFFSETS[:2]))  # fmt: skip
    for strip in itertools.islice(PairedSource(sources, pairing), 30):
        core.handle(StripArrived(strip), strip.captured_ns)
    assert core.ledger.blind_lines[1] > 6
    emitted = [a for a in core.handle(Interrupted(), 10**9) if isinstance(a, Emit)]
    assert [a.decision.verdict for a in emitted] == [Verdict.NOT_CLEARED]
    assert core.done


def test_offsets_of_other_views_are_refused() -> None:
    with pytest.raises(ConfigError, match="view_offsets"):
        LaneCore((flat_field(24), flat_field(16)), config(view_offsets=(0, 30, 75)))


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


@pytest.mark.parametrize("shift", [60, -60])
def test_a_view_that_is_displaced_by_more_than_a_bag_is_named_as_well(shift) -> None:
    """Each bag is two then, before one view each: one may be clear that the other view alarms at.

    By how much it is displaced is not sure: the next bag may be as near.
    """
    things = [[one for k in range(4) for one in bag(60 + 150 * k, 80 + 150 * k, v)]
              for v in range(2)]  # fmt: skip
    report, scans, _ = lane(things, shifts=(0, shift))
    assert "view 2 shows bags" in report.health.displaced
    seen = screened(report, scans)
    assert len(seen) >= 7
    assert [d.verdict for d in seen[-2:]] == [Verdict.NOT_CLEARED] * 2


def test_bags_that_one_view_each_shows_are_no_displacement_unless_they_are_alike() -> None:
    """A sheet edge-on in one view, then another in the other; or far apart."""
    for first, second in (((60, 80), (120, 190)), ((60, 80), (400, 420))):
        report, _, _ = lane([bag(*first, 0), bag(*second, 1)])
        assert [d.verdict for d in report.decisions] == [Verdict.CLEAR] * 2
        assert report.health.displaced == ""


@pytest.mark.parametrize("shift", [-8, 0, 8])
def test_views_that_differ_by_less_than_a_bag_s_margin_agree(shift) -> None:
    report, scans, _ = many(2, (0, shift))
    # Behind them the end of the belt is not at one place; a gap is six lines here.
    assert [d.verdict for d in screened(report, scans)] == [Verdict.CLEAR] * 6
    assert report.health.displaced == ""


def test_one_end_that_a_view_does_not_show_is_no_displacement() -> None:
    """A strap behind each bag that lies edge-on in one view."""
    things = [bag(60, 110, 0) + bag(160, 210, 0) + bag(260, 310, 0),
              bag(60, 135, 1) + bag(160, 235, 1) + bag(260, 335, 1)]  # fmt: skip
    report, _, _ = lane(things)
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR] * 3


def test_a_core_that_is_kept_knows_which_view_is_blind_or_displaced() -> None:
    core = LaneCore((flat_field(WIDTHS[0]), flat_field(WIDTHS[1])), config())
    pairing = Pairing([ViewPlan(WIDTHS[v], 0) for v in range(2)], 1.0)
    things = [bag(40 + 60 * k, 70 + 60 * k, v) for k in range(4) for v in range(2)]
    views = [[one for made in things[v::2] for one in made] for v in range(2)]
    sources = [View(v, t, [(400, 480)] * v, offsets=(0, 0), shift=20 * v)
               for v, t in enumerate(views)]  # fmt: skip
    said = []
    for turn, strip in enumerate(PairedSource(sources, pairing)):
        for action in core.handle(StripArrived(strip), strip.captured_ns):
            if isinstance(action, RunWindow):
                answer = WindowDone(action.bag, action.index, Detections.empty(), FULL)
                core.handle(answer, strip.captured_ns)
            elif isinstance(action, Note):
                said.append(action.kind)
        if turn % 7 == 0:
            core = thaw(freeze(core))
    assert {"view-displaced", "view-blind", "view-sees"} <= set(said)
    assert said.count("view-displaced") == 1
    assert "view 2 shows bags 20 lines later" in core.health.displaced


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
