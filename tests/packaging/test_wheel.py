"""The wheel: exactly the packages' files, and a device that gets base + `ort` alone."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

import xedge

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGES: Final = {
    "xedge": "xedge",
    "export/xedge_export": "xedge_export",
    "calibration/xedge_calibration": "xedge_calibration",
    "benchmarks/xedge_benchmarks": "xedge_benchmarks",
}
LARGEST_BUNDLE: Final = 24 * 10**6

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tree as it is, built from a copy.

    setuptools leaves a `build` folder in the tree and puts what lies there into the next wheel:
    a module that was deleted since would come back.
    """
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in PACKAGES:
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)], out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and its extra `ort`, and nothing else."""
    folder = tmp_path_factory.mktemp("device")
    run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    python = folder / "venv/bin/python"
    run([str(python), "-m", "pip", "install", "-qq", f"{wheel}[ort]"], folder)
    return python


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_top_level_names(wheel: Path) -> None:
    info = f"xedge-{xedge.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names_in(wheel)} == {*PACKAGES.values(), info}


def test_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    """So the tables, the bundle, the templates and the `py.typed` are there, and no test is."""
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names_in(wheel) if ".dist-info/" not in name} == expected


def test_shipped_data_is_there(wheel: Path) -> None:
    names = names_in(wheel)
    assert "xedge/bundles/default.xedge" in names
    assert "xedge/sim/tables.npz" in names
    assert {f"{package}/py.typed" for package in PACKAGES.values()} <= names
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("xedge/bundles/default.xedge").file_size <= LARGEST_BUNDLE


def test_commands_are_declared(wheel: Path) -> None:
    (entry_points,) = [name for name in names_in(wheel) if name.endswith("/entry_points.txt")]
    with zipfile.ZipFile(wheel) as archive:
        declared = configparser.ConfigParser(delimiters=["="])
        declared.read_string(archive.read(entry_points).decode())
    assert declared["console_scripts"]["xedge"] == "xedge.cli:main"
    commands = set(declared["xedge.commands"])
    assert commands == {"demo", "record", "run", "detect", "doctor", "train", "export", "bench"}
