"""libxedge, built once a session where cmake and a compiler are found, and the tiny model."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from xedge import engines

ROOT = Path(__file__).resolve().parents[2]


def _loaded(path: Path) -> ModuleType:
    name = f"cmake_tests_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


NATIVE = _loaded(Path(__file__).with_name("native.py"))
CONTROL = _loaded(Path(__file__).with_name("native_control.py"))
SCENES = _loaded(ROOT / "tests" / "xedge" / "control" / "rule_scenes.py")

# The same tiny model that the tests of xedge use: it finds the darkest pixels.
_TINY = _loaded(ROOT / "tests" / "xedge" / "conftest.py")
tiny_onnx, tiny_spec = _TINY.tiny_onnx, _TINY.tiny_spec
tiny_parts, tiny_bundle = _TINY.tiny_parts, _TINY.tiny_bundle

Run = Callable[..., str]


@pytest.fixture(scope="session")
def run() -> Run:
    """What runs a program to its end and returns what it printed; the test fails where it fails."""

    def run_it(*command: str | Path, **options: Any) -> str:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run_it


@pytest.fixture(scope="session")
def cmake(run: Run) -> Callable[[str], Path]:
    """What configures and builds a preset of cmake/ and returns the folder of the build."""
    for program, package in (("cmake", "cmake"), ("c++", "g++"), ("make", "make")):
        if shutil.which(program) is None:
            pytest.skip(f"needs cmake and a compiler: no {program} (on Debian: apt-get install "
                        f"{package})")  # fmt: skip

    def build(preset: str) -> Path:
        source = ROOT / "cmake"
        run("cmake", "--preset", preset, f"-DXEDGE_PYTHON={sys.executable}", cwd=source)
        run("cmake", "--build", "--preset", preset, cwd=source)
        return ROOT / "build" / "libxedge" / preset

    return build


@pytest.fixture(scope="session")
def build(cmake: Callable[[str], Path]) -> Path:
    """Folder of the default build."""
    return cmake("default")


@pytest.fixture(scope="session")
def native(build: Path) -> Any:
    """The built library, see `native.py`."""
    return NATIVE.Native(build / "libxedge.so")


@pytest.fixture(scope="session")
def headers(build: Path) -> ctypes.CDLL:
    """What the header-only parts define, see `cmake/tests/headers.c`."""
    return ctypes.CDLL(str(build / "tests" / "libxedge_headers.so"))


@pytest.fixture(scope="session")
def native_control() -> ModuleType:
    """The file of that name."""
    return CONTROL


@pytest.fixture(scope="session")
def rule_scenes() -> ModuleType:
    """The scenes that every other rule is held against the reference with."""
    return SCENES


@pytest.fixture(scope="session")
def native_error() -> type[Exception]:
    """What `native` raises: `status` is the number, its text the library's sentence."""
    error: type[Exception] = NATIVE.NativeError
    return error


@pytest.fixture(scope="session", params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest, native: Any, tiny_bundle: Path) -> str:
    """Name of each engine that both languages have here."""
    name: str = request.param
    if not (there := engines.available()[name]).usable:
        pytest.skip(f"needs {name}: {there}")
    bundle = native.open_bundle(tiny_bundle.read_bytes())
    try:
        native.call("xedge_detector_close", native.open_detector(bundle, engine=name.encode()))
    except NATIVE.NativeError as error:
        if "built without" not in str(error):
            raise
        pytest.skip(f"needs libxedge-{name}: {error}")
    finally:
        native.call("xedge_bundle_close", bundle)
    return name


@pytest.fixture(scope="module")
def opened(native: Any, engine: str) -> Iterator[Callable[..., Any]]:
    """What opens a native detector on the bytes of a bundle; they are closed in the end."""
    detectors = []

    def open_it(content: bytes, **options: Any) -> Any:
        bundle = native.open_bundle(content)
        detectors.append(native.open_detector(bundle, engine=engine.encode(), **options))
        native.call("xedge_bundle_close", bundle)
        return detectors[-1]

    yield open_it
    for detector in detectors:
        native.call("xedge_detector_close", detector)


def clean_environment() -> dict[str, str]:
    """The environment without what would lead an engine elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("XEDGE_")}
