"""Turns at an engine: the earliest deadline first, and nobody waits for ever."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from xedge.lane.clock import MonotonicClock
from xedge.lane.events import Cancel, Due, RunWindow, WindowDone, WindowFailed
from xedge.lane.ladder import Ladder
from xedge.lane.orders import OpenOrders
from xedge.lane.shared_engine import Seat, SharedEngine, most_urgent, need_of
from xedge.types import Detections

PLANES = np.zeros((3, 4, 4), np.uint8)


def seat(due_ns: int, *, served: int = 0, epoch_ns: int = 0, cancelled: bool = False) -> Seat:
    orders = OpenOrders()
    order = RunWindow(1, 0, 0, PLANES, due_ns)
    orders.take(order)
    if cancelled:
        orders.take(Cancel(1))
    return Seat(orders, order, served, epoch_ns)


def test_the_earliest_deadline_is_next_on_the_engine_s_clock() -> None:
    late, early = seat(100, epoch_ns=50), seat(120)
    assert most_urgent([late, early], 0) is early
    late.orders.take(Due(1, 60))  # the belt runs faster
    assert most_urgent([late, early], 0) is late
    early.order = None
    assert most_urgent([early], 0) is None


def test_equal_deadlines_take_turns_and_cancelled_ones_cost_nothing() -> None:
    first, second = seat(100, served=2), seat(100, served=1)
    assert most_urgent([first, second], 0) is second
    first.orders.take(Due(1, 95))
    assert most_urgent([first, second], 4) is first
    assert most_urgent([first, second], 5) is second
    gone = seat(10_000, cancelled=True)
    assert most_urgent([first, second, gone], 0) is gone


def test_what_a_window_needs_counts_its_bag_s_windows_and_sees_others() -> None:
    alone = seat(100)
    assert need_of(alone, [alone], 40) == need_of(alone, [alone, Seat()], 40)
    need = need_of(alone, [alone], 40)
    assert (need.left_ns, need.windows, need.others) == (60, 1, False)
    alone.orders.take(RunWindow(1, 1, 8, PLANES, 100))
    assert need_of(alone, [alone], 40).windows == 2
    assert need_of(alone, [alone, seat(5)], 40).others
    alone.orders.take(RunWindow(2, 0, 0, PLANES, 300))
    assert need_of(alone, [alone], 40).others


class Gate:
    """A detector that waits to be let go, and says in which order windows came."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.seen: list[int] = []

    def __call__(self, planes):
        self.seen.append(int(planes[0, 0, 0]))
        self.entered.set()
        assert self.go.wait(30)
        return Detections.empty()


class Client(threading.Thread):
    """A lane's engine thread with one window, marked by its lane's number."""

    def __init__(self, engine: SharedEngine, lane: int, due_ns: int) -> None:
        super().__init__(daemon=True)
        self.orders = OpenOrders()
        self.order = RunWindow(1, 0, 0, np.full((3, 4, 4), lane, np.uint8), due_ns)
        self.orders.take(self.order)
        self.engine, self.seat = engine, engine.join(self.orders)
        self.answer: WindowDone | WindowFailed | None = None

    def run(self) -> None:
        self.answer, _ = self.engine.screen(self.seat, self.order)


def waiting(*clients: Client) -> None:
    while any(client.seat.order is None for client in clients):
        threading.Event().wait(0.001)


def test_lanes_that_wait_are_served_by_deadline_and_cancelled_ones_skipped() -> None:
    gate, clock = Gate(), MonotonicClock()
    engine = SharedEngine(Ladder(gate, clock=clock), clock.now_ns)
    hour = 3600 * 10**9  # further apart than any call is long
    first = Client(engine, 0, 10**6 * hour)
    first.start()
    assert gate.entered.wait(30)
    others = [
        Client(engine, k, due * 10**6 * hour) for k, due in ((1, 300), (2, 100), (3, 200), (4, 400))
    ]
    for client in others:
        client.start()
    waiting(*others)
    others[2].orders.take(Cancel(1))
    engine.leave(others[3].seat)  # its lane has ended: it does not wait for the engine
    others[3].join(30)
    gate.go.set()
    for client in (first, *others):
        client.join(30)
        assert not client.is_alive()
    assert gate.seen == [0, 2, 1]
    skipped = [c.answer.error for c in others if isinstance(c.answer, WindowFailed)]
    assert skipped == ["skipped: its bag is decided"] * 2


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_whatever_a_detector_raises_the_engine_is_free_again(error) -> None:
    clock = MonotonicClock()

    def screen(planes):
        raise error

    engine = SharedEngine(Ladder(screen, clock=clock), clock.now_ns)
    for lane in range(2):
        client = Client(engine, lane, clock.now_ns() + 10**12)
        if error is SystemExit:
            with pytest.raises(SystemExit):
                client.run()
        else:
            client.run()
            assert isinstance(client.answer, WindowFailed)
