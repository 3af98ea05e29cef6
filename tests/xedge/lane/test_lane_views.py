"""One lane with several views: one decision a bag from all, and no CLEAR without one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.lane import Journal, LaneConfig, run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.config import FULL
from xedge.lane.journal import JournalReader
from xedge.lane.journal.replay import replay
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.follow import FollowConfig
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import Pairing, ViewPlan
from xedge.scanner.source import Source
from xedge.scanner.windows import WindowPlan
from xedge.types import AIR_COUNTS, Detections, Reason, Strip, Verdict

WIDTHS = (24, 16, 20, 12)
OFFSETS = (0, 30, 75, 50)
LINE_NS = 1_000_000
BELT = 700
AIR, SOFT, THREAT = 60_000, 30_000, 8_000


def flat_field(width) -> FlatField:
    shape = (2, width)
    return FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def config(**changes) -> LaneConfig:
    values = {
        "pitch_mm": 1.0, "counts_per_mm": 1.0, "deadline_counts": 5000, "bag_limit_s": 30.0,
        "windows": WindowPlan(32, 8, 2), "max_queued_windows": 64,
        "cutter": CutterConfig(min_gap_lines=6, margin_lines=3, max_bag_lines=200),
    }  # fmt: skip
    return LaneConfig(**(values | changes))


class View(Source):
    """One view of a belt with things on it: ``(first, last, columns, counts)``."""

    def __init__(self, view, things, gone=(), offsets=OFFSETS, shift=0) -> None:
        self._view, self._things, self._gone, self._shift = view, things, gone, shift
        self._offset = offsets[view]

    @property
    def elements(self) -> int:
        return WIDTHS[self._view]

    def __iter__(self):
        for first in range(0, BELT + 100, 16):
            raw = np.arange(first, first + 16)
            low = np.full((16, self.elements), AIR, np.uint16)
            for begin, end, columns, counts in self._things:
                here = (raw - self._offset >= begin) & (raw - self._offset < end)
                low[here, columns] = np.minimum(low[here, columns], counts)
            if not any(begin <= first < end for begin, end in self._gone):
                encoder = (raw + self._shift).astype(np.int64)
                yield Strip(first, encoder, low, low.copy(), (first + 16) * LINE_NS)


def lane(things, *, gone=(), views=None, shifts=(), changes=None, **more):
    """A lane with the views whose things are given.

    Args:
        things: Of each view.
        gone: Stretches of each whose lines never come.
        views: Which views these are; None for the first ones.
        shifts: Counts by which each view's encoder reads more than it should.
    """
    views = views or list(range(len(things)))
    gone = gone or [()] * len(views)
    shifts = shifts or [0] * len(views)
    sources = [
        View(v, t, g, shift=s) for v, t, g, s in zip(views, things, gone, shifts, strict=True)
    ]
    pairing = Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in views], 1.0)
    source = PairedSource(sources, pairing)
    seen = []
    report = run_lane(
        source, dark_things, tuple(flat_field(WIDTHS[v]) for v in views),
        config(**{"view_offsets": tuple(OFFSETS[v] for v in views)} | (changes or {})),
        clock=VirtualClock(),
        on_decision=lambda decision, scan: seen.append(scan), **more,
    )  # fmt: skip
    assert report.ledger.balanced
    assert all(books.balanced for books in source.books)
    assert all(books.held == 0 for books in source.books)
    used = report.ledger.bag_lines + report.ledger.gap_lines
    assert all(blind <= used for blind in report.ledger.blind_lines)
    return report, seen, source


def screened(report, scans):
    """The decisions about bags that some view saw."""
    return [d for d, scan in zip(report.decisions, scans, strict=True) if scan is not None]


def dark_things(planes) -> Detections:
    """A box around what is darker than a soft bag."""
    rows, columns = np.nonzero(planes[1] < 60)
    if not len(rows):
        return Detections.empty()
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Detections(np.array([box], np.float32), np.array([0.9], np.float32),
                      np.array([1], np.int32))  # fmt: skip


def bag(begin, end, view, threat=None):
    wide = slice(4, WIDTHS[view] - 4)
    things = [(begin, end, wide, SOFT)]
    if threat is not None:
        things.append((threat, threat + 8, slice(6, 10), THREAT))
    return things


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_bag_is_one_bag_and_a_threat_in_any_view_is_an_alarm(count) -> None:
    for sees in (None, *range(count)):
        things = [bag(100, 160, v, 120 if v == sees else None) for v in range(count)]
        report, scans, _ = lane(things)
        (decision,) = report.decisions
        assert decision.verdict is (Verdict.CLEAR if sees is None else Verdict.ALARM)
        # Where the last view is when it sees the bag: three lines of margin before it.
        last = max(OFFSETS[:count])
        assert (decision.encoder_head, decision.encoder_tail) == (97 + last, 159 + last)
        assert scans[0].low.shape[1] == sum(WIDTHS[:count])
        assert len(decision.ladder) % count == 0
        if sees is not None:
            (box,) = decision.detections.boxes.tolist()
            start = sum(WIDTHS[:sees])
            assert box == [start + 6, 24, start + 10, 30]  # from 97 on, in whole pixels of two


def test_what_only_one_view_shows_is_a_bag() -> None:
    report, _, _ = lane([[], bag(100, 140, 1, 110)])
    assert [d.verdict for d in report.decisions] == [Verdict.ALARM]
    report, _, _ = lane([bag(100, 140, 0), []])
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR]


def test_matter_at_the_edge_of_any_view_clips_the_bag() -> None:
    edge = [(100, 160, slice(WIDTHS[0] - 6, WIDTHS[0]), SOFT)]
    report, _, _ = lane([edge, bag(100, 160, 1)])
    assert report.decisions[0].reason is Reason.CLIPPED_BAG


def test_faulty_elements_in_each_view_are_no_matter_together() -> None:
    faulty = [(0, BELT + 200, slice(6, 9), SOFT)]
    report, _, _ = lane([faulty, faulty])
    assert report.decisions == ()


@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize(
    "gone", [[(128, 144)], [(96, 352)], [(96, 10_000)], [(0, 288)]],
    ids=["a strip", "a while", "for good", "at the start"],
)  # fmt: skip
def test_no_bag_is_cleared_that_a_view_did_not_see_whole(view, gone) -> None:
    things = [bag(60, 150, v) + bag(300, 350, v) + bag(480, 530, v) for v in range(3)]
    report, scans, _ = lane(things, gone=[gone if v == view else () for v in range(3)])
    begun = [(60, 150), (300, 350), (480, 530)]
    lost = [(a - OFFSETS[view], b - OFFSETS[view]) for a, b in gone]
    last = max(OFFSETS[:3])
    for head, tail in begun:
        here = [d for d in report.decisions
                if d.encoder_head - last < tail and d.encoder_tail - last >= head]  # fmt: skip
        if any(a < tail and head < b for a, b in lost):
            assert all(d.verdict is not Verdict.CLEAR for d in here)
            assert all(d.reason is Reason.INCOMPLETE_SCAN for d in here)
        elif head - max((b for _, b in lost), default=0) > 110:
            assert [d.verdict for d in here] == [Verdict.CLEAR]
    seen = [d for d in screened(report, scans) if d.encoder_head - last > 470]
    assert len(seen) == 1, "the other views go on"


def test_a_view_whose_tube_is_off_is_a_fault_of_the_detector_and_the_others_see(
    tmp_path: Path,
) -> None:
    dark = [(60, 400, slice(0, WIDTHS[1]), 100)]
    things = [bag(100, 160, 0, 120) + bag(250, 300, 0), dark]
    with Journal(tmp_path / "j") as journal:
        report, scans, _ = lane(things, journal=journal)
    seen = screened(report, scans)
    assert [d.verdict for d in seen] == [Verdict.ALARM, Verdict.NOT_CLEARED]
    # Before, between and behind them the dark view might have shown something else.
    assert len(report.decisions) == 5
    assert all(Reason.DETECTOR_FAULT in d.reasons for d in report.decisions)
    assert report.ledger.blind_lines[0] == 0
    assert report.ledger.blind_lines[1] >= 340
    with JournalReader(tmp_path / "j") as reader:
        said = [r for r in reader.records() if r["kind"] in ("view-blind", "view-sees")]
    # Once a stretch and not once a strip: a view that stays dead must not fill the journal.
    assert [(r["kind"], r["reason"]) for r in said] == [
        ("view-blind", "DETECTOR_FAULT"), ("view-sees", ""),
        ("view-blind", "INCOMPLETE_SCAN"),  # the views' sources do not end at the same place
    ]  # fmt: skip


def test_a_source_that_raises_is_a_view_that_ended_and_said() -> None:
    class Broken(View):
        def __iter__(self):
            for strip in super().__iter__():
                if strip.first_line > 200:
                    raise OSError("the cable is out")
                yield strip

    things = [bag(100, 150, v) + bag(400, 450, v) for v in range(2)]
    told = []
    source = PairedSource(
        [View(0, things[0]), Broken(1, things[1])],
        Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(2)], 1.0), told.append,
    )  # fmt: skip
    scans = []
    report = run_lane(source, dark_things, (flat_field(24), flat_field(16)), config(),
                      clock=VirtualClock(), on_decision=lambda d, scan: scans.append(scan)
                      )  # fmt: skip
    assert [d.verdict for d in screened(report, scans)] == [Verdict.CLEAR, Verdict.NOT_CLEARED]
    assert {d.reason for d in report.decisions[1:]} == {Reason.INCOMPLETE_SCAN}
    assert told == ["view 2 failed, no bag is cleared without it: OSError: the cable is out"]


@pytest.mark.parametrize("live", [True, False])
def test_views_whose_code_exits_have_ended_and_said(live) -> None:
    class Exiting(View):
        def __iter__(self):
            yield next(super().__iter__())
            raise SystemExit(3)

    told = []
    sources = [Exiting(0, []), Exiting(1, [])]
    for source in sources:
        source.live = live
    pairing = Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(2)], 1.0)
    list(PairedSource(sources, pairing, told.append))  # comes to an end
    assert sorted(told) == [f"view {k} failed, no bag is cleared without it: SystemExit: 3"
                            for k in (1, 2)]  # fmt: skip


def test_a_view_that_falls_behind_is_said_once() -> None:
    told = []
    sources = [View(0, []), View(1, [], [(200, 500)])]
    pairing = Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(2)], 1.0)
    for _ in PairedSource(sources, pairing, told.append):
        pass
    assert told == ["view 2 gives no lines, or late ones: no bag is cleared without it"]


def test_live_views_are_read_in_threads_and_end_together() -> None:
    class Live(View):
        live = True

    things = [bag(100, 150, v) for v in range(2)]
    source = PairedSource(
        [Live(0, things[0]), Live(1, things[1])],
        Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(2)], 1.0, slack_lines=2000),
    )
    assert source.live
    with source:
        rows = sum(len(strip) for strip in source)
    assert rows >= BELT
    assert all(books.balanced for books in source.books)


def test_each_view_has_a_health_and_a_correction_of_its_own() -> None:
    low, dim = flat_field(24), flat_field(16)
    dim = replace(dim, dead=np.eye(1, 16, 3, dtype=np.bool_).repeat(2, axis=0))
    report = run_lane([], dark_things, (low, dim), config())
    assert report.health.dead == ((27,), (27,))
    assert report.health.elements == 40


@settings(max_examples=10)
@given(
    bags=st.lists(st.tuples(st.integers(8, 60), st.integers(10, 60)), min_size=1, max_size=4),
    lost=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 700), st.integers(16, 200)),
                  max_size=3),
    sees=st.integers(0, 2),
)  # fmt: skip
def test_whatever_is_lost_is_decided_again_as_it_was(tmp_path_factory, bags, lost, sees) -> None:
    at, things = 40, [[], [], []]
    spans = []
    for gap, length in bags:
        at += gap + 12
        for view in range(3):
            things[view] += bag(at, at + length, view, at if view == sees and length > 40 else None)
        spans.append((at, at + length))
        at += length
    gone = [[(a, a + n) for v, a, n in lost if v == view] for view in range(3)]
    folder = tmp_path_factory.mktemp("views") / "j"
    follow = {"correction": FollowConfig(block_lines=64)}
    with Journal(folder) as journal:
        report, _, _ = lane(things, gone=gone, journal=journal, changes=follow)
    last = max(OFFSETS[:3])
    for decision in report.decisions:
        assert decision.verdict is not Verdict.CLEAR or not decision.reasons
        if decision.verdict is Verdict.CLEAR:
            head, tail = decision.encoder_head - last, decision.encoder_tail - last
            for view in range(3):  # in strips of 16 lines
                missing = {int(p) - OFFSETS[view] for a, b in gone[view]
                           for s in range(0, BELT + 100, 16) if a <= s < b
                           for p in range(s, s + 16)}  # fmt: skip
                assert not missing & set(range(head + 3, tail + 1))
    with JournalReader(folder) as reader:
        outcome = replay(reader, {FULL: dark_things})
        (boot,) = reader.boots()
    assert outcome.differences == []
    assert outcome.compared == len(report.decisions)
    assert isinstance(boot.flat_field, tuple)
    assert [flat.elements for flat in boot.flat_field] == list(WIDTHS[:3])
    assert AIR == AIR_COUNTS
