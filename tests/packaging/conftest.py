"""A wheel of the tree, and a machine that installs it without torch, onnx or OpenVINO."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FOLDERS: Final = (
    "xedge",
    "export/xedge_export",
    "calibration/xedge_calibration",
    "benchmarks/xedge_benchmarks",
)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is made of, as the tree has it: what git ignores must not matter."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    for folder in (*FOLDERS, "cmake"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    return source


@pytest.fixture(scope="session")
def pure_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tree as it is."""
    out = tmp_path_factory.mktemp("wheel")
    succeed([sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)], out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def wheel(pure_wheel: Path) -> Path:
    """The wheel that a device gets."""
    return pure_wheel


@pytest.fixture(scope="session")
def base_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and what the base install brings."""
    folder = tmp_path_factory.mktemp("base")
    succeed([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    python = folder / "venv" / "bin" / "python"
    succeed([str(python), "-m", "pip", "install", "-qq", str(wheel)], folder)
    return python


@pytest.fixture(scope="session")
def device_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and its extra `ort`, and nothing else."""
    folder = tmp_path_factory.mktemp("device")
    succeed([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    python = folder / "venv" / "bin" / "python"
    succeed([str(python), "-m", "pip", "install", "-qq", f"{wheel}[ort]"], folder)
    return python


def succeed(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
