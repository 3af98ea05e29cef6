"""The page of the control loop: its figures are in a record, its lane's file can be used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xedge.commands.lanefile import read_lane_file
from xedge.control.image import LaneState
from xedge.control.rule import RuleConfig
from xedge.types import Reason

TABLE = re.compile(r"<!-- figures: (?P<path>\S+) -->\n(?P<table>(?:\|.*\n)+)")
NAMES = {
    "Modbus TCP, the lane as client": "modbus client",
    "Modbus TCP, the lane as server": "modbus server",
    "OPC UA": "OPC UA",
    "S7": "S7",
    "ADS": "ADS",
    "MQTT": "MQTT",
}


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "control.md").read_text(encoding="utf-8")


def test_the_times_are_those_of_the_record(repository: Path, page: str) -> None:
    found = TABLE.search(page)
    assert found is not None
    record = json.loads((repository / found["path"]).read_text(encoding="utf-8"))
    assert f"{record['settings']['rounds']} decisions a bus" in page
    rows = record["results"]["buses"]
    lines = found["table"].splitlines()[2:]
    assert len(rows) == len(lines)
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        start = next(of for begin, of in NAMES.items() if name.startswith(begin))
        (row,) = [row for row in rows if row["bus"].startswith(start)]
        measured = [row[key][which] for key in ("decision_to_plc_ms", "to_plc_and_back_ms")
                    for which in ("p50", "p99", "max")]  # fmt: skip
        assert len(cells) == 6
        for cell, time_ms in zip(cells, measured, strict=True):
            digits = len(cell.partition(".")[2])
            assert float(cell) == pytest.approx(time_ms, abs=0.51 * 10**-digits), name


def test_the_lanes_file_can_be_used(page: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "lane.toml").write_text(text)
    assert read_lane_file(tmp_path / "lane.toml").lane.name == "north"


def test_numbers_of_states_reasons_and_limits_are_those_of_the_code(page: str) -> None:
    for state in LaneState:
        assert re.search(rf"\b{state.value} {state.name}\b", page), state
    for reason in Reason:
        assert reason is Reason.NONE or f"{reason.value} {reason.name}" in page, reason
    limits = RuleConfig()
    for name in ("extent_counts", "reverse_counts", "heartbeat_limit_ms"):
        assert f"`{name}` ({getattr(limits, name)})" in page
