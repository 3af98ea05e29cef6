"""A bus without a wire: a PLC's memory in this process, with faults on demand; for tests."""

from __future__ import annotations

import time
from collections.abc import Callable

from xedge.control.bus import fit
from xedge.control.commands import COMMAND_BYTES, SILENT
from xedge.control.image import IMAGE_BYTES
from xedge.errors import BusError


class FakePlc:
    """The memory of a PLC that several `FakeBus` may reach.

    Attributes:
        image: The decision image that was written last; zero at power-up.
        commands: The command image; zero at power-up.
        reachable: False while its network is down.
        writes: Number of images written.
    """

    def __init__(self) -> None:
        self.image = bytes(IMAGE_BYTES)
        self.commands = SILENT
        self.reachable = True
        self.writes = 0


class FakePort:
    """The PLC's end of a `FakeBus`.

    Args:
        plc: The memory.
    """

    def __init__(self, plc: FakePlc) -> None:
        self._plc = plc

    def connect(self) -> None:
        """Power up: the memory is zero."""
        self._plc.image, self._plc.commands = bytes(IMAGE_BYTES), SILENT
        self._plc.reachable = True

    def read(self) -> bytes:
        """The decision image in the memory."""
        return self._plc.image

    def write(self, commands: bytes) -> None:
        """Put a command image into the memory."""
        self._plc.commands = commands

    def close(self) -> None:
        """Power off."""
        self._plc.reachable = False


class FakeBus:
    """A bus to a `FakePlc`.

    Args:
        plc: Its peer.
        delay_s: Seconds that each call takes.
        sleep: What passes that time.
    """

    def __init__(
        self, plc: FakePlc, *, delay_s: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._plc, self._delay_s, self._sleep = plc, delay_s, sleep
        self._connected = False

    def __str__(self) -> str:
        return "fake bus"

    def connect(self) -> None:
        """Make the bus ready; see `xedge.control.bus.Bus.connect`."""
        self._pass_time()
        if not self._plc.reachable:
            raise BusError("fake bus: the PLC refused the connection", remedy="Make it reachable")
        self._connected = True

    def write(self, image: bytes) -> None:
        """Show the PLC an image; see `xedge.control.bus.Bus.write`."""
        self._check()
        self._plc.image = image
        self._plc.writes += 1

    def read(self) -> bytes:
        """The command image; see `xedge.control.bus.Bus.read`."""
        self._check()
        return fit(self._plc.commands, COMMAND_BYTES)

    def close(self) -> None:
        """Let go of the PLC."""
        self._connected = False

    def _check(self) -> None:
        self._pass_time()
        if not self._connected:
            raise BusError("fake bus: not connected", remedy="Call connect() first")
        if not self._plc.reachable:
            raise BusError("fake bus: the PLC is gone")

    def _pass_time(self) -> None:
        if self._delay_s:
            self._sleep(self._delay_s)
