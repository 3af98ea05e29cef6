"""A device gets base + `ort` alone: no torch, no onnx, no OpenVINO, and a lane that screens."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]

ABSENT = ("torch", "torchvision", "timm", "onnx", "openvino", "jinja2", "cryptography")

LANE = """
import importlib.util, json, sys

import xedge
from xedge.bundle import open_bundle
from xedge.detector import open_detector
from xedge.golden import verify_golden
from xedge.lane.config import LaneConfig
from xedge.lane.runner import run_lane
from xedge.scanner.flatfield import FlatField
from xedge.sim.belt import SimulatedBelt
from xedge.sim.physics import ScannerModel

absent = [name for name in {absent!r} if importlib.util.find_spec(name) is None]
bundle, scanner = open_bundle(), ScannerModel()
field = FlatField.from_runs(*scanner.dark_run(64, 0), *scanner.air_run(64, 0))
with open_detector(bundle) as detector:
    golden = verify_golden(bundle, detector.engine)
    belt = SimulatedBelt(seed=7, bags=3, speed_m_s=0.5, scanner=scanner)
    report = run_lane(belt, detector.detect_window, field, LaneConfig.for_model(bundle.spec))
print(json.dumps({{
    "file": xedge.__file__, "absent": absent, "engine": type(detector.engine).__name__,
    "golden_missing": golden.missing, "report": report.to_dict(),
}}))
"""


def answer(python: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    # -I: neither the checkout nor PYTHONPATH may lend a module.
    return subprocess.run(
        [str(python), "-I", *args], cwd=folder, capture_output=True, text=True, check=False
    )


def xedge(python: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(python.with_name("xedge")), *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_lane_on_the_shipped_bundle(device_python: Path, tmp_path: Path) -> None:
    done = answer(device_python, tmp_path, "-c", LANE.format(absent=ABSENT))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["absent"] == list(ABSENT)
    assert Path(found["file"]).is_relative_to(device_python.parent.parent)
    assert found["engine"] == "OnnxRuntimeEngine"
    assert found["golden_missing"] == 0
    report = found["report"]
    assert report["bags"] == report["decisions"] == 3
    assert report["ledger_balanced"] is True
    # No word on late: this machine may be as busy as it likes.
    assert report["not_cleared_by_reason"].keys() <= {"TIMEOUT"}, report["errors"]


def test_doctor_finds_the_default_engine(device_python: Path, tmp_path: Path) -> None:
    done = xedge(device_python, tmp_path, "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["bundle"]["engine"] == "onnxruntime"
    assert found["engines"]["openvino"]["usable"] is False


def test_help_lists_the_commands_of_the_desk_too(device_python: Path, tmp_path: Path) -> None:
    done = xedge(device_python, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    desk = ("data", "train", "explain", "export", "bench")
    for command in ("demo", "record", "run", "detect", "doctor", *desk):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("args", [["train", "small.toml"], ["export", "a.pt", "-o", "a.onnx"]])
def test_command_of_the_desk_names_its_extra(
    device_python: Path, tmp_path: Path, args: list[str]
) -> None:
    done = xedge(device_python, tmp_path, *args)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'xedge[" in done.stderr


def test_base_alone_imports_and_says_what_is_missing(base_python: Path, tmp_path: Path) -> None:
    assert answer(base_python, tmp_path, "-c", "import xedge").returncode == 0
    done = xedge(base_python, tmp_path, "doctor", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert "xedge[cpu]" in found["advice"][0]
