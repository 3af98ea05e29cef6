"""What a lane makes of bags that its cutter cannot tell apart, or has to cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xedge.lane.test_lane_core import Driven
from xedge.lane.events import SourceEnded, StripArrived, Tick, WindowDone, WindowFailed
from xedge.types import Detections, Reason, Verdict

AIR = "." * 20
NOTHING = Detections.empty()


def continuous(belt, longest=60, **changes):
    """Parts of 60 lines and windows of 32 that share 8."""
    cutter = replace(belt.config().cutter, max_bag_lines=longest, continuous=True)
    return Driven(belt, cutter=cutter, deadline_counts=10_000, max_queued_windows=100,
                  **changes)  # fmt: skip


def test_bags_that_touch_are_one_decision_and_the_journal_counts_their_gaps(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 15 + "...." + "#" * 15 + AIR)
    lane.answer()
    assert [d.verdict for d in lane.decisions] == [Verdict.CLEAR]
    (ended,) = [note for note in lane.notes if note.kind == "bag-ended"]
    assert ended.fields["short_gaps"] == 1


def test_a_belt_without_gaps_is_decided_part_by_part_with_the_seams_seen_twice(belt) -> None:
    lane = continuous(belt)
    lane.lines(AIR + "#" * 150 + AIR)
    windows = list(lane.windows)
    lane.answer()
    assert [d.verdict for d in lane.decisions] == [Verdict.CLEAR] * 3
    # 17..76, 69..136 (8 lines of the part before), 129..169 and three lines of margin.
    assert [d.encoder_head for d in lane.decisions] == [17, 69, 129]
    assert [d.encoder_tail for d in lane.decisions] == [76, 136, 169]
    assert [len(scan.encoder) for scan in lane.scans] == [60, 68, 44]
    for scan in lane.scans:
        assert (np.diff(scan.encoder) == 1).all()
        assert scan.first_line == scan.encoder[0]
    # Every stretch of 8 lines lies whole in some window.
    spans = [
        (lane.scans[w.bag - 1].encoder[w.start], lane.scans[w.bag - 1].encoder[w.start] + 32)
        for w in windows
    ]
    for first in range(17, 172 - 8):
        assert any(start <= first and first + 8 <= end for start, end in spans)


def test_an_alarm_on_a_seam_is_seen_by_the_parts_that_show_it(belt) -> None:
    lane = continuous(belt)
    lane.lines(AIR + "#" * 100 + AIR)
    while lane.windows:
        window = lane.windows.pop(0)
        # Something at the first 6 lines of the second part's first window: the seam.
        found = belt.found(0.9) if (window.bag, window.start) == (2, 0) else NOTHING
        lane.send(WindowDone(window.bag, window.index, found))
    assert [d.verdict for d in lane.decisions] == [Verdict.CLEAR, Verdict.ALARM]


def test_what_is_wrong_with_a_part_flags_the_next_one_which_shows_its_end(belt) -> None:
    lane = continuous(belt)
    lane.lines(AIR + "#" * 50)
    lane.send(StripArrived(belt.strip("#####", lane.line, intact=False)))
    lane.line += 5
    lane.lines("#" * 150 + AIR)
    lane.answer()
    reasons = [d.reasons for d in lane.decisions]
    assert reasons[:2] == [frozenset({Reason.BAD_LINES})] * 2
    assert not any(reasons[2:])


def test_the_engine_s_failure_at_a_part_is_its_own(belt) -> None:
    lane = continuous(belt)
    lane.lines(AIR + "#" * 100 + AIR)
    for window in list(lane.windows):
        if window.bag == 1:
            lane.send(WindowFailed(1, window.index, "gone"))
    lane.windows = [window for window in lane.windows if window.bag == 2]
    lane.answer()
    assert [d.reason for d in lane.decisions] == [Reason.ENGINE_FAILED, Reason.NONE]


@pytest.mark.parametrize("why", ["late", "overload"])
def test_a_part_whose_forerunner_is_gone_has_lost_the_seam(belt, why) -> None:
    lane = continuous(belt, max_open_bags=1 if why == "overload" else 8)
    lane.lines(AIR + "#" * 50)
    if why == "late":
        lane.send(Tick(), 2 * 10**9)
    lane.lines("#" * 100 + AIR)
    lane.answer()
    lane.send(SourceEnded())
    second, third = lane.decisions[1:3]
    lost = second if why == "late" else third
    assert Reason.INCOMPLETE_SCAN in lost.reasons


RUNS = st.lists(
    st.tuples(st.sampled_from("..###"), st.integers(1, 90)), min_size=1, max_size=8
).map(lambda runs: AIR + "".join(mark * n for mark, n in runs) + AIR)  # fmt: skip


@settings(max_examples=60)
@given(marks=RUNS, size=st.integers(1, 20), longest=st.integers(40, 100))
def test_continuous_or_not_the_books_balance_and_all_matter_is_in_a_scan(
    belt, marks, size, longest
) -> None:
    lane = continuous(belt, longest, max_open_bags=100)
    lane.lines(marks, size)
    lane.send(SourceEnded())
    lane.answer()
    ledger = lane.core.ledger
    assert ledger.bags_in == ledger.decisions == len(lane.decisions)
    assert ledger.open_bags == ledger.held_lines == 0
    covered = {int(place) for scan in lane.scans for place in scan.encoder}
    matter = {k for k, mark in enumerate(marks) if mark == "#"}
    lonely = {k for k in matter if not {k - 1, k + 1} & matter}
    assert matter - covered <= lonely  # a line of matter by itself begins no bag
    for decision, scan in zip(lane.decisions, lane.scans, strict=True):
        assert Reason.OVERSIZE_BAG not in decision.reasons
        assert len(scan.encoder) <= longest + 3 + 8
