"""The thread that keeps a bus alive, on the fake bus; real buses are in the conformance suite."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import xedge.control
from xedge.control.board import PlcEvent
from xedge.control.commands import Commands, Direction
from xedge.control.fake import FakeBus, FakePlc
from xedge.control.image import IMAGE_BYTES, LaneState, decode
from xedge.control.link import MAX_EVENTS, Link, LinkConfig
from xedge.errors import ConfigError, ImageRefused, LaneError
from xedge.types import Decision, Verdict

QUICK = LinkConfig(valid_counts=3000, beat_s=0.01, poll_s=0.005, plc_limit_s=0.2,
                   retry_first_s=0.01, retry_most_s=0.04)  # fmt: skip
PATIENCE_S = 10.0


def eventually(true: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.002)


def bag(number: int, verdict: Verdict = Verdict.CLEAR) -> Decision:
    return Decision(number, verdict, encoder_head=1000 * number, encoder_tail=1000 * number + 800)


@contextmanager
def beating(plc: FakePlc, epoch: int = 5, acknowledged: int = 0) -> Iterator[Callable[[int], None]]:
    """A PLC whose heart beats in a thread; call what is yielded to acknowledge a bag."""
    stop = threading.Event()
    newest = [acknowledged]

    def beat() -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            plc.commands = Commands(
                number % 65536, number % 65536, True, Direction.FORWARD, 0, epoch, newest[0]
            ).encode()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield lambda number: newest.__setitem__(0, number)
    finally:
        stop.set()
        thread.join()


def verdicts(plc: FakePlc) -> dict[int, Verdict]:
    try:
        return {place.bag: place.verdict for place in decode(plc.image)[1] if place}
    except ImageRefused:
        return {}


def state(plc: FakePlc) -> LaneState:
    try:
        return decode(plc.image)[0].state
    except ImageRefused:
        return LaneState.DOWN


def test_decisions_arrive_stay_until_acknowledged_and_leave_with_a_farewell() -> None:
    plc, told = FakePlc(), []
    with beating(plc) as acknowledge:
        link = Link(FakeBus(plc), QUICK, 5, on_event=lambda event: told.append(event.kind))
        with link:
            link.set_state(LaneState.RUNNING)
            assert link.wait_heard(PATIENCE_S)
            link.publish(bag(1))
            link.publish(bag(2, Verdict.ALARM))
            eventually(lambda: verdicts(plc) == {1: Verdict.CLEAR, 2: Verdict.ALARM})
            acknowledge(1)
            eventually(lambda: verdicts(plc) == {2: Verdict.ALARM})
            assert link.status.failures == 0
    assert plc.image != bytes(IMAGE_BYTES)
    assert state(plc) is LaneState.DOWN
    assert verdicts(plc) == {}
    assert set(told) == {
        "bus-up", "plc-run", "belt-direction", "plc-heard", "decision-acknowledged",
    }  # fmt: skip


def test_an_outage_is_counted_and_the_state_shown_again_after_it() -> None:
    plc, told = FakePlc(), []
    with beating(plc), Link(FakeBus(plc), QUICK, 5, on_event=told.append) as link:
        link.set_state(LaneState.RUNNING)
        assert link.wait_heard(PATIENCE_S)
        link.publish(bag(1, Verdict.ALARM))
        eventually(lambda: verdicts(plc))
        plc.reachable = False
        eventually(lambda: not link.status.connected)
        plc.image = bytes(IMAGE_BYTES)  # the PLC was restarted
        link.publish(bag(2, Verdict.ALARM))
        eventually(lambda: link.status.failures > 3)
        plc.reachable = True
        eventually(lambda: set(verdicts(plc)) == {1, 2})
        status = link.status
    assert status.connections == 2
    assert "fake bus: the PLC" in status.last_error
    downs = [event.fields["error"] for event in told if event.kind == "bus-down"]
    assert len(downs) == len(set(downs)), "the same failure again and again is told once"


def test_a_clear_does_not_outlive_an_outage_longer_than_the_limit() -> None:
    plc = FakePlc()
    with beating(plc), Link(FakeBus(plc), QUICK, 5) as link:
        link.set_state(LaneState.RUNNING)
        assert link.wait_heard(PATIENCE_S)
        link.publish(bag(1))
        eventually(lambda: verdicts(plc) == {1: Verdict.CLEAR})
        plc.reachable = False
        eventually(lambda: link.status.withdrawn == 1)
        link.publish(bag(2))
        plc.reachable = True
        eventually(lambda: set(verdicts(plc)) == {1, 2} and state(plc) is LaneState.RUNNING)
        assert set(verdicts(plc).values()) == {Verdict.NOT_CLEARED}
        assert link.status.withheld == 1


def test_a_plc_that_cannot_be_reached_at_the_start_is_waited_for() -> None:
    plc = FakePlc()
    plc.reachable = False
    with beating(plc), Link(FakeBus(plc), QUICK, 5) as link:
        link.set_state(LaneState.RUNNING)
        assert not link.wait_heard(0.05)
        assert link.status.state is LaneState.CONTROL_LOST
        plc.reachable = True
        assert link.wait_heard(PATIENCE_S)


def test_the_lane_never_waits_for_a_bus_that_hangs() -> None:
    plc, released = FakePlc(), threading.Event()
    bus = FakeBus(plc, delay_s=1, sleep=lambda _: released.wait(PATIENCE_S) and None)
    link = Link(bus, QUICK, 5)
    link.start()
    began = time.thread_time()
    for number in range(1, 1000):
        link.publish(bag(number))
    # Processor time, not waiting: the calls came back although the bus did not.
    assert time.thread_time() - began < PATIENCE_S
    assert not released.is_set()
    assert link.status.unacknowledged == 7
    assert link.status.lost_events > 0
    assert len(link._events) == MAX_EVENTS
    assert not link.close(), "a call that hangs is said so"
    released.set()
    link._thread.join(PATIENCE_S)
    assert not link._thread.is_alive()


def test_closing_waits_for_the_plc_to_take_over_what_is_left() -> None:
    plc = FakePlc()
    with beating(plc) as acknowledge:
        link = Link(FakeBus(plc), QUICK, 5)
        link.start()
        link.set_state(LaneState.DRAINING)
        assert link.wait_heard(PATIENCE_S)
        link.publish(bag(1))
        eventually(lambda: verdicts(plc) == {1: Verdict.CLEAR})
        closing = threading.Thread(target=link.close, args=(PATIENCE_S,))
        closing.start()
        time.sleep(0.05)
        assert verdicts(plc) == {1: Verdict.CLEAR}
        assert state(plc) is LaneState.DRAINING
        acknowledge(1)
        closing.join(PATIENCE_S)
        assert state(plc) is LaneState.DOWN


def test_whatever_a_library_raises_the_thread_lives_on_and_says_nothing_of_its_text() -> None:
    class Broken(FakeBus):
        def read(self) -> bytes:
            if self.broken:
                raise ValueError("password=hunter2")
            return super().read()

        broken = True

    plc = FakePlc()
    bus = Broken(plc)
    with beating(plc), Link(bus, QUICK, 5) as link:
        eventually(lambda: link.status.failures > 1)
        assert link.status.last_error.startswith("ValueError in read, test_link.py:")
        assert "hunter2" not in link.status.last_error
        bus.broken = False
        assert link.wait_heard(PATIENCE_S)


def test_a_bus_that_cannot_be_closed_is_connected_again_all_the_same() -> None:
    class Sticky(FakeBus):
        def close(self) -> None:
            super().close()
            raise OSError("password=hunter2")

    plc = FakePlc()
    with beating(plc):
        link = Link(Sticky(plc), QUICK, 5)
        link.start()
        assert link.wait_heard(PATIENCE_S)
        plc.reachable = False
        eventually(lambda: link.status.failures > 1)
        plc.reachable = True
        assert link.wait_heard(PATIENCE_S)
        assert link.close()
    assert state(plc) is LaneState.DOWN
    assert Link(Sticky(plc), QUICK, 5).close(), "nor does one that was never started raise"


def test_a_thread_that_ends_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Fatal(FakeBus):
        def read(self) -> bytes:
            raise SystemExit("password=hunter2")

    told: list[PlcEvent] = []
    with Link(Fatal(FakePlc()), QUICK, 5, on_event=told.append) as link:
        eventually(lambda: not link._thread.is_alive())
        assert [event.kind for event in told] == ["bus-down"]
        assert not link.status.connected
        assert "has ended: SystemExit in read, test_link.py" in link.status.last_error
    (record,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert "fake" in record.getMessage()
    assert "hunter2" not in caplog.text


def test_a_bus_that_hangs_is_neither_connected_nor_heard_after_the_limit() -> None:
    released, hangs = threading.Event(), threading.Event()

    class Hanging(FakeBus):
        def read(self) -> bytes:
            if hangs.is_set():
                released.wait(PATIENCE_S)
            return super().read()

    plc = FakePlc()
    with beating(plc), Link(Hanging(plc), QUICK, 5) as link:
        link.set_state(LaneState.RUNNING)
        assert link.wait_heard(PATIENCE_S)
        link.publish(bag(1))
        hangs.set()
        eventually(lambda: not link.status.connected and not link.status.plc_alive)
        assert link.status.state is LaneState.CONTROL_LOST
        assert link.status.withdrawn == 1
        released.set()
        hangs.clear()
        eventually(lambda: link.status.connected)


def test_no_clear_is_shown_after_a_connection_that_took_longer_than_the_limit() -> None:
    shown: list[set[Verdict]] = []

    class Slow(FakeBus):
        slow = False

        def connect(self) -> None:
            super().connect()
            if self.slow:
                time.sleep(1.5 * QUICK.plc_limit_s)

        def write(self, data: bytes) -> None:
            super().write(data)
            if self.slow:
                shown.append(set(verdicts(plc).values()))

    plc = FakePlc()
    bus = Slow(plc)
    with beating(plc), Link(bus, QUICK, 5) as link:
        link.set_state(LaneState.RUNNING)
        assert link.wait_heard(PATIENCE_S)
        link.publish(bag(1))
        eventually(lambda: verdicts(plc) == {1: Verdict.CLEAR})
        bus.slow, plc.reachable = True, False
        eventually(lambda: link.status.failures)
        plc.reachable = True
        eventually(lambda: shown)
    assert Verdict.CLEAR not in set().union(*shown)


def test_what_the_callers_code_raises_stops_nothing() -> None:
    def angry(event: PlcEvent) -> None:
        raise OSError(f"no room for {event.kind}")

    plc = FakePlc()
    with beating(plc), Link(FakeBus(plc), QUICK, 5, on_event=angry) as link:
        assert link.wait_heard(PATIENCE_S)
        eventually(lambda: "no room for" in link.status.last_error)


def test_a_link_starts_once_and_closes_without_a_start() -> None:
    link = Link(FakeBus(FakePlc()), QUICK, 5)
    assert link.close()
    with Link(FakeBus(FakePlc()), QUICK, 5) as started, pytest.raises(LaneError, match="once"):
        started.start()
    assert started.close()


@pytest.mark.parametrize("name", ["poll_s", "retry_first_s", "retry_most_s"])
def test_a_number_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        LinkConfig(valid_counts=1, **{name: 0.0})


def test_no_clock_that_can_be_set_is_read() -> None:
    """A step of the machine's time must not make a heartbeat young, or old."""
    modules = Path(xedge.control.__file__).parent.glob("*.py")
    texts = {module.name: module.read_text(encoding="utf-8") for module in modules}
    assert "link.py" in texts
    assert [name for name, text in texts.items() if re.search(r"time\.time(_ns)?\(", text)] == []
