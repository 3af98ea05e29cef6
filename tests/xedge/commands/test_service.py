"""A lane as a service: a vendor's source, the fake engine, Modbus, and a PLC that diverts."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.xedge.commands.conftest import free_port
from xedge.bundle import open_bundle
from xedge.commands.lanefile import read_lane_file
from xedge.commands.service import Service
from xedge.commands.simplc import bag_record
from xedge.control.commands import Commands, Direction
from xedge.control.fake import FakeBus, FakePlc
from xedge.control.image import LaneState
from xedge.control.link import Link, LinkConfig
from xedge.control.modbus import ModbusPort
from xedge.control.rule import RuleConfig, Why
from xedge.control.simplc import BeltClock, Diverted, SimPlc
from xedge.control.words import to_words
from xedge.errors import BusError
from xedge.lane import read_journal
from xedge.types import Decision, Reason, Verdict

pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")

EXTENTS = [(700 * bag + 400, 700 * bag + 699) for bag in range(60)]


@contextmanager
def plc_of(file: Path, bags: int) -> Iterator[list[Diverted]]:
    """A PLC in a thread, with the bags that passed its diverter."""
    options = read_lane_file(file).buses[0].options
    port = ModbusPort(options)
    plc = SimPlc(port, EXTENTS[:bags], 900, RuleConfig(heartbeat_limit_ms=30_000))
    belt = BeltClock(1000, time.monotonic)
    gone: list[Diverted] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.005):
            if plc.rule.ready:
                belt.start()
            gone.extend(plc.scan(belt.encoder, int(time.monotonic() * 1000) % 2**32))

    port.connect()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield gone
    finally:
        stop.set()
        thread.join()
        port.close()


@pytest.mark.parametrize("bags", [4, pytest.param(60, marks=pytest.mark.full)])
def test_a_belt_is_screened_in_real_time_and_what_is_not_clear_is_diverted(
    lane_file: Callable[..., Path], bags: int
) -> None:
    # The diverter is 600 counts behind the tail: a later decision is none, and says so.
    path = lane_file(bags, lane="deadline_mm = 300", more='[dicos]\nfolder = "dicos"')
    decisions: list[Decision] = []
    with plc_of(path, bags) as gone:
        service = Service(read_lane_file(path), decisions.append)
        report = service.run()
        until = time.monotonic() + 20
        while len(gone) < bags and time.monotonic() < until:
            time.sleep(0.01)
    every, count = list(range(1, bags + 1)), len(decisions)
    assert [d.bag for d in decisions] == list(range(1, count + 1))
    assert report.ledger.balanced
    # The belt does not wait: a machine held up for longer than a gap lasts loses the gap, and two
    # bags become one, which is no reason to let anything through.
    lost = report.ledger.missing_lines + sum(report.ledger.refused_lines.values())
    assert count == bags or (count < bags and lost > 0)
    assert [bag.number for bag in gone] == every
    # Whatever a slow machine made of it: what passed was CLEAR, and what is dense never was; a
    # CLEAR that was diverted came too late to the diverter.
    clear = {d.bag for d in decisions if d.verdict is Verdict.CLEAR}
    assert {bag.bag for bag in gone if bag.passed} <= clear
    assert {bag.number for bag in gone if bag.passed} <= set(every[::2])
    if count == bags:
        assert clear <= set(every[::2])
        late = [bag for bag in gone if bag.number in clear and not bag.passed]
        assert all(bag.why is not Why.DECIDED for bag in late)
    records = read_journal(path.parent / "lane.journal")
    kinds = [record["kind"] for record in records]
    assert kinds.count("decision") == count
    assert {"bus-up", "plc-heard", "plc-run", "source-ended"} <= set(kinds)
    (start,) = (path.parent / "dicos").iterdir()
    assert len(list(start.glob("bag-*-report.dcs"))) == count
    assert f'outcome="written"}} {count}\n' in service.figures()
    assert json.dumps(bag_record(gone[0]))


def test_a_lane_with_two_views_is_one_lane(
    lane_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = lane_file(2)
    text = path.read_text()
    table = text[text.index("[source]") : text.index("[control]")]
    path.write_text(text.replace(table, 2 * table.replace("[source]", "[[source]]")))
    decisions: list[Decision] = []
    with plc_of(path, 2), caplog.at_level(logging.INFO):
        service = Service(read_lane_file(path), decisions.append)
        report = service.run()
    assert [d.bag for d in decisions] == [1, 2]
    assert all(d.verdict is not Verdict.CLEAR for d in decisions[1:])
    assert all(len(d.ladder) % 2 == 0 for d in decisions)
    assert report.ledger.balanced
    assert report.ledger.blind_lines == (0, 0)
    lines = report.ledger.lines_in
    for view in (1, 2):
        figure = f'xedge_view_lines_total{{lane="lane",view="{view}",fate="row"}} {lines}\n'
        assert figure in service.figures()
        assert f"view {view}: {lines} lines, {lines} in rows, 0 held" in caplog.text


def test_dicos_files_that_cannot_be_written_cost_no_decision(
    lane_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = lane_file(2, more='[dicos]\nfolder = "dicos"')
    (path.parent / "dicos").write_text("a file where a folder should be")
    decisions: list[Decision] = []
    with plc_of(path, 2):
        service = Service(read_lane_file(path), decisions.append)
        report = service.run()
    assert [d.bag for d in decisions] == [1, 2]
    assert report.errors == ()
    assert 'outcome="failed"} 2\n' in service.figures()
    assert caplog.text.count("no DICOS files: bag ") == 2


def test_a_plc_that_cannot_be_reached_at_the_start_is_an_error_with_line_and_remedy(
    lane_file: Callable[..., Path],
) -> None:
    path = lane_file(1, control="start_s = 0.3")
    said = (
        r"lane.toml:\d+: \[bus\] .*does not let the lane run"
        r".*cannot be reached.*at_start = \"wait\""
    )
    with pytest.raises(BusError, match=said) as refused:
        Service(read_lane_file(path)).run()
    assert str(refused.value).count("Check ") == 1


def test_a_machine_that_is_too_slow_is_told_once(
    lane_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = lane_file(1)
    late = [Decision(bag, Verdict.NOT_CLEARED, Reason.TIMEOUT) for bag in range(1, 8)]
    for first, said in (([], 1), ([Decision(99, Verdict.CLEAR)], 0)):
        caplog.clear()
        service = Service(read_lane_file(path))
        for decision in [*first, *late]:
            service._publish(decision, None)
        assert caplog.text.count("none of the first 3 bags was decided in time") == said


def test_told_to_wait_it_waits_and_screens_nothing_meanwhile(
    lane_file: Callable[..., Path],
) -> None:
    path = lane_file(1, control='start_s = 0.05\nat_start = "wait"')
    decisions: list[Decision] = []
    service = Service(read_lane_file(path), decisions.append)
    running = threading.Thread(target=service.run)
    running.start()
    until = time.monotonic() + 60
    while "xedge_bus_failures_total{" not in (figures := service.figures()) or "} 0" in [
        line[-3:] for line in figures.splitlines() if line.startswith("xedge_bus_failures_total{")
    ]:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert running.is_alive()
    assert decisions == []
    state = service._engines["full"].state.process
    assert state is not None
    assert state.pid is not None
    os.kill(state.pid, signal.SIGKILL)  # it is looked after meanwhile
    while service.health().figures["engines"]["full"]["process"]["restarts"] == 0:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert any("SIGKILL" in error for error in service._steering.vitals.errors.messages())
    with plc_of(path, 1):
        running.join(60)
    assert not running.is_alive()
    assert [d.bag for d in decisions] == [1]


def test_no_plc_is_told_that_the_lane_runs_before_the_last_one_is_there(
    lane_file: Callable[..., Path],
) -> None:
    """Its belt would start, and its bags would pass a lane that takes no lines yet."""
    path = lane_file(None, control='at_start = "wait"',
                     more=f'[[bus]]\nkind = "modbus"\nport = {free_port()}')  # fmt: skip
    ports = [ModbusPort(bus.options) for bus in read_lane_file(path).buses]
    service = Service(read_lane_file(path))
    beat = itertools.count(1)

    def states() -> list[LaneState | None]:
        """What each PLC reads, after a beat of each that is there."""
        number = next(beat)
        for port in there:
            port.write(Commands(number, number, True, Direction.FORWARD).encode())
        words = [to_words(port.read()) for port in there]
        return [LaneState(word[4]) if word[4] else None for word in words]

    def wait(true: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not true():
            assert time.monotonic() < until
            time.sleep(0.01)

    running = threading.Thread(target=service.run)
    with ExitStack() as stack:
        for port in ports:
            stack.callback(port.close)
        ports[0].connect()
        there = ports[:1]
        running.start()
        stack.callback(running.join, 60)
        stack.callback(service.stop)
        wait(lambda: states() == [LaneState.STARTING] and service._links[0].status.plc_runs)
        for _ in range(20):
            assert states() == [LaneState.STARTING]
            time.sleep(0.005)
        ports[1].connect()
        there = ports
        wait(lambda: states() == [LaneState.RUNNING] * 2)


def test_a_stop_while_it_waits_ends_it(lane_file: Callable[..., Path]) -> None:
    service = Service(read_lane_file(lane_file(None, control='at_start = "wait"')))
    threading.Timer(0.2, service.stop).start()
    report = service.run()
    assert report.ledger.lines_in == 0


def test_thresholds_are_read_again_and_nothing_else(
    lane_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = lane_file(1, lane="alarm_threshold = 0.5")
    service = Service(read_lane_file(path))
    text = path.read_text()
    path.write_text(text.replace("0.5", "0.6").replace("beat_s = 0.02", "beat_s = 0.04"))
    with caplog.at_level("INFO", logger="xedge.service"):
        service.reload()
        path.write_text(text.replace("0.5", "6"))
        service.reload()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "alarm_threshold is 0.6 now"
    assert said[1].startswith("[control] has changed")
    assert "not reloaded" in said[2]
    assert "lane.toml:5" in said[2]
    assert len(said) == 3


def test_a_threshold_that_is_read_while_the_lane_starts_is_not_lost_to_quiet_windows(
    lane_file: Callable[..., Path], quiet_bundle: Path
) -> None:
    path, model = lane_file(1, lane="alarm_threshold = 0.5"), open_bundle(quiet_bundle)
    service = Service(read_lane_file(path))
    path.write_text(path.read_text().replace("alarm_threshold = 0.5", "alarm_threshold = 0.3"))
    service.reload()  # the lane is set up with 0.5, and will decide by 0.3
    service._set_least(model, 0.5)
    assert service._least == 0.3
    path.write_text(path.read_text().replace("alarm_threshold = 0.3", "alarm_threshold = 0.2"))
    service.reload()
    assert service._file.lane.alarm_threshold == 0.3


def test_what_a_reload_leaves_as_it_is_is_said(
    lane_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    secret = 'password = { env = "XEDGE_TEST_SECRET" }'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEDGE_TEST_SECRET", "one")
        path = lane_file(1, lane="alarm_threshold = 0.5",
                         more=f'[[bus]]\nkind = "mqtt"\nuser = "u"\n{secret}')  # fmt: skip
        service = Service(read_lane_file(path))
        text = path.read_text()
        with caplog.at_level("INFO", logger="xedge.service"):
            path.write_text("# a comment moves every line\n" + text)
            service.reload()
            assert caplog.messages == []
            path.write_text(text.replace("alarm_threshold = 0.5", ""))
            service.reload()
            service.reload()
            path.write_text(text.replace("[[bus]]", "[[bus]]\ntimeout_s = 3", 1))
            service.reload()
            path.write_text(text)
            patch.setenv("XEDGE_TEST_SECRET", "another")
            service.reload()
    assert caplog.messages == [
        *["alarm_threshold is no longer in the file, and stays 0.5 until the next start"] * 2,
        *["[[bus]] has changed, which takes effect at the next start"] * 2,
    ]


class TogetherBus(FakeBus):
    """Its farewell ends only while another's is under way."""

    def __init__(self, meeting: threading.Barrier) -> None:
        super().__init__(FakePlc())
        self._meeting, self.met = meeting, False

    def write(self, image: bytes) -> None:
        if to_words(image)[4] == LaneState.DOWN:
            self._meeting.wait(20)
            self.met = True
        super().write(image)


def test_all_plcs_are_let_go_of_at_the_same_time(
    lane_file: Callable[..., Path],
) -> None:
    meeting, buses = threading.Barrier(2), list[TogetherBus]()
    service = Service(read_lane_file(lane_file(1, control="drain_s = 0.01\nretry_most_s = 30")))
    for _ in range(2):
        buses.append(TogetherBus(meeting))
        link = Link(buses[-1], LinkConfig(valid_counts=100, retry_most_s=30), 1)
        service._links.append(link)
        link.start()
        until = time.monotonic() + 20
        while not link.status.connected and time.monotonic() < until:
            time.sleep(0.01)
    service._part()
    assert [bus.met for bus in buses] == [True, True]


def test_a_file_that_cannot_be_read_again_leaves_the_lane_as_it_is(
    lane_file: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(read_lane_file(lane_file(1)))

    def fail(path: Path) -> None:
        raise TypeError("a fault in the reader")

    monkeypatch.setattr("xedge.commands.service.read_lane_file", fail)
    service.reload()
    assert "not reloaded: TypeError: a fault in the reader" in caplog.text
