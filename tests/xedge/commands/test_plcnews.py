"""What the PLCs say goes where it belongs, and the belt stands when all of them say so."""

from __future__ import annotations

import logging

import pytest

from xedge.commands.plcnews import PlcNews
from xedge.control.board import PlcEvent
from xedge.lane.steering import Steering


class Belt(Steering):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[bool] = []

    def belt_running(self, running: bool) -> None:
        self.said.append(running)


def direction(name: str) -> PlcEvent:
    return PlcEvent("belt-direction", {"direction": name})


def test_a_belt_stands_while_every_plc_says_so_and_none_is_silent() -> None:
    belt = Belt()
    news = PlcNews(belt, None, None)
    one, other = news.teller("one", 0), news.teller("other", 1)
    one(direction("FORWARD"))
    one(PlcEvent("plc-heard"))
    assert belt.said == []
    one(direction("STANDING"))
    assert belt.said == [False]
    other(direction("REVERSE"))
    other(PlcEvent("plc-heard"))
    assert belt.said == [False, True]
    other(direction("STANDING"))
    one(PlcEvent("plc-run"))
    assert belt.said == [False, True, False]
    one(PlcEvent("plc-lost"))
    other(direction("FORWARD"))
    assert belt.said == [False, True, False, True], "nobody knows, so bags may be late"


def test_a_belt_stands_when_the_plc_is_heard_and_heard_again() -> None:
    belt = Belt()
    tell = PlcNews(belt, None, None).teller("one", 0)
    tell(direction("STANDING"))
    assert belt.said == [], "a dead PLC may have left it behind"
    tell(PlcEvent("plc-heard"))
    assert belt.said == [False]
    tell(PlcEvent("plc-lost"))
    assert belt.said == [False, True]
    tell(PlcEvent("plc-heard"))  # it says STANDING still, which is no event
    assert belt.said == [False, True, False]


def test_the_log_names_bus_and_event(caplog: pytest.LogCaptureFixture) -> None:
    tell = PlcNews(Belt(), None, None).teller("a bus", 0)
    with caplog.at_level(logging.INFO, logger="xedge.service"):
        tell(PlcEvent("bus-down", {"bus": "a bus", "error": "gone"}))
        tell(direction("FORWARD"))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "a bus: bus-down (error gone)"),
        ("INFO", "a bus: belt-direction (direction FORWARD)"),
    ]
