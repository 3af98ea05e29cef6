"""`xedge bench buses`: a record of a bus' times; how long they are is no matter here."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from xedge_benchmarks.bus_command import buses


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_record_has_the_times_of_every_bus(tmp_path: Path, role: str) -> None:
    pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path / "lane.toml"
    file.write_text(f'[source]\nkind = "simulated"\n[[bus]]\nkind = "modbus"\nrole = "{role}"\n'
                    f"port = {port}\ntimeout_s = 10\n[control]\nplc_limit_s = 10\n")  # fmt: skip
    arguments = [str(file), "--rounds", "6", "--scratch", "--out", str(tmp_path)]
    done = CliRunner().invoke(buses, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    record = json.loads(done.stdout)
    (row,) = record["results"]["buses"]
    assert row["bus"] == f"modbus {role} 127.0.0.1:{port}"
    assert row["failures"] == 0 or role == "server"
    for key in ("decision_to_plc_ms", "to_plc_and_back_ms"):
        assert 0 < row[key]["p50"] <= row[key]["max"]
        assert row[key]["p99"] is None  # six samples of the 368 that it takes
    assert row["to_plc_and_back_ms"]["p50"] >= row["decision_to_plc_ms"]["p50"]
    assert record["conditions"]["samples"] >= 2
    arguments[-1] = str(tmp_path / "second")  # two records of one second have one name
    done = CliRunner().invoke(buses, arguments, catch_exceptions=False)
    assert "too few" in done.output  # a p99 of six samples


def test_without_a_file_it_plays_one_bus(tmp_path: Path) -> None:
    pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")
    arguments = ["--rounds", "2", "--scratch", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(buses, arguments, catch_exceptions=False)
    (row,) = json.loads(done.stdout)["results"]["buses"]
    assert row["bus"].startswith("modbus client 127.0.0.1:")
