"""The doctor on this machine with a bundle of the tests' own, and its advice on other machines."""

from __future__ import annotations

import dataclasses
import datetime
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge import engines
from xedge.bundle import Variant, write_bundle
from xedge.cli import main
from xedge.commands import doctor
from xedge.commands.doctor import (
    BundleState,
    advise,
    check_bundle,
    default_engine,
    examine,
    libxedge_here,
)
from xedge.encode import dual_energy_planes
from xedge.engines import Availability
from xedge.machine import Machine
from xedge.native import find_libxedge
from xedge.spec import ModelSpec

PLAIN = Machine(
    system="Linux", board="", cpu="a processor", cores=4, features=("AVX2",), memory_mib=8192,
    governor="performance", clock_source="tsc", gpus=(),
)  # fmt: skip
YES, NO = Availability(True, "1.0"), Availability(False, "is not installed")
BOTH = {"onnxruntime": YES, "openvino": YES, "openvino-bf16": NO, "onnxruntime-cuda": NO}
GOOD = BundleState(name="m", engine="openvino", passed=True)


def make_bundle(path: Path, model: bytes, spec: ModelSpec, score_shift: float) -> Path:
    """A bundle whose golden scores are off by ``score_shift`` from what an engine answers."""
    rng = np.random.default_rng(1)
    low, high = rng.integers(0, 60_000, (2, 64, 64), dtype=np.uint16)
    with closing(engines.load(model, "onnxruntime")) as engine:
        golden = engine.run({"planes": dual_energy_planes(low, high, spec.binning)[None]})
    golden["scores"] = golden["scores"] - np.float32(score_shift)
    write_bundle(
        path, spec=spec, variants={"fp32": Variant(model, golden)}, golden_low=low,
        golden_high=high, licence="none", created=datetime.date(2026, 1, 1),
    )  # fmt: skip
    return path


@pytest.fixture
def sound_bundle(tmp_path: Path, tiny_onnx: bytes, tiny_spec: ModelSpec) -> Path:
    return make_bundle(tmp_path / "sound.xedge", tiny_onnx, tiny_spec, 0.0)


def test_sound_bundle_passes(sound_bundle: Path, tiny_spec: ModelSpec) -> None:
    found = examine(sound_bundle)
    assert found.ok
    assert found.bundle.name == tiny_spec.name
    assert found.bundle.engine == default_engine(found.engines)
    assert len(found.bundle.sha256) == 64
    assert found.clock.resolution_ns > 0


def test_drifted_bundle_fails(tmp_path: Path, tiny_onnx: bytes, tiny_spec: ModelSpec) -> None:
    """Ten times the tolerance of 1e-3, as a library with another rounding would answer."""
    path = make_bundle(tmp_path / "drifted.xedge", tiny_onnx, tiny_spec, 0.01)
    state = check_bundle(path, "onnxruntime")
    assert not state.passed
    assert "does not reproduce" in state.detail
    result = CliRunner().invoke(main, ["doctor", "--bundle", str(path)])
    assert result.exit_code == 1
    assert "FAILED" in result.output


def test_missing_bundle_and_missing_engine(tmp_path: Path, sound_bundle: Path) -> None:
    missing = check_bundle(tmp_path / "none.xedge", "onnxruntime")
    assert not missing.passed
    assert "cannot be read" in missing.detail
    assert not check_bundle(sound_bundle, "").passed


def test_command_prints_what_it_found(sound_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--bundle", str(sound_bundle)])
    assert result.exit_code == 0, result.output
    assert "passed" in result.output
    for name in engines.BACK_ENDS:
        assert name in result.output
    assert libxedge_here() in result.output


def test_libxedge_is_named_where_it_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_libxedge", lambda: find_libxedge(tmp_path))
    assert libxedge_here() == ""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libxedge.so").touch()
    assert libxedge_here() == str(tmp_path / "lib" / "libxedge.so")


def test_json(sound_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json", "--bundle", str(sound_bundle)])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["ok"] is True
    assert set(found["engines"]) == set(engines.BACK_ENDS)
    assert found["engines"]["fake"]["usable"] is True
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"onnxruntime": YES, "openvino": YES}, "openvino"),
        ({"onnxruntime": YES, "openvino": NO}, "onnxruntime"),
        ({"onnxruntime": NO, "openvino": NO}, ""),
    ],
)
def test_default_engine(installed: dict[str, Availability], expected: str) -> None:
    assert default_engine(installed) == expected


def test_nothing_to_advise() -> None:
    assert advise(PLAIN, BOTH, GOOD) == ()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cores": 1}, "One core"),
        ({"governor": "powersave"}, "'powersave'"),
        ({"clock_source": "hpet"}, "'hpet'"),
        ({"gpus": ("NVIDIA L4, 570, 23034 MiB",)}, "xedge[ort-gpu]"),
    ],
)
def test_advice_by_machine(change: dict[str, object], word: str) -> None:
    (sentence,) = advise(dataclasses.replace(PLAIN, **change), BOTH, GOOD)
    assert word in sentence


@pytest.mark.parametrize(
    ("change", "bundle", "word"),
    [
        ({"onnxruntime": NO, "openvino": NO}, BundleState(), "xedge[cpu]"),
        ({"openvino": NO}, GOOD, "xedge[openvino]"),
        ({}, BundleState(detail="drifted"), "does not work here"),
    ],
)
def test_advice_by_engines(change: dict[str, Availability], bundle: BundleState, word: str) -> None:
    (sentence,) = advise(PLAIN, BOTH | change, bundle)
    assert word in sentence


def test_bfloat16_is_offered_where_the_processor_has_it() -> None:
    fast = dataclasses.replace(PLAIN, features=("AVX2", "AMX-BF16"))
    (sentence,) = advise(fast, BOTH | {"openvino-bf16": YES}, GOOD)
    assert "openvino-bf16" in sentence
