"""The wheel: what is in it."""

from __future__ import annotations

import configparser
import zipfile
from pathlib import Path
from typing import Final

import pytest

import xedge

PACKAGES: Final = {
    "xedge": "xedge",
    "export/xedge_export": "xedge_export",
    "calibration/xedge_calibration": "xedge_calibration",
    "benchmarks/xedge_benchmarks": "xedge_benchmarks",
}
LARGEST_BUNDLE: Final = 24 * 10**6

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_top_level_names(wheel: Path) -> None:
    info = f"xedge-{xedge.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names_in(wheel)} == {*PACKAGES.values(), info}


def test_every_file_of_the_packages_and_no_other(wheel: Path, source: Path) -> None:
    """So the tables, the bundle, the templates and the `py.typed` are there, and no test is."""
    expected = {
        f"{package}/{path.relative_to(source / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    assert {name for name in names_in(wheel) if ".dist-info/" not in name} == expected


def test_it_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name == f"xedge-{xedge.__version__}-py3-none-any.whl"


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
    assert commands == {
        "demo", "record", "run", "serve", "sim-plc", "detect", "data", "pack", "sign", "verify",
        "inspect", "evaluate", "doctor", "libxedge", "dicos", "compile", "train", "explain",
        "export", "calibrate", "bench", "flatfield", "quiet", "replay", "soak",
    }  # fmt: skip
