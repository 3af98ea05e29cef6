"""What systemd is told over a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xedge.commands.notify import Watchdog, notify, watchdog_s


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield heard


def test_systemd_is_told(systemd: socket.socket) -> None:
    assert notify(READY=1, STATUS="screening")
    assert systemd.recv(100) == b"READY=1\nSTATUS=screening"


def test_outside_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY=1)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify(READY=1)


@pytest.mark.parametrize(
    ("wanted", "pid", "limit"),
    [("3000000", "", 3.0), ("3000000", "1", None), ("", "", None), ("0", "", None)],
)
def test_the_watchdogs_time_is_ours_only_when_it_names_us(
    monkeypatch: pytest.MonkeyPatch, wanted: str, pid: str, limit: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", wanted)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_s() == limit
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_s() == (3.0 if wanted == "3000000" else None)


def test_a_lane_that_works_gives_signs_of_life_and_one_that_hangs_gives_none(
    systemd: socket.socket,
) -> None:
    pings: list[float] = []
    with Watchdog(lambda: pings.append(time.monotonic()), lambda: 0.0, 0.02):
        assert systemd.recv(100) == b"WATCHDOG=1"
    assert pings
    systemd.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while systemd.recv(100):  # what came before the first one ended
            pass
    with Watchdog(lambda: pings.append(0.0), lambda: 1.0, 0.02):
        while pings.count(0.0) < 4:
            time.sleep(0.002)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


def test_nothing_is_done_where_no_watchdog_is_wanted() -> None:
    pings: list[int] = []
    with Watchdog(lambda: pings.append(1), lambda: 0.0, None):
        pass
    assert pings == []
