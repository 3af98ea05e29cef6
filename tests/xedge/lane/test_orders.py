"""The books of a lane's orders: what may be skipped, and that they do not grow."""

from __future__ import annotations

import numpy as np

from xedge.lane.clock import VirtualClock
from xedge.lane.compressed import CompressedLane, CompressedTime
from xedge.lane.core import LaneCore
from xedge.lane.events import Cancel, RunWindow, Tick, WindowDone, WindowFailed
from xedge.lane.ladder import Ladder
from xedge.lane.orders import OpenOrders
from xedge.lane.publisher import Publisher
from xedge.lane.steering import Steering
from xedge.types import Detections

PLANES = np.zeros((3, 4, 4), np.uint8)


def test_a_cancelled_bag_is_forgotten_with_its_last_answer() -> None:
    orders = OpenOrders()
    for index in range(2):
        orders.take(RunWindow(7, index, 0, PLANES))
    assert not orders.cancelled(7)
    orders.take(Cancel(7))
    orders.answered(WindowDone(7, 0, Detections.empty()))
    orders.answered(Tick())
    assert orders.cancelled(7)
    orders.answered(WindowFailed(7, 1, "skipped"))
    assert not orders.cancelled(7)
    assert len(orders) == 0


def test_a_bag_without_open_windows_is_not_remembered() -> None:
    orders = OpenOrders()
    orders.take(Cancel(7))
    assert not orders.cancelled(7)


def test_no_bag_is_left_in_the_books_of_a_lane_whose_bags_are_all_late(belt) -> None:
    clock = VirtualClock()

    def screen(planes):
        clock.sleep_ns(500_000_000)
        return Detections.empty()

    publisher = Publisher(None, None)
    core = LaneCore(belt.flat_field, belt.config())
    strips = belt.strips(("." * 20 + "#" * 20) * 5 + "." * 3000)
    lane = CompressedLane(strips, core, publisher, clock, Steering())
    CompressedTime([lane], Ladder(screen, clock=clock)).run()
    assert publisher.report(core, False).late == 5
    assert len(lane._orders) == 0
    assert not any(lane._orders.cancelled(bag) for bag in range(1, 6))
