"""The commands `xedge serve` and `xedge sim-plc`: signals, checks, and what is printed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.xedge.commands.conftest import free_port
from tests.xedge.commands.test_service import plc_of
from xedge.bundle import sign_bundle
from xedge.commands.lanefile import read_lane_file
from xedge.commands.outlet import Outlet
from xedge.commands.serve import _log_to, serve
from xedge.commands.service import Service, check_file
from xedge.commands.simplc import sim_plc
from xedge.commands.sources import belt_plan
from xedge.commands.strips import record_belt
from xedge.control.modbus import ModbusBus, ModbusOptions, ModbusPort
from xedge.control.simplc import SimPlc
from xedge.errors import BusError, ConfigError, JournalError, SignatureError
from xedge.lane import read_journal
from xedge.signing import new_key, read_private_key
from xedge.types import Decision, Verdict

pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")


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


def test_a_bundle_that_nobody_signed_is_not_served(
    lane_file: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="the extra `signing` is not installed")
    new_key(tmp_path / "maker.key", tmp_path / "maker.pub")
    path = lane_file(1)
    plain = read_lane_file(path).lane.bundle
    assert plain is not None
    signed = tmp_path / "signed.xedge"
    sign_bundle(plain, signed, read_private_key(tmp_path / "maker.key", str))
    text = path.read_text()
    path.write_text(text.replace("[lane]", '[lane]\nrequire_signature = "maker.pub"'))
    with pytest.raises(SignatureError):
        check_file(read_lane_file(path))
    with pytest.raises(SignatureError):
        Service(read_lane_file(path)).run()
    # The same file with the signed bundle is good; a rung of its ladder that is not signed is none.
    asking = path.read_text()
    path.write_text(asking.replace(str(plain), str(signed)))
    check_file(read_lane_file(path))
    path.write_text(path.read_text() + f'[ladder]\nsmaller = "{plain}"\n')
    with pytest.raises(SignatureError):
        check_file(read_lane_file(path))


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
