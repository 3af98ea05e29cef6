"""The lane's promises, for any belt and any trouble: one decision a bag, in order, none false."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.lane import run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.core import LaneCore
from xedge.lane.events import (
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

BELTS = st.lists(
    st.tuples(st.sampled_from("..##"), st.integers(1, 40)), min_size=1, max_size=14
).map(lambda runs: "." * 20 + "".join(mark * n for mark, n in runs) + "." * 10)  # fmt: skip

TROUBLES = st.sampled_from(
    ["", "", "", "", "drop", "repeat", "swap", "width", "damage", "stand", "back", "jump", "queue"]
)
ANSWERS = st.sampled_from(["clear"] * 4 + ["twice"] * 2 + ["alarm", "nan", "inf", "fail", "never"])


def troubled(belt, marks, data):
    """Strips of the belt with troubles in between, and the places on the belt that they spoil."""
    events: list[Strip | LinesLost] = []
    wounds: list[tuple[int, int]] = []
    shift = 0
    calm = data.draw(st.booleans(), label="calm")
    for strip in belt.strips(marks, data.draw(st.integers(1, 12), label="size")):
        kind = "" if calm else data.draw(TROUBLES)
        n, first = len(strip), strip.first_line
        places = strip.encoder + shift
        strip = Strip(first, places, strip.low, strip.high, strip.captured_ns)
        wound = (int(places[0]), int(places[-1]) + 1)
        if kind == "drop":
            wounds.append(wound)
            continue
        if kind == "repeat" and events and isinstance(events[-1], Strip):
            events.append(events[-1])
        if kind == "width":
            wounds.append(wound)
            wide = np.zeros((n, belt.elements + 3), np.uint16)
            strip = Strip(first, places, wide, wide, strip.captured_ns)
        elif kind == "damage":
            wounds.append(wound)
            noise = np.full_like(strip.low, 60_000)
            strip = Strip(first, places, noise, noise, strip.captured_ns, intact=False)
        elif kind == "stand":
            still = np.full_like(places, places[0] - 1)
            strip = Strip(first, still, strip.low, strip.high, strip.captured_ns)
            shift -= n
        elif kind == "back":
            strip = Strip(first, places[::-1].copy(), strip.low, strip.high, strip.captured_ns)
        elif kind == "jump":
            wounds.append((wound[1], wound[1] + 50))
            shift += 50
        elif kind == "queue":
            wounds.append(wound)
            events.append(LinesLost(n, Refusal.QUEUE_FULL))
            continue
        events.append(strip)
        if kind == "swap" and len(events) > 1:
            events[-1], events[-2] = events[-2], events[-1]
    return events, wounds


class Watched:
    """Drives a core and holds every decision against the lane's promises as it is made."""

    def __init__(self, belt, config, wounds):
        self.config = config
        self.wounds = wounds
        self.core = LaneCore(belt.flat_field, config)
        self.now_ns = 0
        self.lines = 0
        self.windows: deque[RunWindow] = deque()
        self.decisions = []
        self.begun: dict[int, int] = {}
        self.spoiled: set[int] = set()

    def send(self, event) -> None:
        for action in self.core.handle(event, self.now_ns):
            if isinstance(action, Emit):
                self.check(action)
            elif isinstance(action, RunWindow):
                self.windows.append(action)
            elif isinstance(action, Note) and action.kind == "bag-begun":
                self.begun[action.fields["bag"]] = self.now_ns
        ledger = self.core.ledger
        assert ledger.balanced, ledger
        assert ledger.lines_in == self.lines
        assert ledger.open_bags <= ledger.bags_in
        assert len(self.windows) <= self.config.max_queued_windows

    def check(self, emit: Emit) -> None:
        decision = emit.decision
        self.decisions.append(decision)
        assert decision.bag == len(self.decisions)
        if decision.verdict is Verdict.CLEAR:
            assert not decision.reasons
            assert not decision.late
            assert decision.bag not in self.spoiled
            assert decision.bag not in [w.bag for w in self.windows], "not all was looked at"
            head, tail = decision.encoder_head, decision.encoder_tail
            assert all(hi <= head or lo > tail for lo, hi in self.wounds)
            assert self.now_ns - self.begun[decision.bag] < self.config.bag_limit_ns
            reached = self.core._intake.encoder
            assert reached is not None
            assert reached < decision.encoder_tail + self.config.deadline_counts
        if decision.late:
            assert decision.reason is Reason.TIMEOUT
        if decision.verdict is Verdict.NOT_CLEARED:
            assert decision.reason is not Reason.NONE
            assert decision.reason in decision.reasons
        else:
            assert decision.reason is Reason.NONE
        if emit.scan is not None and len(emit.scan.encoder):
            assert (np.diff(emit.scan.encoder) > 0).all()
            assert emit.scan.encoder[0] == decision.encoder_head


def reply(lane: Watched, belt, data) -> None:
    window = lane.windows.popleft()
    kind = data.draw(ANSWERS)
    bag, index = window.bag, window.index
    if kind in ("nan", "inf", "fail"):
        lane.spoiled.add(bag)
    if kind == "fail":
        lane.send(WindowFailed(bag, index, "trouble"))
    elif kind == "never":
        lane.spoiled.add(bag)
    else:
        score = {"alarm": 0.9, "nan": np.nan, "inf": np.inf}.get(kind)
        found = Detections.empty() if score is None else belt.found(score)
        for _ in range(2 if kind == "twice" else 1):
            lane.send(WindowDone(bag, index, found))


@settings(max_examples=150)
@given(marks=BELTS, data=st.data())
def test_whatever_happens_every_bag_gets_its_one_decision(belt, marks, data) -> None:
    config = belt.config(
        max_open_bags=data.draw(st.integers(1, 4)),
        max_queued_windows=data.draw(st.integers(1, 5)),
        deadline_counts=data.draw(st.sampled_from([8, 30, 200, 5000])),
    )
    events, wounds = troubled(belt, marks, data)
    lane = Watched(belt, config, wounds)
    for event in events:
        lane.now_ns += data.draw(st.sampled_from([1, 5, 5, 5, 5, 5, 5, 900])) * belt.line_ns
        if isinstance(event, Strip):
            lane.lines += len(event)
            lane.send(StripArrived(event))
        else:
            lane.lines += event.lines
            lane.send(event)
        while lane.windows and data.draw(st.booleans()):
            reply(lane, belt, data)
        if data.draw(st.integers(0, 9)) == 0:
            lane.send(Tick())
    lane.send(SourceEnded())
    while lane.windows:
        reply(lane, belt, data)
    while (wake_ns := lane.core.next_wake_ns) is not None:
        lane.now_ns = max(lane.now_ns, wake_ns)
        lane.send(Tick())
    ledger = lane.core.ledger
    assert lane.core.done
    assert ledger.bags_in == ledger.decisions == len(lane.decisions)
    assert ledger.open_bags == ledger.held_lines == 0


@settings(max_examples=100)
@given(marks=BELTS, data=st.data())
def test_a_lane_in_compressed_time_keeps_the_same_promises(belt, marks, data) -> None:
    clock = VirtualClock()
    strips = [e for e in troubled(belt, marks, data)[0] if isinstance(e, Strip)]
    slow_ms = data.draw(st.sampled_from([0, 5, 40, 400]))

    def screen(planes):
        clock.sleep_ns(slow_ms * 1_000_000)
        kind = data.draw(ANSWERS)
        if kind == "fail":
            raise RuntimeError("trouble")
        if kind == "never":
            return "not detections"
        return belt.found({"alarm": 0.9, "nan": np.nan}.get(kind, 0.1))

    seen = []
    report = run_lane(
        strips,
        screen,
        belt.flat_field,
        belt.config(),
        clock=clock,
        on_decision=lambda decision, scan: seen.append(decision),
    )
    assert report.ledger.balanced
    assert report.ledger.lines_in == sum(map(len, strips))
    assert [d.bag for d in report.decisions] == list(range(1, report.ledger.bags_in + 1))
    assert tuple(seen) == report.decisions
    assert report.ledger.held_lines == report.ledger.open_bags == 0
    for decision in report.decisions:
        assert decision.verdict is not Verdict.CLEAR or not (decision.late or decision.reasons)


@settings(max_examples=100)
@given(marks=BELTS, sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_decisions_do_not_depend_on_the_packing_into_strips(belt, marks, sizes) -> None:
    """On a sound belt with an engine that takes no time."""

    def decisions(strips):
        report = run_lane(
            strips,
            lambda planes: belt.found(0.9 if planes.shape[1] > 20 else 0.1),
            belt.flat_field,
            belt.config(deadline_counts=10_000),
            clock=VirtualClock(),
        )
        return [
            (d.bag, d.verdict, d.reasons, d.encoder_head, d.encoder_tail,
             d.detections.boxes.tolist()) for d in report.decisions
        ]  # fmt: skip

    packed, at, k = [], 0, 0
    while at < len(marks):
        size = sizes[k % len(sizes)]
        packed.append(belt.strip(marks[at : at + size], at))
        at, k = at + size, k + 1
    assert decisions(packed) == decisions(belt.strips(marks, 1))
