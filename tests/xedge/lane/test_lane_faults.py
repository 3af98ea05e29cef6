"""The lane's promises under the shipped faults, at moments that hypothesis draws, and shrinks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.lane import run_lane
from xedge.lane.clock import VirtualClock
from xedge.sim.faults import ENGINE_FAULTS, LINE_FAULTS, FaultyScreen, Severity, Tape
from xedge.types import Detections, Reason, Verdict

BELTS = st.lists(
    st.tuples(st.sampled_from("..##"), st.integers(1, 40)), min_size=1, max_size=14
).map(lambda runs: "." * 20 + "".join(mark * n for mark, n in runs) + "." * 20)  # fmt: skip

SCHEDULES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from(sorted(LINE_FAULTS)), st.integers(0, 3)),
    max_size=4,
)
"""Strips to wait for, what happens then, and the seed of what it draws."""

ENGINES = st.lists(st.sampled_from(["", "", "", *ENGINE_FAULTS]), max_size=8)
"""What befalls each window in turn; nothing befalls those behind."""

SEVERITY = Severity(stuck_s=0.12, step_s=3.0, slow_s=0.1, hung_s=1.5, dead_lines=30)

LOST = {"dropped", "corrupted", "wrong-width", "restarted"}
"""Every line of their touch is lost; of the others, what lies between its ends."""

LEFT_OUT = {"encoder-jump", "encoder-stuck", "encoder-dead"}

SLIP = 4
"""Counts from one line to the next that the intake puts up with, in lines: a belt slips."""

FAILS = {"engine-crash", "engine-nan", "engine-nonsense"}


def struck(tape: Tape, schedule):
    for wait, name, seed in schedule:
        yield from tape.take_some(wait)
        yield from LINE_FAULTS[name].strike(tape, np.random.default_rng(seed))
    while (strip := tape.take()) is not None:
        yield strip


class Engine:
    """Finds nothing, but for what befalls it, call by call."""

    def __init__(self, befalls, clock: VirtualClock) -> None:
        self.befalls = list(befalls)
        self.happened: list[str] = []
        self.screen = FaultyScreen(
            lambda planes: Detections.empty(), lambda s: clock.sleep_ns(round(s * 1e9)), SEVERITY
        )

    def __call__(self, planes):
        if self.befalls and (name := self.befalls.pop(0)):
            self.happened.append(name)
            self.screen.arm(ENGINE_FAULTS[name])
        return self.screen(planes)


@settings(max_examples=150)
@given(marks=BELTS, size=st.integers(1, 12), schedule=SCHEDULES, befalls=ENGINES)
def test_no_schedule_of_faults_breaks_a_promise(belt, marks, size, schedule, befalls) -> None:
    clock = VirtualClock()
    tape = Tape(belt.strips(marks, size), 1.0, SEVERITY)
    engine = Engine(befalls, clock)
    given_lines = 0

    def counted():
        nonlocal given_lines
        for strip in struck(tape, schedule):
            given_lines += len(strip)
            yield strip

    report = run_lane(counted(), engine, belt.flat_field, belt.config(), clock=clock)
    ledger, decisions = report.ledger, report.decisions
    assert ledger.balanced
    assert (ledger.open_bags, ledger.held_lines) == (0, 0)
    assert ledger.lines_in == given_lines
    assert [d.bag for d in decisions] == list(range(1, ledger.bags_in + 1))
    for decision in decisions:
        cleared = decision.verdict is Verdict.CLEAR
        assert not (cleared and (decision.late or decision.reasons))
        assert (decision.verdict is Verdict.NOT_CLEARED) == (decision.reason is not Reason.NONE)
        assert decision.encoder_head <= decision.encoder_tail
        if cleared:
            check_clear(decision, tape.touches)
    if FAILS & set(engine.happened):
        assert any(Reason.ENGINE_FAILED in d.reasons or d.late for d in decisions)
    if all(wait >= 3 for wait, _, _ in schedule):  # else one fault may hide another's lines
        assert ledger.missing_lines == tape.expected.missing
        assert ledger.refused_lines == {c: n for c, n in tape.expected.refused.items() if n}


def check_clear(decision, touches) -> None:
    head, tail = decision.encoder_head, decision.encoder_tail
    for touch in touches:
        if touch.fault in LOST:
            assert touch.head > tail or touch.tail < head, touch
        if touch.fault in LEFT_OUT and touch.tail - touch.head > SLIP:
            assert touch.head > tail or touch.tail <= head, touch


@settings(max_examples=60)
@given(marks=BELTS, size=st.integers(1, 12), schedule=SCHEDULES)
def test_on_the_virtual_clock_a_run_can_be_repeated(belt, marks, size, schedule) -> None:
    def decisions():
        tape = Tape(belt.strips(marks, size), 1.0, SEVERITY)
        report = run_lane(struck(tape, schedule), lambda planes: belt.found(0.1),
                          belt.flat_field, belt.config(), clock=VirtualClock())  # fmt: skip
        return [
            (d.bag, d.verdict, d.reasons, d.encoder_head, d.encoder_tail, d.latency_ns)
            for d in report.decisions
        ]

    assert decisions() == decisions()
