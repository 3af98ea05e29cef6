"""The example `lane.cpp` and `xedge serve` as two processes: a ring one way, Modbus back."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xedge.scanner.stripfile import StripReader, StripWriter
from xedge.types import Verdict

pytest.importorskip("pymodbus", reason="the extra `modbus` is not installed")
pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

XEDGE = (sys.executable, "-m", "xedge.cli")
ANSWER = re.compile(r"bag (\d+) (passes|diverted): (\w+), (.+)")
PATIENCE_S = 240


@pytest.fixture
def ring() -> Iterator[Path]:
    path = Path(f"/dev/shm/xedge-test-lane-{os.getpid()}")
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def lane_file(tmp_path: Path, run: Any, ring: Path) -> Path:
    """A lane's file for a ring and the shipped bundle, beside the recorded belt that feeds it.

    Of its three bags the first two hold what the model alarms for; the deadline is some 5 s of
    belt, for a machine that is busy with other tests as well.
    """
    run(*XEDGE, "record", "--out", "belt.xstrip", "--bags", "3", "--seed", "3", cwd=tmp_path)
    run(*XEDGE, "flatfield", "make", "--out", "d.xflat", "--runs", "belt.xstrip", cwd=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    path = tmp_path / f"{port}.toml"
    path.write_text(
        '[lane]\nengine = "openvino"\nthreads = 1\nalarm_threshold = 0.35\n'
        "deadline_mm = 1800\n"
        f'[source]\nkind = "ring"\npath = "{ring}"\ncorrection = "d.xflat"\n'
        '[control]\nat_start = "wait"\nvalid_mm = 4000\n'
        f'[[bus]]\nkind = "modbus"\nrole = "server"\nport = {port}\n'
    )
    return path


def counted_from(start: int, recorded: Path) -> Path:
    """The same belt with an encoder that begins at another count."""
    path = recorded.with_name(f"from{start}.xstrip")
    with StripReader(recorded) as reader, StripWriter(path, reader.header) as writer:
        for name, run in reader.runs.items():
            writer.write_run(name, *run)
        for strip in reader:
            writer.write(replace(strip, encoder=strip.encoder + start))
    return path


def answers(printed: str) -> list[tuple[str, str, str]]:
    """Of each bag: what became of it, the verdict, and what that rests on."""
    found = [match.groups() for match in map(ANSWER.fullmatch, printed.splitlines()) if match]
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    return [(fate, verdict, why) for _, fate, verdict, why in found]


@pytest.mark.full
@pytest.mark.parametrize("start", [0, -1_000_000])
def test_each_bag_is_answered_once_and_a_positive_one_diverted(
    build: Path, ring: Path, lane_file: Path, start: int
) -> None:
    folder, port = lane_file.parent, lane_file.stem
    belt = counted_from(start, folder / "belt.xstrip")
    with subprocess.Popen(
        [build / "examples" / "lane", belt, ring, port, "2500", "600"],
        stdout=subprocess.PIPE, text=True,
    ) as lane:  # fmt: skip
        try:
            served = subprocess.run(
                [*XEDGE, "serve", lane_file, "--json"], capture_output=True, text=True,
                timeout=PATIENCE_S, check=False,
            )  # fmt: skip
            said = lane.communicate(timeout=PATIENCE_S)[0]
        finally:
            lane.kill()
    assert served.returncode == 0, served.stderr[-2000:]
    decided = [json.loads(line)["verdict"] for line in served.stdout.splitlines()]
    assert decided == ["ALARM", "ALARM", "CLEAR"]
    assert answers(said) == [
        ("passes" if verdict == Verdict.CLEAR.name else "diverted", verdict, "decided")
        for verdict in decided
    ]
    assert said.endswith("3 bags\n")


@pytest.mark.full
def test_bags_of_a_lane_that_is_killed_are_diverted(
    build: Path, ring: Path, lane_file: Path
) -> None:
    """Once it runs, the belt goes on to its end without it."""
    folder, port = lane_file.parent, lane_file.stem
    with (
        subprocess.Popen([*XEDGE, "serve", lane_file], stderr=subprocess.PIPE, text=True) as serve,
        subprocess.Popen(
            [build / "examples" / "lane", folder / "belt.xstrip", ring, port, "2500", "1500"],
            stdout=subprocess.PIPE, text=True,
        ) as lane,
    ):  # fmt: skip
        try:
            assert serve.stderr is not None
            assert any("FORWARD" in line for line in serve.stderr), "the belt never started"
            serve.kill()
            said = lane.communicate(timeout=PATIENCE_S)[0]
        finally:
            lane.kill()
            serve.kill()
    gone = answers(said)
    assert len(gone) == 3
    assert {fate for fate, *_ in gone} == {"diverted"}
