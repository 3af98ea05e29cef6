"""Lanes that share an engine, and what they do when time runs short."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError, LaneError
from xedge.lane import Belt, Rung, run_lane, run_lanes
from xedge.lane.clock import VirtualClock
from xedge.lane.ladder import as_recorded
from xedge.types import Detections, Reason, Verdict

AIR = "." * 20
MS = 1_000_000
NOTHING = Detections.empty()


def taking(clock, duration_ms, found=NOTHING):
    def screen(planes):
        clock.sleep_ns(duration_ms * MS)
        return found

    return screen


def hurried(belt, *, quick=NOTHING, **changes):
    """Two bags a window each; the engine stalls at the first, so the second has little time.

    Bag 1: matter 20..29, begun with the strip of 25 ms, ended by that of 40, due by 90 - 5 ms.
    Bag 2: matter 40..49, ended by the strip of 60 ms, due by 110 - 5 ms.
    """
    clock = VirtualClock()
    left = [45, 45, 45]  # the first ends at 85

    def full(planes):
        clock.sleep_ns(left.pop(0) * MS)
        return NOTHING

    return run_lane(
        belt.strips(AIR + "#" * 10 + "." * 10 + "#" * 10 + "." * 40), full, belt.flat_field,
        belt.config(**changes), clock=clock, fallbacks=[Rung("quick", taking(clock, 5, quick))],
    )  # fmt: skip


def test_a_bag_without_time_is_screened_by_the_lower_rung_and_says_so(belt) -> None:
    report = hurried(belt)
    first, second = report.decisions
    assert (first.verdict, first.ladder) == (Verdict.CLEAR, ("full",))
    assert (second.verdict, second.reason) == (Verdict.NOT_CLEARED, Reason.TIMEOUT)
    assert (second.late, second.ladder) == (False, ("quick",))
    assert report.to_dict()["ladder"] == {"full": 1, "quick": 1}
    assert report.to_dict()["degraded"] == 1


def test_a_lower_rung_alarms_and_clears_only_where_that_is_allowed(belt) -> None:
    report = hurried(belt, quick=belt.found(0.9))
    assert report.decisions[1].verdict is Verdict.ALARM
    assert report.decisions[1].reasons == {Reason.TIMEOUT}
    report = hurried(belt, clear_by=("full", "quick"))
    assert report.decisions[1].verdict is Verdict.CLEAR
    assert report.decisions[1].ladder == ("quick",)
    assert report.tally.degraded == 1


@pytest.mark.parametrize("clear_by", [(), ("quick",), ("full", "")])
def test_the_full_model_may_always_clear(belt, clear_by) -> None:
    with pytest.raises(ConfigError, match="clear_by"):
        belt.config(clear_by=clear_by)


def test_recorded_rungs_are_repeated_by_an_engine_that_has_all_the_time(belt) -> None:
    recorded = hurried(belt)
    clock = VirtualClock()
    repeated = run_lane(
        belt.strips(AIR + "#" * 10 + "." * 10 + "#" * 10 + "." * 40), taking(clock, 0),
        belt.flat_field, belt.config(), clock=clock,
        fallbacks=[Rung("quick", taking(clock, 0))],
        choose=as_recorded({d.bag: d.ladder for d in recorded.decisions}, ("full", "quick")),
    )  # fmt: skip
    assert [(d.verdict, d.reasons, d.ladder) for d in repeated.decisions] == [
        (d.verdict, d.reasons, d.ladder) for d in recorded.decisions
    ]


def two_belts(belt, clock, patient_deadline):
    """On both a bag of three windows, on the second one a little later; windows take 20 ms."""
    marks = "#" * 60 + "." * 120
    lanes = [
        Belt(source=belt.strips(AIR + marks), flat_field=belt.flat_field,
             config=belt.config(deadline_counts=patient_deadline)),
        Belt(source=belt.strips(AIR + "....." + marks), flat_field=belt.flat_field,
             config=belt.config(deadline_counts=75)),
    ]  # fmt: skip
    return run_lanes(lanes, taking(clock, 20), clock=clock)


def test_in_compressed_time_the_earlier_deadline_goes_first(belt) -> None:
    # The engine has six windows of 20 ms to do, most of them after both bags are scanned.
    patient, urgent = two_belts(belt, VirtualClock(), 1000)
    assert [d.verdict for d in patient.decisions + urgent.decisions] == [Verdict.CLEAR] * 2
    done = [r.decisions[0].latency_ns for r in (patient, urgent)]
    assert done[0] > done[1]
    # With equal deadlines the first belt's bag, which ends earlier, goes first.
    first, second = two_belts(belt, VirtualClock(), 75)
    assert first.decisions[0].latency_ns < done[0]
    assert first.decisions[0].latency_ns < second.decisions[0].latency_ns


@pytest.mark.parametrize("deadline", [60, 90, 130])
def test_overloaded_lanes_share_what_the_engine_can_do(belt, deadline) -> None:
    """Two belts in step, 5 ms apart, a bag every 30 ms on each; a window takes 25 ms.

    From the first bag's end at 50 ms to the last deadline the engine has time for 48 windows and
    more, of 80 that are asked for.
    """
    clock = VirtualClock()
    marks = ("#" * 20 + "." * 10) * 40 + "." * 200
    reports = run_lanes(
        [
            Belt(source=belt.strips(AIR + "." * 5 * lane + marks), flat_field=belt.flat_field,
                 config=belt.config(deadline_counts=deadline))
            for lane in range(2)
        ],
        taking(clock, 25),
        clock=clock,
    )  # fmt: skip
    for report in reports:
        assert report.ledger.bags_in == len(report.decisions) == 40
        # Neither starves the other, and no time goes to bags that are lost (else it is 10).
        assert report.count(Verdict.CLEAR) >= 23
        assert report.ledger.balanced


def test_in_real_time_lanes_share_an_engine_that_is_used_by_one_at_a_time(belt) -> None:
    inside, most, calls = threading.Lock(), [], []

    def screen(planes):
        most.append(inside.acquire(blocking=False))
        threading.Event().wait(0.002)
        inside.release()
        calls.append(threading.current_thread().name)
        return belt.found(0.9) if planes.shape[1] == 16 else NOTHING

    config = belt.config(deadline_counts=1_000_000, bag_limit_s=120.0)
    marks = (AIR + "#" * 20 + AIR + "#" * 45) * 2 + AIR
    seen: list[list[int]] = [[], [], []]
    reports = run_lanes(
        [
            Belt(source=belt.strips(marks), flat_field=belt.flat_field, config=config,
                 on_decision=lambda d, scan, lane=lane: lane.append(d.bag))
            for lane in seen
        ],
        screen,
        realtime=True,
    )  # fmt: skip
    assert all(most)
    assert set(calls) == {"xedge-engine"}
    for report, lane in zip(reports, seen, strict=True):
        assert report.ledger.balanced
        assert lane == [d.bag for d in report.decisions] == [1, 2, 3, 4]
        assert [d.verdict for d in report.decisions] == [
            Verdict.CLEAR, Verdict.ALARM, Verdict.CLEAR, Verdict.ALARM,
        ]  # fmt: skip


@pytest.mark.parametrize("realtime", [False, True])
@pytest.mark.parametrize("who", [0, 1])
def test_what_interrupts_one_lane_leaves_no_bag_of_any_undecided(belt, realtime, who) -> None:
    scanned = threading.Event()
    decided = [[], []]

    def source(lane):
        yield from belt.strips(AIR + "#" * 20)
        if lane == who:
            scanned.wait(0.05 if realtime else 0)
            raise KeyboardInterrupt
        yield from belt.strips(AIR + "#" * 20)[8:]

    def on_decision(lane):
        def publish(decision, scan):
            decided[lane].append(decision)
            if lane == who and realtime:
                raise KeyboardInterrupt

        return publish

    def belts():
        for lane in range(2):
            strips = source(lane) if not realtime else belt.strips(AIR + "#" * 20 + AIR)
            yield Belt(source=strips, flat_field=belt.flat_field, on_decision=on_decision(lane),
                       config=belt.config(deadline_counts=10**6, bag_limit_s=60))  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run_lanes(
            list(belts()), lambda planes: NOTHING, realtime=realtime,
            clock=None if realtime else VirtualClock(),
        )  # fmt: skip
    assert [[d.bag for d in lane] for lane in decided] == [[1], [1]]


def test_lanes_without_something_to_screen_with_are_refused(belt) -> None:
    with pytest.raises(LaneError, match="detect_window"):
        run_lanes([], object())
    assert run_lanes([], lambda planes: NOTHING) == ()


BELTS = st.lists(
    st.tuples(st.sampled_from("..##"), st.integers(1, 40)), min_size=1, max_size=10
).map(lambda runs: "." * 20 + "".join(mark * n for mark, n in runs) + "." * 10)  # fmt: skip


@settings(max_examples=60)
@given(marks=st.lists(BELTS, min_size=1, max_size=3), data=st.data())
def test_whatever_the_engine_does_every_lane_keeps_its_promises(belt, marks, data) -> None:
    clock = VirtualClock()
    outcomes = st.sampled_from(["clear"] * 5 + ["alarm", "nan", "fail"])

    def rung(slowest_ms):
        def screen(planes):
            clock.sleep_ns(data.draw(st.integers(0, slowest_ms)) * MS)
            kind = data.draw(outcomes)
            if kind == "fail":
                raise RuntimeError("trouble")
            return belt.found({"alarm": 0.9, "nan": np.nan}.get(kind, 0.1))

        return screen

    clear_by = data.draw(st.sampled_from([("full",), ("full", "quick"), ("full", "small")]))
    deadline = data.draw(st.sampled_from([20, 60, 200]))
    config = belt.config(deadline_counts=deadline, clear_by=clear_by)
    seen: list[list] = [[] for _ in marks]
    reports = run_lanes(
        [
            Belt(source=belt.strips(one), flat_field=belt.flat_field, config=config,
                 on_decision=lambda d, scan, lane=lane: lane.append(d))
            for one, lane in zip(marks, seen, strict=True)
        ],
        rung(120),
        clock=clock,
        fallbacks=[Rung("quick", rung(30)), Rung("small", rung(10))],
    )  # fmt: skip
    for report, lane in zip(reports, seen, strict=True):
        ledger = report.ledger
        assert ledger.balanced
        assert ledger.open_bags == ledger.held_lines == 0
        assert tuple(lane) == report.decisions
        assert [d.bag for d in lane] == list(range(1, ledger.bags_in + 1))
        for d in lane:
            if d.verdict is Verdict.CLEAR:
                assert not d.late
                assert not d.reasons
                assert d.ladder
                assert set(d.ladder) <= set(clear_by)
                # A count a millisecond; nothing but the engine takes time here.
                assert d.latency_ns < deadline * MS
            if d.verdict is Verdict.NOT_CLEARED:
                assert d.reason in d.reasons
