"""Where libxedge is, in an installation with it and in one without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from xedge.commands import libxedge as command
from xedge.commands.libxedge import PLACES, place
from xedge.errors import ConfigError
from xedge.native import LibXedge, find_libxedge


@pytest.fixture
def installed(tmp_path: Path) -> LibXedge:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libxedge.so").touch()
    return find_libxedge(tmp_path)


def test_places_lie_below_the_prefix(installed: LibXedge, tmp_path: Path) -> None:
    assert place(installed, "prefix") == tmp_path
    assert place(installed, "library").is_file()
    assert all(place(installed, name).is_relative_to(tmp_path) for name in PLACES)


def test_an_installation_of_python_alone_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install \. .*wheel\.cmake=true"):
        find_libxedge(tmp_path)


def test_the_command(installed: LibXedge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_libxedge", lambda: installed)
    one = CliRunner().invoke(command.libxedge, ["cmake-dir"])
    assert one.output == f"{installed.cmake_dir}\n"
    listed = CliRunner().invoke(command.libxedge, [])
    assert [line.split()[0] for line in listed.output.splitlines()] == list(PLACES)
    found = json.loads(CliRunner().invoke(command.libxedge, ["--json"]).output)
    assert found == {name: str(place(installed, name)) for name in PLACES}
    assert CliRunner().invoke(command.libxedge, ["headers"]).exit_code == 2
