"""A lane as a service: a vendor's source, the fake engine, Modbus, and a PLC that diverts."""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.xedge.commands.conftest import free_port
from xedge.commands.lanefile import read_lane_file
from xedge.commands.outlet import Outlet
from xedge.commands.serve import _log_to, serve
from xedge.commands.service import Service, check_file
from xedge.commands.simplc import bag_record, sim_plc
from xedge.commands.sources import belt_plan
from xedge.commands.strips import record_belt
from xedge.control.commands import Commands, Direction
from xedge.control.fake import FakeBus, FakePlc
from xedge.control.image import LaneState
from xedge.control.link import Link, LinkConfig
from xedge.control.modbus import ModbusBus, ModbusOptions, ModbusPort
from xedge.control.rule import RuleConfig, Why
from xedge.control.simplc import BeltClock, Diverted, SimPlc
from xedge.control.words import to_words
from xedge.errors import BusError, ConfigError, JournalError
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


def test_signals_of_the_command(
    lane_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process itself: ready, reload on SIGHUP, an end in good order on SIGTERM."""
    path = lane_file(None, lane="alarm_threshold = 0.5", control="drain_s = 2")
    notified = tmp_path / "notify"
    environment = os.environ | {
        "NOTIFY_SOCKET": str(notified),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }
    code = "from xedge.commands.serve import serve; serve()"
    with plc_of(path, 0), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notified))
        systemd.settimeout(120)
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path), "--json", "--log-format", "json"],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                while b"READY=1" not in systemd.recv(1000):
                    pass
                assert process.stdout is not None
                first = json.loads(process.stdout.readline())
                good = path.read_text().replace("= 0.5", "= 0.95")
                for text in ("bus = [1]\n[source]\nkind = 'simulated'", good):
                    path.write_text(text)
                    process.send_signal(signal.SIGHUP)
                    time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                out, log = process.communicate(timeout=120)
            finally:
                process.kill()
    assert process.returncode == 0, log
    assert first["bag"] == 1
    assert "each bus must be a table" in log
    assert "alarm_threshold is 0.95 now" in log
    events = [json.loads(line) for line in log.splitlines()]
    assert {"bus-up", "plc-heard"} <= {event.get("event") for event in events}
    assert {event["level"] for event in events} <= {"INFO", "WARNING", "ERROR"}
    assert "stopping" in log
    assert "Traceback" not in log
    records = read_journal(tmp_path / "lane.journal")
    kinds = [record["kind"] for record in records]
    assert "retuned" in kinds
    assert kinds.count("bag-begun") == kinds.count("decision") == 1 + len(out.splitlines())


@pytest.mark.parametrize("options", [["--json"], pytest.param([], marks=pytest.mark.full)])
def test_nobody_reads_what_is_printed_and_the_lane_goes_on(
    lane_file: Callable[..., Path], tmp_path: Path, options: list[str]
) -> None:
    """Standard output and the log are full pipes from the first moment on."""
    path = lane_file(None, control="drain_s = 2")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    }
    code = "from xedge.commands.serve import serve; serve()"
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * size)

    def decided() -> int:
        try:
            records = read_journal(tmp_path / "lane.journal")
        except JournalError:  # not written yet
            return 0
        return [record["kind"] for record in records].count("decision")

    with plc_of(path, 3) as gone:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path), *options], env=environment,
            stdout=writer, stderr=writer,
        )  # fmt: skip
        try:
            until = time.monotonic() + 60
            while decided() < 3 or len(gone) < 3:
                assert time.monotonic() < until, "the lane stands"
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            os.close(reader)
            os.close(writer)


def test_a_file_is_checked_without_a_plc(lane_file: Callable[..., Path]) -> None:
    path = lane_file(1)
    done = CliRunner().invoke(serve, [str(path), "--check"])
    assert done.exit_code == 0, done.output
    assert done.output.endswith("good\n")
    path.write_text(path.read_text().replace(":feed", ":nothing"))
    done = CliRunner().invoke(serve, [str(path), "--check"])
    assert isinstance(done.exception, ConfigError)
    assert "returned something else: expected an xedge.commands.sources.Feed" in str(done.exception)


def test_the_commands_lane_and_plc_talk_over_the_bus_of_one_file(
    tmp_path: Path, stand_in_bundle: Path
) -> None:
    """A belt of the simulator; the lane in a thread, the PLC's command in front."""
    path = tmp_path / "lane.toml"
    path.write_text(
        f'[lane]\nbundle = "{stand_in_bundle}"\nengine = "fake"\n'
        '[source]\nkind = "simulated"\nbags = 2\nspeed_m_s = 1.0\n'
        '[control]\nat_start = "wait"\nplc_limit_s = 10\ndrain_s = 5\n'
        f'[[bus]]\nkind = "modbus"\nport = {free_port()}\ntimeout_s = 5\n'
    )
    decisions: list[Decision] = []
    service = Service(read_lane_file(path), decisions.append)
    running = threading.Thread(target=service.run)
    running.start()
    try:
        done = CliRunner().invoke(sim_plc, [str(path), "--json"], catch_exceptions=False)
    finally:
        service.stop()
        running.join(60)
    assert not running.is_alive()
    gone = [json.loads(line) for line in done.stdout.splitlines()]
    assert [bag["number"] for bag in gone] == [1, 2]
    clear = {d.bag for d in decisions if d.verdict is Verdict.CLEAR}
    assert {bag["number"] for bag in gone if bag["passed"]} <= clear
    refused = CliRunner().invoke(sim_plc, [str(path), "--bus", "2"])
    assert isinstance(refused.exception, ConfigError)
    assert "has no bus 2" in str(refused.exception)


def test_a_simulated_plc_whose_port_is_taken_says_so(lane_file: Callable[..., Path]) -> None:
    path = lane_file(1)
    path.write_text(path.read_text().replace('"python"', '"simulated"').replace("entry", "# "))
    with socket.create_server(("127.0.0.1", read_lane_file(path).buses[0].options.port)):
        done = CliRunner().invoke(sim_plc, [str(path)])
    assert isinstance(done.exception, BusError)
    assert "Free the port" in str(done.exception)


def test_a_simulated_plc_names_what_keeps_its_bus_from_working_while_it_does() -> None:
    options = ModbusOptions(role="server", port=free_port(), timeout_s=10)
    port, lane = ModbusPort(options), ModbusBus(options)
    plc = SimPlc(port, [(0, 10)], 900)
    port.connect()
    for _ in range(2):
        plc.scan(0, 0)
        assert "the server cannot be reached" in plc.trouble
    assert plc.failures == 4
    lane.connect()
    try:
        plc.scan(0, 0)
        assert plc.trouble == ""
    finally:
        port.close()
        lane.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (":feed", ":food", "cannot be found"),
        ("[source]", "alarm_threshold = 0.01\n[source]", "below the model's score threshold"),
        ("plc_limit_s", "valid_mm = 1e12\nplc_limit_s", "valid_counts"),
    ],
)
def test_what_shows_only_when_it_is_tried_is_refused(
    lane_file: Callable[..., Path], old: str, new: str, said: str
) -> None:
    path = lane_file(1)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=said):
        check_file(read_lane_file(path))


def test_a_bus_whose_certificate_cannot_be_read_is_named_by_its_line(
    lane_file: Callable[..., Path],
) -> None:
    pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    bus = 'kind = "opcua"\ncertificate = "no.pem"\nprivate_key = "no.key"\ntrusted = "."'
    file = read_lane_file(lane_file(1, more=f"[[bus]]\n{bus}"))
    for use in (lambda: check_file(file), lambda: Service(file).run()):
        with pytest.raises(ConfigError, match=r"lane\.toml:\d+: \[bus\] opcua: .*no\.key") as found:
            use()
        assert str(found.value).startswith(f"{file.buses[1].place}: ")


def test_what_a_link_says_by_itself_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """That its thread has ended, or that a bus could not be closed, above all."""
    ours, root = logging.getLogger("xedge"), logging.getLogger()
    for logger in (ours, root):
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
    monkeypatch.setattr(ours, "propagate", True)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    level = ours.level
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        with Outlet(writer) as outlet:
            _log_to(outlet, "text")
            logging.getLogger("xedge.link").critical("a bus: its thread has ended")
        assert b"CRITICAL a bus: its thread has ended" in os.read(reader, 1000)
    finally:
        ours.setLevel(level)
        os.close(reader)
        os.close(writer)


def test_the_plan_of_a_belt_is_that_of_its_recording(tmp_path: Path) -> None:
    record_belt(tmp_path / "belt.xstrip", bags=2, speed_m_s=0.5, seed=3)
    path = tmp_path / "lane.toml"
    bus = f'[[bus]]\nkind = "modbus"\nport = {free_port()}\n'
    path.write_text(f'[source]\nkind = "strip-file"\npath = "belt.xstrip"\n{bus}')
    recorded = belt_plan(read_lane_file(path).source)
    path.write_text(f'[source]\nkind = "simulated"\nbags = 2\nseed = 3\n{bus}')
    assert recorded.bags == belt_plan(read_lane_file(path).source).bags
    assert recorded.counts_per_s == pytest.approx(500 / 0.62)
    (tmp_path / "belt.truth.json").unlink()
    path.write_text(f'[source]\nkind = "strip-file"\npath = "belt.xstrip"\n{bus}')
    with pytest.raises(ConfigError, match="nobody knows what passes"):
        belt_plan(read_lane_file(path).source)


def test_a_modbus_port_is_named_by_its_options() -> None:
    assert "127.0.0.1:1" in str(ModbusPort(ModbusOptions(port=1)))
