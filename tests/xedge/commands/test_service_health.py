"""A lane's health and figures, asked for over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.xedge.commands.conftest import free_port
from tests.xedge.commands.test_service import plc_of
from xedge.commands.engine import EngineState
from xedge.commands.figures import FiguresServer, exposition, lane_exposition
from xedge.commands.lanefile import read_lane_file
from xedge.commands.service import Service
from xedge.control.fake import FakeBus, FakePlc
from xedge.control.link import Link, LinkConfig
from xedge.lane import read_journal
from xedge.lane.engine_process import ProcessState
from xedge.lane.report import Tally
from xedge.lane.selftest import SelfTests
from xedge.lane.vitals import Vitals
from xedge.scanner.intake import Refusal


def asked_until(port: int, enough: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """What a lane's health says once it is as expected."""
    until = time.monotonic() + 60
    said: dict[str, Any]
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                status, said = answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                status, said = refused.code, json.load(refused)
        except urllib.error.URLError:  # it does not listen yet
            status, said = 0, {"problems": []}
        if enough(status, said):
            return said
        assert time.monotonic() < until, said
        time.sleep(0.01)


def test_metrics_and_health_are_served(lane_file: Callable[..., Path]) -> None:
    port = free_port()
    path = lane_file(None, control="drain_s = 1",
                     more=f"[metrics]\nport = {port}\n[engine]\nretry_first_s = 0.3")  # fmt: skip
    service = Service(read_lane_file(path))
    with plc_of(path, 0):
        running = threading.Thread(target=service.run)
        running.start()
        until = time.monotonic() + 30
        text = ""
        while 'verdict="CLEAR"} 0' in text or not text:
            assert time.monotonic() < until
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    text = answer.read().decode()
            except OSError:
                time.sleep(0.05)
        with pytest.raises(urllib.error.HTTPError) as other:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/")
        other.value.close()
        good = asked_until(port, lambda status, said: status == 200)
        assert (good["state"], good["problems"]) == ("screening", [])
        os.kill(good["engines"]["full"]["process"]["pid"], signal.SIGKILL)
        bad = asked_until(port, lambda status, said: status == 503)
        assert any("ended by SIGKILL" in problem for problem in bad["problems"])
        back = asked_until(port, lambda status, said: status == 200)
        assert back["engines"]["full"]["process"]["restarts"] == 1
        assert any("ended by SIGKILL" in entry["message"] for entry in back["errors"]["last"])
        assert "xedge_engine_restarts_total" in service.figures()
        service.stop()
        running.join(60)
    for line in text.splitlines():
        assert line.startswith("# ") or (line.startswith("xedge_") and float(line.split()[-1]) >= 0)


# Air that reads 0.955 of what it did for two seconds, then as it did: a line a millisecond.
DRIFTS = """
def strips():
    rng = np.random.default_rng(5)
    for first in itertools.count(0, 20):
        air = 0.955 if first < 2000 else 1.0
        noise = rng.normal(0, 60, (2, 20, 32))
        low, high = (AIR_COUNTS * air + noise).round().astype(np.uint16)
        encoder = np.arange(first, first + 20, dtype=np.int64)
        yield Strip(first, encoder, low, high, (first + 20) * 1_000_000)
"""


def test_a_new_correction_that_is_wanted_is_asked_for_until_it_is_not(
    lane_file: Callable[..., Path],
) -> None:
    port = free_port()
    path = lane_file(
        None, belt=DRIFTS, control="drain_s = 1",
        more=f"[metrics]\nport = {port}\n[correction]\nblock_lines = 64",
    )  # fmt: skip
    service = Service(read_lane_file(path))
    with plc_of(path, 0):
        running = threading.Thread(target=service.run)
        running.start()
        try:
            asked = asked_until(
                port, lambda status, said: any("idle lines read" in p for p in said["problems"])
            )
            figures = metrics(port)
            back = asked_until(
                port, lambda status, said: status == 200 and said["state"] == "screening"
            )
        finally:
            service.stop()
            running.join(60)
    assert not asked["ok"]
    seen = asked["detector"]
    assert seen["low"]["air"] == pytest.approx(0.955, abs=0.002)
    assert any("clear the belt or make a new correction" in why for why in seen["recalibrate"])
    assert 'xedge_recalibrate{lane="lane"} 1\n' in figures
    assert 'xedge_detector_fault{lane="lane"} 0\n' in figures
    (share,) = [
        line for line in figures.splitlines() if 'air_share{lane="lane",energy="high"' in line
    ]
    assert float(share.split()[-1]) == pytest.approx(0.955, abs=0.002)
    assert back["detector"]["recalibrate"] == []
    assert 'xedge_recalibrate{lane="lane"} 0\n' in service.figures()
    records = read_journal(path.parent / "lane.journal")
    assert [record["kind"] for record in records].count("recalibrate") == 1


def metrics(port: int) -> str:
    """The figures, asked for over HTTP."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def test_the_figures_tell_of_a_bus_that_hangs_and_of_lost_events() -> None:
    with Link(FakeBus(FakePlc()), LinkConfig(valid_counts=100), 1) as link:
        status = replace(link.status, quiet_s=1.25, lost_events=3, writes=12345678901)
    lines = exposition('a "lane"', Tally(), [status], 0.5).splitlines()
    where = f'{{lane="a \\"lane\\"",bus="{status.bus}"}}'
    assert f"xedge_bus_quiet_seconds{where} 1.25" in lines
    assert f"xedge_bus_lost_events_total{where} 3" in lines
    assert f"xedge_bus_writes_total{where} 12345678901" in lines


def test_the_figures_tell_of_lines_latencies_stages_and_the_engine() -> None:
    vitals = Vitals(core_s=0.0)
    vitals.core.begin()
    vitals.ledger.bag_lines, vitals.ledger.missing_lines = 300, 4
    vitals.ledger.refuse({Refusal.WRONG_WIDTH: 20})
    vitals.latencies.add(0.25)
    vitals.latencies.add(99.0)
    vitals.errors.add("oh")
    process = ProcessState(True, os.getpid(), "fake", 3, 4, "it hung")
    engine = EngineState("fake", SelfTests(7, 1, time.monotonic()), process)
    text = lane_exposition('a "lane"', vitals, {"full": engine})
    lines = text.splitlines()
    lane = 'lane="a \\"lane\\""'
    for line in (
        f'xedge_lines_total{{{lane},fate="bag"}} 300',
        f'xedge_lines_total{{{lane},fate="wrong width"}} 20',
        f"xedge_missing_lines_total{{{lane}}} 4",
        f'xedge_latency_seconds_bucket{{{lane},le="0.2"}} 0',
        f'xedge_latency_seconds_bucket{{{lane},le="0.3"}} 1',
        f'xedge_latency_seconds_bucket{{{lane},le="+Inf"}} 2',
        f"xedge_latency_seconds_sum{{{lane}}} 99.25",
        f"xedge_latency_seconds_count{{{lane}}} 2",
        f'xedge_stage_silent{{{lane},stage="core"}} 1',
        f"xedge_errors_total{{{lane}}} 1",
        f'xedge_engine_ready{{{lane},rung="full"}} 1',
        f'xedge_engine_restarts_total{{{lane},rung="full"}} 3',
        f'xedge_engine_failures_total{{{lane},rung="full"}} 4',
        f'xedge_self_tests_total{{{lane},rung="full",outcome="failed"}} 1',
    ):
        assert line in lines
    held = [float(line.split()[-1]) for line in lines if line.startswith("xedge_resident_bytes")]
    assert len(held) == 2
    assert all(1e6 < value < 1e12 for value in held)
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    without = lane_exposition("a", Vitals(), {})
    assert "engine_" not in without
    assert "self_test" not in without


def test_figures_that_cannot_be_made_are_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> str:
        raise ZeroDivisionError("no")

    port = free_port()
    with (
        FiguresServer("127.0.0.1", port, fail),
        pytest.raises(http.client.RemoteDisconnected),
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")
    assert "a request for figures failed: ZeroDivisionError: no" in caplog.text


def test_a_peer_that_asks_the_figures_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xedge.commands.figures.REQUEST_S", 0.05)
    port = free_port()
    with (
        FiguresServer("127.0.0.1", port, str),
        socket.create_connection(("127.0.0.1", port), timeout=20) as peer,
    ):
        assert peer.recv(1) == b""
