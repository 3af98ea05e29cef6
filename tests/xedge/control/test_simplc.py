"""The simulated PLC by itself."""

from __future__ import annotations

import pytest

from xedge.control.rule import Why
from xedge.control.simplc import BeltClock, SimPlc
from xedge.errors import BusError, ConfigError


def test_a_diverter_nearer_than_the_longest_bag_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"too close to the beam.*a bag of 300"):
        SimPlc(_Nobody(), [(0, 300)], 300)  # type: ignore[arg-type]


def test_a_bus_that_fails_diverts_everything_and_is_connected_again() -> None:
    nobody = _Nobody()
    plc = SimPlc(nobody, [(0, 300)], 400)  # type: ignore[arg-type]
    gone = [bag for encoder in (0, 350, 400) for bag in plc.scan(encoder, encoder)]
    assert [(bag.passed, bag.why) for bag in gone] == [(False, Why.NO_IMAGE)]
    assert plc.done
    assert plc.failures == nobody.connections == 6


class _Nobody:
    connections = 0

    def connect(self) -> None:
        self.connections += 1
        raise BusError("nobody is there")

    def read(self) -> bytes:
        raise BusError("nobody is there")

    def write(self, commands: bytes) -> None:
        raise BusError("nobody is there")

    def close(self) -> None:
        pass


def test_a_belt_stands_until_it_is_started() -> None:
    now = [5.0]
    clock = BeltClock(100.0, lambda: now[0])
    now[0] = 6.0
    assert clock.encoder == 0
    clock.start()
    now[0] = 8.5
    clock.start()
    assert clock.encoder == 250
