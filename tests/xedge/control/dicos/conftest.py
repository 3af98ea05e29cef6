"""A bag, a machine, and the closed reader that DICOS files are compared with."""

import datetime
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xedge.control.dicos.document import Bag
from xedge.control.dicos.machine import BagUids, DicosMachine
from xedge.control.dicos.report import Screener
from xedge.types import Decision, Detections, Reason, Scan, Verdict

SCANNED = datetime.datetime(2026, 11, 25, 6, 7, 8, 901234, tzinfo=datetime.timezone.utc)


@pytest.fixture
def machine() -> DicosMachine:
    return DicosMachine(
        manufacturer="Röntgen & Söhne", model="T-1", serial="0042", station="LANE 3",
        institution="Terminal", institution_address="Gate 1", tube_kv=160.0, tube_ua=500.0,
        low_kev=64.0, high_kev=99.0, pitch_mm=0.62, counts_per_mm=3.2, speed_mm_s=200.0,
        belt_height_mm=750.0, calibrated=SCANNED - datetime.timedelta(days=1),
    )  # fmt: skip


@pytest.fixture
def screener() -> Screener:
    return Screener(("gun", "knife", "щипцы"), 0.4, "shipped")


@pytest.fixture
def bag(machine: DicosMachine) -> Bag:
    return Bag(BagUids.new(machine), SCANNED)


@pytest.fixture
def scan() -> Scan:
    generator = np.random.default_rng(5)
    low, high = generator.integers(0, 65536, (2, 31, 17)).astype(np.uint16)  # odd: 527 samples
    low[0, :2] = 0, 65535
    encoder = np.arange(31, dtype=np.int64) * -2 + 2**40  # backward, beyond 32 bits
    return Scan(7, low, high, encoder, 123_456_789_012, 2**62, frozenset({Reason.CLIPPED_BAG}))


@pytest.fixture
def alarm() -> Decision:
    boxes = np.array([[1, 2, 30.5, 40.25], [0, 0, 5, 6]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.3], np.float32), np.array([2, 1], np.int32))
    return Decision(7, Verdict.ALARM, Reason.NONE, -5, 2**40, found, 123_456_000)


@pytest.fixture(scope="session")
def sdicos() -> Iterator[SimpleNamespace]:
    """What pydicos, the SDICOS toolkit in a wheel, makes of a file, in a process of its own."""
    if importlib.util.find_spec("pyDICOS") is None:
        pytest.skip("needs pydicos (1.3.0; for Linux on x86-64 and Python 3.10, 3.11 alone)")
    command = [sys.executable, str(Path(__file__).with_name("closed_reader.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(what: str, path: Path) -> Any:
            print(json.dumps([what, str(path)]), file=process.stdin, flush=True)
            line = process.stdout.readline()
            assert line, f"the closed toolkit ended with {process.wait()}"
            answer = json.loads(line)
            assert "error" not in answer, answer["error"]
            return answer["answer"]

        def named(what: str) -> Callable[[Path], Any]:
            return lambda path: ask(what, path)

        names = ("report", "pixels", "refuses", "write_report", "write_image", "write_compressed")
        yield SimpleNamespace(**{name: named(name) for name in names})
        process.stdin.close()
