"""The build's backend: which settings ask for the headers of an engine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

FILE: Final = Path(__file__).resolve().parents[2] / "cmake" / "package" / "backend.py"
HOOKS: Final = ("get_requires_for_build_wheel", "get_requires_for_build_editable")
OPENVINO: Final = "openvino>=2025.0"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, on a stand-in for scikit-build-core: that is in environments of builds alone."""
    package, build = ModuleType("scikit_build_core"), ModuleType("scikit_build_core.build")
    for step in ("build_{}", "get_requires_for_build_{}", "prepare_metadata_for_build_{}"):
        for kind in ("editable", "sdist", "wheel"):
            setattr(build, step.format(kind), lambda settings, kind=kind: [f"cmake-for-{kind}"])
    package.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scikit_build_core", package)
    monkeypatch.setitem(sys.modules, "scikit_build_core.build", build)
    spec = importlib.util.spec_from_file_location("xedge_build_backend", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (None, False),
        ({}, False),
        *[({"wheel.cmake": on}, True) for on in ("true", "ON", "1", "Yes")],
        *[({"wheel.cmake": off}, False) for off in ("false", "Off", "0", "no", "")],
    ],
)
def test_headers_are_wanted_with_libxedge_alone(
    backend: ModuleType, hook: str, settings: dict[str, str] | None, wanted: bool
) -> None:
    found = getattr(backend, hook)(settings)
    assert found == [f"cmake-for-{hook.rpartition('_')[2]}", *[OPENVINO] * wanted]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        *[(on, True) for on in ("ON", "on", "AUTO", "auto", "1", "TRUE", "yes")],
        *[(off, False) for off in ("OFF", "off", "Off", "0", "false", "FALSE", "no", "N", "ignore",
                                   "", "NOTFOUND", "OpenVINO-NOTFOUND")],
    ],
)  # fmt: skip
def test_what_cmake_takes_for_false_switches_openvino_off(
    backend: ModuleType, hook: str, value: str, wanted: bool
) -> None:
    settings = {"wheel.cmake": "true", "cmake.define.XEDGE_OPENVINO": value}
    assert (OPENVINO in getattr(backend, hook)(settings)) is wanted


def test_everything_else_is_handed_on(backend: ModuleType) -> None:
    for name in backend.__all__:
        assert callable(getattr(backend, name))
    assert backend.get_requires_for_build_sdist({}) == ["cmake-for-sdist"]
