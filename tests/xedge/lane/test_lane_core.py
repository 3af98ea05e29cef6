"""The lane's state machine, driven by hand: what it asks for, and what it says when."""

import numpy as np
import pytest

from xedge.lane.core import LaneCore
from xedge.lane.events import (
    Cancel,
    Due,
    Emit,
    LinesLost,
    Note,
    RunWindow,
    SourceEnded,
    StripArrived,
    Tick,
    WindowDone,
    WindowFailed,
)
from xedge.scanner.intake import Refusal
from xedge.types import Detections, Reason, Strip, Verdict

AIR = "." * 20
NOTHING = Detections.empty()


class Driven:
    """A core whose answers are collected by kind."""

    def __init__(self, belt, **changes):
        self.belt = belt
        self.core = LaneCore(belt.flat_field, belt.config(**changes))
        self.windows, self.decisions, self.scans, self.cancelled, self.notes = [], [], [], [], []
        self.due: dict[int, int] = {}
        self.now_ns, self.line = 0, 0

    def send(self, event, now_ns=None):
        self.now_ns = self.now_ns if now_ns is None else now_ns
        for action in self.core.handle(event, self.now_ns):
            if isinstance(action, RunWindow):
                self.windows.append(action)
                self.due[action.bag] = action.due_ns
            elif isinstance(action, Emit):
                self.decisions.append(action.decision)
                self.scans.append(action.scan)
            elif isinstance(action, Cancel):
                self.cancelled.append(action.bag)
            elif isinstance(action, Due):
                self.due[action.bag] = action.due_ns
            else:
                assert isinstance(action, Note)
                self.notes.append(action)
        assert self.core.ledger.balanced

    def lines(self, marks, size=5):
        for k in range(0, len(marks), size):
            strip = self.belt.strip(marks[k : k + size], self.line)
            self.line += len(strip)
            self.send(StripArrived(strip), strip.captured_ns)

    def answer(self, found=NOTHING):
        while self.windows:
            window = self.windows.pop(0)
            self.send(WindowDone(window.bag, window.index, found))


def test_a_sound_bag_without_finds_is_clear(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    assert [w.planes.shape for w in lane.windows] == [(3, 13, 12)]
    assert lane.decisions == []  # nothing is said before the window is
    lane.answer()
    (decision,) = lane.decisions
    assert (decision.verdict, decision.reason) == (Verdict.CLEAR, Reason.NONE)
    assert (decision.encoder_head, decision.encoder_tail) == (17, 39)
    assert not decision.late
    (scan,) = lane.scans
    assert scan.low.shape == (26, belt.elements)
    assert scan.first_line == 17


def test_an_alarm_carries_its_detections_in_scan_coordinates(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    lane.answer(belt.found(0.9))
    (decision,) = lane.decisions
    assert (decision.verdict, decision.reason) == (Verdict.ALARM, Reason.NONE)
    assert decision.detections.boxes.tolist() == [[8, 4, 16, 12]]


def test_a_score_below_the_threshold_does_not_alarm(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    lane.answer(belt.found(0.39))
    assert lane.decisions[0].verdict is Verdict.CLEAR
    assert len(lane.decisions[0].detections) == 1


def test_windows_are_asked_for_while_the_bag_is_under_the_beam(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 40)
    assert [(w.index, w.start) for w in lane.windows] == [(0, 0)]
    lane.lines("#" * 35 + AIR)
    assert [(w.index, w.start) for w in lane.windows] == [(0, 0), (1, 24), (2, 48), (3, 50)]
    assert lane.windows[0].planes.shape == (3, 16, 12)


def test_latency_counts_from_the_last_line_of_matter(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    tail_ns = 40 * belt.line_ns  # lines 0..39 have been read out by then
    lane.now_ns = tail_ns + 31_000_000
    lane.answer()
    assert lane.decisions[0].latency_ns == 31_000_000


def test_a_belt_that_stood_does_not_lengthen_the_latency(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 15)
    stood_ns = 400_000_000
    for k in range(5):
        strip = belt.strip("#" * 5 if k == 0 else "." * 5, lane.line)
        late = Strip(
            strip.first_line, strip.encoder, strip.low, strip.high, strip.captured_ns + stood_ns
        )
        lane.send(StripArrived(late), late.captured_ns)
        lane.line += 5
    lane.answer()
    # Matter ends with the strip read out behind the stop; two strips of air prove the end.
    assert lane.decisions[0].latency_ns == 4 * 5 * belt.line_ns


def test_a_bag_past_its_encoder_deadline_is_not_cleared_and_cancelled(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + "." * 54)
    assert lane.decisions == []
    lane.lines("." * 5)  # tail 39, deadline 99; the last strip ended at 98, the next is under way
    (decision,) = lane.decisions
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.TIMEOUT)
    assert decision.late
    assert lane.cancelled == [1]
    lane.answer(belt.found(0.9))  # too late: one decision a bag
    assert len(lane.decisions) == 1


def test_a_standing_belt_stops_the_encoder_s_clock_but_not_the_bag_limit(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    strip = belt.strip("#####", lane.line, encoder=[39] * 5)
    lane.send(StripArrived(strip), 900_000_000)
    assert lane.decisions == []
    assert lane.core.next_wake_ns == 25 * belt.line_ns + 1_000_000_000
    lane.send(Tick(), lane.core.next_wake_ns - 1)
    assert lane.decisions == []
    lane.send(Tick(), lane.core.next_wake_ns)
    (decision,) = lane.decisions
    assert (decision.reason, decision.late) == (Reason.TIMEOUT, True)
    assert lane.core.next_wake_ns is None
    # The belt goes on; the rest of the bag is booked, and brings no second decision.
    strip = belt.strip("#####", lane.line + 5, encoder=range(40, 45))
    lane.send(StripArrived(strip))
    lane.send(SourceEnded())
    assert len(lane.decisions) == 1
    assert lane.core.done
    assert lane.core.ledger.refused_lines == {Refusal.STANDING: 5}


def test_a_lane_that_is_behind_does_not_take_the_belt_for_as_late_as_itself(belt) -> None:
    """Tail at 39, read out by 40 ms, a count a millisecond: 99 is reached at 100 ms."""
    for now_ms, late in ((99, False), (100, True)):
        lane = Driven(belt)
        lane.lines(AIR + "#" * 20 + "." * 10)
        lane.now_ns = now_ms * belt.line_ns  # strips up to now wait to be handled
        lane.answer()
        assert [d.late for d in lane.decisions] == [late]
        assert (lane.decisions[0].verdict is Verdict.CLEAR) is not late


def test_strips_of_a_standing_belt_stop_the_encoder_s_clock_of_a_waiting_bag(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + "." * 10)
    for k in range(100):
        strip = belt.strip(".....", lane.line + 5 * k, encoder=[49] * 5)
        lane.send(StripArrived(strip), strip.captured_ns)
    assert lane.now_ns == 550 * belt.line_ns
    lane.answer()
    assert lane.decisions[0].verdict is Verdict.CLEAR


def test_a_window_is_due_by_the_belt_s_pace_and_told_anew_when_that_changes(belt) -> None:
    """Matter ends at 39, read out by 40 ms; 60 counts on it is late, a strip's worth early."""
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + "." * 5)
    assert lane.windows == []
    lane.lines("." * 5)  # the last place is 49, read out at 50 ms; five more may be unseen
    assert lane.due == {1: (50 + 99 - 49 - 5) * belt.line_ns}
    for k in range(20):  # the belt stands for 100 ms
        strip = belt.strip(".....", lane.line + 5 * k, encoder=[49] * 5)
        lane.send(StripArrived(strip), strip.captured_ns)
    assert lane.due == {1: (150 + 99 - 49 - 5) * belt.line_ns}
    lane.send(Tick(), lane.due[1])
    assert lane.decisions == []
    lane.send(Tick(), lane.due[1] + 5 * belt.line_ns)
    assert lane.decisions[0].late


def test_the_bag_limit_is_a_deadline_too(belt) -> None:
    lane = Driven(belt, deadline_counts=10**6)
    lane.lines(AIR + "#" * 20 + AIR)
    assert lane.due == {1: 25 * belt.line_ns + 10**9}  # begun with the strip of 25 ms


def test_a_window_that_no_time_was_left_for_is_a_timeout_before_the_deadline(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 60 + AIR)
    first, second, third = lane.windows
    lane.send(WindowDone(1, first.index, NOTHING))
    lane.send(WindowDone(1, second.index, NOTHING, "quick"))
    lane.send(WindowFailed(1, third.index, "skipped", Reason.TIMEOUT))
    (decision,) = lane.decisions
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.TIMEOUT)
    assert (decision.late, decision.ladder) == (False, ("full", "quick", "skipped"))
    assert "window-skipped" in [note.kind for note in lane.notes]


def test_a_failed_window_is_not_cleared(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    lane.send(WindowFailed(1, 0, "out of memory"))
    assert lane.decisions[0].reason is Reason.ENGINE_FAILED
    assert "out of memory" in [n.fields.get("error") for n in lane.notes]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_a_failed_engine(belt, bad) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20 + AIR)
    lane.answer(belt.found(bad))
    assert lane.decisions[0].reason is Reason.ENGINE_FAILED


def test_what_was_found_still_alarms_on_a_flagged_scan(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 50 + AIR)
    lane.send(WindowDone(1, 0, belt.found(0.9)))
    lane.send(WindowFailed(1, 1, "gone"))
    lane.send(WindowFailed(1, 2, "gone"))
    (decision,) = lane.decisions
    assert (decision.verdict, decision.reason) == (Verdict.ALARM, Reason.NONE)
    assert decision.reasons == {Reason.ENGINE_FAILED}


def test_unasked_and_repeated_answers_change_nothing(belt) -> None:
    lane = Driven(belt)
    lane.send(WindowDone(7, 0, belt.found(0.9)))
    lane.lines(AIR + "#" * 50 + AIR)
    for _ in range(2):
        lane.send(WindowDone(1, 0, NOTHING))
    assert lane.decisions == []
    assert [n.kind for n in lane.notes].count("answer-unasked") == 2


def bad_strip(belt, kind, first, marks):
    if kind == "damaged":
        return belt.strip(marks, first, intact=False)
    if kind == "wrong width":
        return belt.strip(marks, first, elements=belt.elements + 1)
    if kind == "repeated":
        return belt.strip(marks, first - 5)
    assert kind == "reversed"
    return belt.strip(marks, first, encoder=range(first - 20, first - 15))


@pytest.mark.parametrize("kind", ["damaged", "wrong width", "repeated", "reversed"])
def test_a_bad_strip_flags_the_bag_counts_the_lines_and_the_lane_goes_on(belt, kind) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.send(StripArrived(bad_strip(belt, kind, lane.line, "#####")))
    lane.line += 0 if kind == "repeated" else 5
    lane.lines("#" * 10 + AIR + "#" * 10 + AIR)
    lane.answer()
    first, second = lane.decisions
    assert (first.verdict, first.reason) == (Verdict.NOT_CLEARED, Reason.BAD_LINES)
    assert second.verdict is Verdict.CLEAR
    assert lane.core.ledger.refused_lines == {Refusal(kind): 5}
    assert lane.core.ledger.missing_lines == 0


def test_missing_lines_leave_the_bag_incomplete(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.line += 4
    lane.lines("#" * 10 + AIR)
    lane.answer()
    assert lane.decisions[0].reason is Reason.INCOMPLETE_SCAN
    assert lane.core.ledger.missing_lines == 4


def test_lines_lost_to_a_full_queue_are_an_overload(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.send(LinesLost(5, Refusal.QUEUE_FULL))
    lane.line += 5
    lane.lines("#" * 10 + AIR)
    lane.answer()
    assert lane.decisions[0].reason is Reason.OVERLOAD
    assert lane.core.ledger.missing_lines == 0
    assert lane.core.ledger.refused_lines == {Refusal.QUEUE_FULL: 5}


def test_a_source_that_ends_in_a_bag_leaves_it_incomplete(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.send(SourceEnded())
    assert not lane.core.done
    lane.answer()
    assert lane.decisions[0].reason is Reason.INCOMPLETE_SCAN
    assert lane.core.done


def test_too_many_open_bags_are_an_overload_and_keep_their_order(belt) -> None:
    lane = Driven(belt, max_open_bags=2, deadline_counts=10_000)
    for _ in range(3):
        lane.lines("." * 10 + "#" * 10)
    lane.lines(AIR)
    assert lane.decisions == []
    lane.answer()
    assert [d.bag for d in lane.decisions] == [1, 2, 3]
    assert [d.reason for d in lane.decisions] == [Reason.NONE, Reason.NONE, Reason.OVERLOAD]
    assert lane.scans[2] is None


def test_too_many_windows_are_an_overload(belt) -> None:
    lane = Driven(belt, max_queued_windows=2)
    lane.lines(AIR + "#" * 80 + AIR)
    assert len(lane.windows) == 2
    lane.answer()
    assert lane.decisions[0].reason is Reason.OVERLOAD


def test_a_later_bag_waits_for_the_earlier_one(belt) -> None:
    lane = Driven(belt, deadline_counts=10_000)
    lane.lines(AIR + "#" * 10 + AIR + "#" * 10 + AIR)
    first, second = lane.windows
    lane.send(WindowDone(second.bag, second.index, NOTHING))
    assert lane.decisions == []
    lane.send(WindowDone(first.bag, first.index, NOTHING))
    assert [d.bag for d in lane.decisions] == [1, 2]


def test_of_several_reasons_the_worst_is_given_and_all_are_kept(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.line += 4
    lane.lines("#" * 10 + AIR)
    lane.send(WindowFailed(1, 0, "gone"))
    lane.send(WindowFailed(1, 1, "gone"))
    (decision,) = lane.decisions
    assert decision.reason is Reason.ENGINE_FAILED
    assert decision.reasons == {Reason.ENGINE_FAILED, Reason.INCOMPLETE_SCAN}


def test_a_failing_detector_flags_its_bags(belt) -> None:
    """Elements 1, 2, 4, 5 are dead; then 3 fails as well, and nothing can bridge five."""
    lane = Driven(belt)
    flat = belt.flat_field
    dead = flat.dead.copy()
    dead[:, [1, 2, 4, 5]] = True
    lane.core = LaneCore(type(flat)(flat.offset, flat.gain, dead), belt.config())
    marks = "." * 30 + "#" * 20 + AIR
    for k in range(0, len(marks), 5):
        strip = belt.strip(marks[k : k + 5], k)
        strip.low[:, 3] = 100
        lane.send(StripArrived(strip), strip.captured_ns)
    lane.answer()
    # Until the fault was known, its shadow passed for a bag: that one is not cleared either.
    assert Verdict.CLEAR not in [d.verdict for d in lane.decisions]
    assert lane.decisions[-1].reason is Reason.DETECTOR_FAULT


def test_a_bag_that_ends_in_the_strip_that_shows_the_fault_is_flagged(belt) -> None:
    """Element 3 fails behind the bag, in the strip that also holds the air that ends it."""
    lane = Driven(belt)
    flat = belt.flat_field
    dead = flat.dead.copy()
    dead[:, [1, 2, 4, 5]] = True
    lane.core = LaneCore(type(flat)(flat.offset, flat.gain, dead), belt.config())
    lane.lines(AIR + "#" * 20)
    strip = belt.strip(AIR, lane.line)
    strip.low[:, 3] = 100
    lane.send(StripArrived(strip), strip.captured_ns)
    lane.answer()
    assert [d.reason for d in lane.decisions] == [Reason.DETECTOR_FAULT]
