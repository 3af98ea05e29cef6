"""Belts that stop, slow down, run back and come again: lines are placed by encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xedge.lane.test_lane_core import Driven
from xedge.errors import ConfigError
from xedge.lane import run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.core import LaneCore
from xedge.lane.events import BeltRunning, SourceEnded, StripArrived, Tick
from xedge.scanner.intake import Refusal
from xedge.types import Detections, Reason, Strip, Verdict

AIR = "." * 20
MS = 1_000_000
NOTHING = Detections.empty()


class MovedBelt(Driven):
    """A belt that is moved to and fro; what the beam sees depends on the place alone."""

    def __init__(self, belt, marks, **changes):
        super().__init__(belt, **changes)
        self.marks, self.place, self.raw = marks, -1, lambda place: place

    def move(self, to, size=5, *, marks=None, said=lambda place: place):
        """Line by line to a place; ``said`` is what the encoder makes of it."""
        step = 1 if to > self.place else -1
        places = list(range(self.place + step, to + step, step))
        seen = marks or self.marks
        for k in range(0, len(places), size):
            part = places[k : k + size]
            text = "".join(seen[p] if 0 <= p < len(seen) else "." for p in part)
            encoder = [self.raw(said(p)) for p in part]
            strip = self.belt.strip(text, self.line, encoder=encoder)
            self.line += len(part)
            self.send(StripArrived(strip), strip.captured_ns)
        self.place = to


@pytest.mark.parametrize(
    ("turn", "back_to"),
    [(25, 22), (25, 2), (39, 35), (39, 22), (39, 2), (43, 35), (43, 22), (43, 2)],
)
def test_a_bag_that_runs_back_and_comes_again_is_scanned_once(belt, back_to, turn) -> None:
    marks = AIR + "#" * 20 + AIR
    straight = MovedBelt(belt, marks)
    straight.move(59)
    lane = MovedBelt(belt, marks, deadline_counts=1000)
    lane.move(turn)
    lane.move(back_to)
    lane.move(59)
    straight.answer()
    lane.answer()
    (decision,), (scan,) = lane.decisions, lane.scans
    assert (decision.verdict, decision.reasons) == (Verdict.CLEAR, frozenset())
    assert scan.low.tobytes() == straight.scans[0].low.tobytes()
    assert scan.encoder.tolist() == straight.scans[0].encoder.tolist()
    refused = lane.core.ledger.refused_lines
    # Back over turn-1 .. back_to, then forward over back_to+1 .. turn, which was the last place.
    assert sum(refused.values()) == 2 * (turn - back_to)
    assert set(refused) <= {Refusal.RESCANNED, Refusal.STANDING}


def test_a_bag_put_on_a_belt_that_was_run_back_is_not_passed_over(belt) -> None:
    lane = MovedBelt(belt, AIR + "#" * 10 + "." * 80, deadline_counts=1000)
    lane.move(90)
    lane.answer()
    assert [d.verdict for d in lane.decisions] == [Verdict.CLEAR]
    lane.move(35)
    smuggled = AIR + "#" * 10 + "." * 20 + "#" * 8 + "." * 40
    lane.move(100, marks=smuggled)
    (_, strange) = lane.decisions
    assert (strange.bag, strange.verdict, strange.reason) == (
        2, Verdict.NOT_CLEARED, Reason.BELT_REVERSED,
    )  # fmt: skip
    assert 50 <= strange.encoder_head < 58
    assert lane.scans[1] is None
    # The belt goes on: the next bag has the next number.
    lane.move(200, marks="." * 120 + "#" * 20 + "." * 60)
    lane.answer()
    assert [(d.bag, d.verdict) for d in lane.decisions[2:]] == [(3, Verdict.CLEAR)]


def test_a_bag_that_was_moved_while_the_belt_ran_back_is_not_cleared(belt) -> None:
    lane = MovedBelt(belt, AIR + "#" * 20 + "." * 40, deadline_counts=1000)
    lane.move(33)
    lane.move(15)
    # Six lines further on the belt: what was scanned fits no more.
    lane.move(80, marks="." * 26 + "#" * 20 + "." * 40)
    lane.answer()
    assert lane.decisions[0].verdict is Verdict.NOT_CLEARED
    assert Reason.BELT_REVERSED in lane.decisions[0].reasons


@pytest.mark.parametrize("at", [10, 25, 45])
def test_an_encoder_that_counts_back_on_a_belt_that_runs_on_hides_no_bag(belt, at) -> None:
    """For 30 lines it counts down; then it counts up again, 60 counts behind the belt."""
    marks = AIR + "#" * 20 + "." * 10 + "##........" * 1 + "#" * 15 + AIR * 6
    lane = MovedBelt(belt, marks, deadline_counts=1000)
    lane.move(at)
    lane.move(at + 30, said=lambda place: 2 * at - place)
    lane.move(180, said=lambda place: place - 60)
    lane.send(SourceEnded())
    lane.answer()
    assert lane.decisions
    assert Verdict.CLEAR not in [d.verdict for d in lane.decisions if d.encoder_tail > at]
    assert Reason.BELT_REVERSED in {r for d in lane.decisions for r in d.reasons}


@pytest.mark.parametrize("kind", ["damaged", "lost"])
def test_lines_that_are_lost_while_the_belt_comes_again_flag_the_bag(belt, kind) -> None:
    """Nobody knows where they were: perhaps past the furthest place."""
    lane = MovedBelt(belt, AIR + "#" * 20 + "." * 40, deadline_counts=1000)
    lane.move(33)
    lane.move(28)
    if kind == "damaged":
        strip = belt.strip("#" * 10, lane.line, intact=False)
        lane.send(StripArrived(strip), strip.captured_ns)
    lane.line += 10
    lane.place = 38
    lane.move(79)
    lane.answer()
    (decision,) = lane.decisions
    assert decision.verdict is Verdict.NOT_CLEARED
    wanted = Reason.BAD_LINES if kind == "damaged" else Reason.INCOMPLETE_SCAN
    assert wanted in decision.reasons


def test_a_belt_that_runs_back_stops_the_encoder_s_clock_of_a_waiting_bag(belt) -> None:
    lane = MovedBelt(belt, AIR + "#" * 20 + "." * 100)
    lane.move(49)
    lane.move(0)
    lane.move(49)  # 98 ms later the belt is where it was; the deadline is at 99
    lane.answer()
    assert lane.decisions[0].verdict is Verdict.CLEAR


@pytest.mark.parametrize("start", [0, 2**31 - 40, 2**32 - 40, -(2**31) + 40])
@pytest.mark.parametrize("direction", [1, -1])
def test_encoders_that_count_down_or_wrap_give_the_same_decisions(belt, direction, start) -> None:
    def signed(place):
        return (start + direction * place + 2**31) % 2**32 - 2**31

    lane = MovedBelt(
        belt, AIR + "#" * 20 + AIR + "#" * 45 + AIR, direction=direction, deadline_counts=1000
    )
    lane.raw = signed
    lane.move(124)
    lane.answer()
    assert [d.verdict for d in lane.decisions] == [Verdict.CLEAR] * 2
    first = signed(0)
    for decision, (head, tail) in zip(lane.decisions, ((17, 39), (57, 104)), strict=True):
        # Counts as the encoder reads them, without the wrap between.
        assert decision.encoder_head == first + direction * head
        assert decision.encoder_tail == first + direction * tail
    (scan, _) = lane.scans
    assert (np.diff(scan.encoder) == direction).all()
    assert lane.core.ledger.refused_lines == {}
    assert lane.core.ledger.missing_lines == 0


@pytest.mark.parametrize("changes", [{"direction": 0}, {"encoder_period": 100}])
def test_belts_that_cannot_be_are_refused(belt, changes) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        belt.config(**changes)


def test_a_belt_that_is_said_to_stand_makes_no_bag_late(belt) -> None:
    lane = Driven(belt, bag_limit_s=0.2)
    lane.lines(AIR + "#" * 20 + "." * 10)
    lane.send(BeltRunning(False), 52 * MS)
    assert lane.core.next_wake_ns is None
    assert not lane.core.idle
    lane.send(Tick(), 10_000 * MS)  # no strip comes
    assert lane.decisions == []
    lane.send(BeltRunning(True), 10_000 * MS)
    # The bag began with the strip of 25 ms; 27 ms of its limit were gone when the belt stopped.
    assert lane.core.next_wake_ns == (10_000 + 200 - 27) * MS
    lane.send(Tick(), 10_040 * MS)
    assert lane.decisions == []
    lane.answer()
    assert lane.decisions[0].verdict is Verdict.CLEAR


def test_without_being_told_a_belt_that_sends_nothing_may_make_bags_late(belt) -> None:
    lane = Driven(belt, bag_limit_s=60.0)
    lane.lines(AIR + "#" * 20 + "." * 10)
    lane.send(Tick(), 10_000 * MS)
    assert lane.decisions[0].late


def test_a_belt_that_is_said_to_run_again_can_be_late(belt) -> None:
    lane = Driven(belt, bag_limit_s=60.0)
    lane.lines(AIR + "#" * 20 + "." * 10)
    for running, now_ms in ((False, 52), (False, 60), (True, 1000), (True, 1010)):
        lane.send(BeltRunning(running), now_ms * MS)
    assert [n.fields["running"] for n in lane.notes if n.kind == "belt-running"] == [0, 1]
    lane.send(Tick(), 1049 * MS)  # a count a millisecond from 49 on; 99 is too late
    assert lane.decisions == []
    lane.send(Tick(), 1050 * MS)
    assert lane.decisions[0].late


def test_lines_of_a_moving_belt_outweigh_what_is_said_of_it(belt) -> None:
    lane = Driven(belt)
    lane.lines(AIR + "#" * 20)
    lane.send(BeltRunning(False), lane.now_ns)
    lane.lines("." * 70)
    (decision,) = lane.decisions
    assert decision.late


MOVES = st.lists(st.integers(-40, 60), min_size=1, max_size=10)


@settings(max_examples=60)
@given(moves=MOVES, size=st.integers(1, 12), marks=st.text("..#", min_size=20, max_size=20))
def test_a_belt_moved_to_and_fro_gives_the_decisions_of_one_that_runs_through(
    belt, moves, size, marks
) -> None:
    """Whatever way the belt takes, its places are scanned once, and nothing is flagged."""
    belt_marks = AIR + "".join(mark * 9 for mark in marks) + AIR

    def decisions(lane):
        lane.send(SourceEnded())
        lane.answer()
        return [
            (d.bag, d.verdict, d.reasons, d.encoder_head, d.encoder_tail) for d in lane.decisions
        ], [scan.low.tobytes() for scan in lane.scans if scan is not None]

    patient = {"deadline_counts": 10_000, "bag_limit_s": 1000.0, "max_queued_windows": 1000}
    through = MovedBelt(belt, belt_marks, max_open_bags=100, **patient)
    through.move(len(belt_marks) - 1, size)
    moved = MovedBelt(belt, belt_marks, max_open_bags=100, **patient)
    for step in moves:
        to = min(max(moved.place + step, 0), len(belt_marks) - 1)
        if to != moved.place:
            moved.move(to, size)
    if moved.place < len(belt_marks) - 1:
        moved.move(len(belt_marks) - 1, size)
    assert decisions(moved) == decisions(through)


def test_a_stopped_belt_in_compressed_time_costs_nothing(belt) -> None:
    """Strips go on coming, all of one place."""
    strips = belt.strips(AIR + "#" * 20)
    still = [
        Strip(40 + 5 * k, np.full(5, 39), strips[-1].low, strips[-1].high, (45 + 5 * k) * MS)
        for k in range(20)
    ]
    rest = [
        Strip(s.first_line + 100, s.encoder, s.low, s.high, s.captured_ns + 100 * MS)
        for s in belt.strips(AIR + "#" * 20 + AIR)[8:]
    ]
    report = run_lane(
        strips + still + rest, lambda planes: NOTHING, belt.flat_field, belt.config(),
        clock=VirtualClock(),
    )  # fmt: skip
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR]
    assert report.ledger.refused_lines == {Refusal.STANDING: 100}
    assert isinstance(LaneCore(belt.flat_field, belt.config()).next_wake_ns, type(None))
