"""From a lane's decision to its PLC and back, over a real bus, by the clock of one machine.

Both ends run in this process: the lane's end with the link and the thread that it has in service,
the PLC's end in the caller's thread, which reads every `LOOK_S` and what a read takes. So the
PLC's own cycle, which adds up to one of its scans, is not in the figures, and neither is a network.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from xedge.commands.lanefile import BusTable, read_lane_file
from xedge.control.board import new_epoch
from xedge.control.bus import PlcPort
from xedge.control.commands import Commands, Direction
from xedge.control.image import LaneState, read_header
from xedge.control.link import Link, LinkConfig
from xedge.control.words import to_words
from xedge.errors import BusError, ImageRefused
from xedge.types import Decision, Verdict
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.percentiles import percentiles
from xedge_benchmarks.record import BenchRecord, new_record

POLL_S: Final = 0.005
LOOK_S: Final = 0.0002
PATIENCE_S: Final = 30.0
WARM_UP: Final = 20

LINK: Final = LinkConfig(valid_counts=4000, beat_s=0.2, poll_s=POLL_S, plc_limit_s=PATIENCE_S)


def own_bus_file(folder: Path) -> Path:
    """A new lane's file in a folder: one Modbus client, and a port of this machine for its PLC."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = folder / "lane.toml"
    path.write_text(
        '[source]\nkind = "simulated"\n\n[[bus]]\nkind = "modbus"\nrole = "client"\n'
        f"port = {port}\ntimeout_s = 10\n\n[control]\nplc_limit_s = 10\n",
        encoding="utf-8",
    )
    return path


def bench_buses(
    path: Path, rounds: int, on_round: Callable[[], None] = lambda: None
) -> BenchRecord:
    """A record of the times of every bus in a lane's file.

    Args:
        path: The file; its brokers must run, its PLCs are played here.
        rounds: Decisions a bus.
        on_round: Called after each.

    Raises:
        BusError: When an end cannot be made ready, or does not answer for `PATIENCE_S`.
    """
    file = read_lane_file(path)
    with Watch() as watch:
        rows = [_measure(table, rounds, on_round) for table in file.buses]
    return new_record(
        "buses",
        models={},
        settings={"rounds": rounds, "poll_s": POLL_S, "look_s": LOOK_S, "warm_up": WARM_UP},
        results={"buses": rows},
        conditions=watch.conditions,
    )


def _measure(table: BusTable, rounds: int, on_round: Callable[[], None]) -> dict[str, Any]:
    bus, port = table.kind.bus(table.options), table.kind.port(table.options)
    plc = _Plc(port)
    seen: list[int] = []
    taken: list[int] = []
    plc.connect()
    try:
        with Link(bus, LINK, new_epoch()) as link:
            link.set_state(LaneState.RUNNING)
            plc.until(lambda: plc.state is LaneState.RUNNING, f"{bus}: the lane does not run")
            for number in range(1, WARM_UP + rounds + 1):
                began = time.perf_counter_ns()
                link.publish(Decision(number, Verdict.CLEAR, encoder_head=0, encoder_tail=800))
                plc.until_decision(number, f"{bus}: no decision comes")
                arrived = time.perf_counter_ns()
                plc.beat(acknowledged=number)
                plc.until(lambda: not link.status.unacknowledged,
                          f"{bus}: nothing is acknowledged", beat=False, read=False)  # fmt: skip
                if number > WARM_UP:
                    seen.append(arrived - began)
                    taken.append(time.perf_counter_ns() - began)
                    on_round()
            failures = link.status.failures
    finally:
        port.close()
    return {
        "bus": str(bus),
        "failures": failures,
        "decision_to_plc_ms": percentiles(seen),
        "to_plc_and_back_ms": percentiles(taken),
    }


class _Plc:
    """A PLC that reads, beats and acknowledges, and nothing else."""

    def __init__(self, port: PlcPort) -> None:
        self._port = port
        self._beats = 0
        self._epoch = 0
        self.decisions = 0
        self.state = LaneState.DOWN

    def connect(self) -> None:
        """Begin anew; a lane that is the server may not be there yet."""
        self._port.close()
        with contextlib.suppress(BusError):
            self._port.connect()

    def beat(self, acknowledged: int = 0) -> None:
        """Write a command image."""
        self._beats = (self._beats + 1) % 65536
        self._port.write(
            Commands(self._beats, self._beats, True, Direction.FORWARD, 1000, self._epoch,
                     acknowledged).encode()
        )  # fmt: skip

    def read(self) -> None:
        """Look at the decision image."""
        try:
            header = read_header(to_words(self._port.read()))
        except ImageRefused:
            return
        self._epoch, self.decisions, self.state = header.epoch, header.decisions, header.state

    def until_decision(self, number: int, failing: str) -> None:
        """Read until so many decisions were made."""
        self.until(lambda: self.decisions == number, failing, beat=False)

    def until(
        self, true: Callable[[], bool], failing: str, *, beat: bool = True, read: bool = True
    ) -> None:
        """Go on until something is so."""
        until = time.monotonic() + PATIENCE_S
        while not true():
            try:
                if beat:
                    self.beat()
                if read:
                    self.read()
            except BusError:
                time.sleep(0.05)
                self.connect()
            time.sleep(LOOK_S)  # a busy loop would keep the interpreter from the lane's thread
            if time.monotonic() > until:
                raise BusError(failing, expected=f"an answer within {PATIENCE_S:.0f} s")
