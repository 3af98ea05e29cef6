"""`xedge bench native`: a record of both, and no time without the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks import libxedge, native
from xedge_benchmarks.findings import findings
from xedge_benchmarks.libxedge import TOOLS, Native, build_library

from xedge.cli import main
from xedge.errors import ConfigError, EngineRunError
from xedge.types import Detections

pytestmark = pytest.mark.timeout(1200)  # a build, on a machine that may be busy


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for program, package in TOOLS:
        if shutil.which(program) is None:
            pytest.skip(f"needs cmake and a compiler: no {program} (on Debian: apt-get install "
                        f"{package})")  # fmt: skip
    return build_library(tmp_path_factory.mktemp("libxedge"))


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", "native", *map(str, args)], catch_exceptions=False)


def test_a_record_of_both(built: Path, quick_bundle_path: Path, tmp_path: Path) -> None:
    done = run("--library", built, "--engine", "openvino", "--bundle", quick_bundle_path,
               "--rounds", 13, "--warmup", 1, "--bags", 2, "--threads", 1,
               "--scratch", "--out", tmp_path, "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    (stored,) = (tmp_path / "scratch").glob("*-native-*.json")
    record = json.loads(stored.read_text())
    assert json.loads(done.stdout) == record
    found = record["results"]
    assert [row["name"] for row in found["rows"]] == ["Python", "libxedge"]
    assert all(row["rounds"] == 13 and row["against"] == "Python" for row in found["rows"])
    assert (
        found["rows"][1]["ratio_low"] <= found["rows"][1]["ratio"] <= found["rows"][1]["ratio_high"]
    )
    assert found["apart"]["detections"] > 0
    assert found["apart"]["score"] <= 1e-5
    assert found["engine"].startswith("OpenVINO")
    assert str(built) not in json.dumps(found | record["settings"])
    (line,) = findings(record, None)
    assert "of Python's time" in line.result


def test_for_people(built: Path, quick_bundle_path: Path, tmp_path: Path) -> None:
    done = run("--library", built, "--engine", "openvino", "--bundle", quick_bundle_path,
               "--rounds", 2, "--warmup", 0, "--bags", 1, "--scratch",
               "--out", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "libxedge" in done.stdout
    assert "same answers" in done.stdout


def test_answers_that_differ_are_no_measurement(
    built: Path, quick_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = native.NativeSettings(engine="openvino", rounds=2, warmup=0, bags=1, threads=1)
    detect = Native.detect_scan

    def off(self: Native, *args: object) -> Detections:
        right = detect(self, *args)  # type: ignore[arg-type]
        return Detections(right.boxes + np.float32(0.02), right.scores, right.labels)

    monkeypatch.setattr(Native, "detect_scan", off)
    with pytest.raises(EngineRunError, match="differently"):
        native.bench_native(quick_bundle_path, built, settings)
    nothing = Detections(np.zeros((0, 4), "f4"), np.zeros(0, "f4"), np.zeros(0, "i4"))
    monkeypatch.setattr(Native, "detect_scan", lambda *_: nothing)
    with pytest.raises(EngineRunError, match="do not find the same"):
        native.bench_native(quick_bundle_path, built, settings)


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "libxedge.so").write_bytes(b"text")
    for path in (tmp_path / "libxedge.so", tmp_path / "none.so", Path("libm.so.6")):
        with pytest.raises(ConfigError, match="is no libxedge"):
            Native(path)


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no g\+\+.*apt-get install cmake g\+\+ make.*--library"):
        build_library(tmp_path)
    monkeypatch.setattr(libxedge, "checkout", lambda: None)
    with pytest.raises(ConfigError, match=r"checkout.*--library"):
        build_library(tmp_path)


def test_a_build_that_fails_says_why(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cmake").mkdir()
    (tmp_path / "cmake" / "CMakeLists.txt").write_text('message(FATAL_ERROR "no such moon")')
    monkeypatch.setattr(libxedge, "checkout", lambda: tmp_path)
    with pytest.raises(ConfigError, match="no such moon"):
        build_library(tmp_path / "build")


def test_without_a_checkout_the_installed_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libxedge, "checkout", lambda: None)
    with pytest.raises(ConfigError, match=r"wheel\.cmake=true"):
        libxedge.library_to_measure()


def test_each_checkout_builds_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = libxedge.build_folder()
    assert mine == libxedge.build_folder()
    monkeypatch.setattr(libxedge, "checkout", lambda: tmp_path)
    assert libxedge.build_folder() != mine
