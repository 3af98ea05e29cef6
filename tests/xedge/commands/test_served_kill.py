"""`xedge serve` killed at any moment and started again, before a PLC that stays."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from xedge.commands.lanefile import read_lane_file
from xedge.control.image import decode
from xedge.control.modbus import ModbusPort
from xedge.control.rule import RuleConfig
from xedge.control.simplc import SimPlc
from xedge.errors import ImageRefused
from xedge.lane.journal import JournalReader
from xedge.types import Verdict

pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")

# A bag of 300 lines every 400, a line a millisecond, from the lane's start on.
SOURCE = """
def strips():
    for first in itertools.count(0, 20):
        low = np.full((20, 32), AIR_COUNTS, np.uint16)
        if first % 400 >= 100:
            low[:, 6:26] = 40_000
        if first % 800 >= 700:
            low[:, 10:20] = 5_000
        encoder = np.arange(first, first + 20, dtype=np.int64)
        yield Strip(first, encoder, low, low.copy(), (first + 20) * 1_000_000)
"""


class Watching(ModbusPort):
    """A PLC's end that remembers what it was shown: of a bag in an epoch, the verdicts in turn.

    While `mute` it writes nothing, so it takes nothing over.
    """

    shown: dict[tuple[int, int], list[Verdict]]
    mute = False

    def write(self, commands: bytes) -> None:
        if not self.mute:
            super().write(commands)

    def read(self) -> bytes:
        data = super().read()
        try:
            header, places = decode(data)
        except ImageRefused:
            return data  # zeros, before a lane has written
        for place in places:
            if place is not None:
                verdicts = self.shown[header.epoch, place.bag]
                if verdicts[-1:] != [place.verdict]:
                    verdicts.append(place.verdict)
        return data


@contextmanager
def plc(file: Path) -> Iterator[Watching]:
    """A PLC in a thread, which takes decisions over."""
    port = Watching(read_lane_file(file).buses[0].options)
    port.shown = defaultdict(list)
    peer, stop = SimPlc(port, [], 900, RuleConfig(heartbeat_limit_ms=10_000)), threading.Event()

    def work() -> None:
        while not stop.wait(0.005):
            peer.scan(0, int(time.monotonic() * 1000) % 2**32)

    port.connect()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield port
    finally:
        stop.set()
        thread.join()
        port.close()


@contextmanager
def serving(file: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", "xedge.cli", "serve", str(file)],
                                   stdout=out, stderr=out, cwd=file.parent)  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < until, log.read_text()[-2000:]
        time.sleep(0.005)


def _new(shown: Collection[tuple[int, int]], before: set[tuple[int, int]]) -> bool:
    return len(set(shown) - before) >= 2


def test_killed_anywhere_each_bag_is_answered_once_and_no_old_clear_is_shown(
    tmp_path: Path, stand_in_bundle: Path, vendor_module: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (tmp_path / "vendor.py").write_text(vendor_module(SOURCE))
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    file, log, chance = tmp_path / "lane.toml", tmp_path / "log", random.Random(7)
    file.write_text(
        f'[lane]\nbundle = "{stand_in_bundle}"\nengine = "fake"\njournal = "lane.journal"\n'
        '[source]\nkind = "python"\nentry = "vendor:feed"\n'
        '[control]\nat_start = "wait"\nplc_limit_s = 10\nbeat_s = 0.02\npoll_s = 0.01\n'
        f'[[bus]]\nkind = "modbus"\nport = {number}\n'
    )
    starts = 4
    with plc(file) as port:
        shown = port.shown
        for number in range(starts):
            with serving(file, log) as process:
                # Some that are taken over, some that are not, and then at any moment.
                wait_for(partial(_new, shown, set(shown)), process, log)
                port.mute = number < starts - 1
                wait_for(partial(_new, shown, set(shown)), process, log)
                time.sleep(chance.uniform(0, 0.6))
                if number == starts - 1:
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(60) == 0, log.read_text()[-2000:]
                else:
                    process.kill()
                    assert process.wait(10) == -signal.SIGKILL
                    port.mute = False
    with JournalReader(tmp_path / "lane.journal") as reader:
        rows, boots = reader.bags(), [boot.epoch for boot in reader.boots()]
    assert boots == list(range(boots[0], boots[0] + starts))
    assert [row["bag"] for row in rows] == list(range(1, len(rows) + 1))
    recorded = {row["bag"]: row for row in rows}
    assert all(row["verdict"] is not None for row in rows)
    # Every start left a bag open or undecided at most; those the next one answered, never CLEAR.
    late = [row for row in rows if row["decided_epoch"] != row["epoch"]]
    assert late
    assert {row["verdict"] for row in late} == {"NOT_CLEARED"}
    assert all(row["decided_epoch"] == row["epoch"] + 1 for row in late)
    for (epoch, bag), verdicts in shown.items():
        row = recorded[bag]
        assert row["decided_epoch"] <= epoch
        if verdicts[0] is Verdict.CLEAR:
            # Only by the start that decided it, and then at most withdrawn.
            assert row["verdict"] == "CLEAR"
            assert row["decided_epoch"] == epoch
            assert verdicts[1:] in ([], [Verdict.NOT_CLEARED])
        else:  # as it was decided, or a CLEAR of an earlier start or of a lost PLC, withheld
            assert [v.name for v in verdicts] in ([row["verdict"]], ["NOT_CLEARED"])
            assert row["verdict"] == "CLEAR" or verdicts[0].name == row["verdict"]
    assert any(Verdict.CLEAR in verdicts for verdicts in shown.values())
    # A CLEAR that nobody took over comes again, and clears nothing any more.
    again = {bag for (epoch, bag) in shown if epoch > recorded[bag]["decided_epoch"]}
    assert any(recorded[bag]["verdict"] == "CLEAR" for bag in again)
    # Whatever was decided, the PLC was shown, by this start or by the next.
    assert {row["bag"] for row in rows} == {bag for _, bag in shown}
