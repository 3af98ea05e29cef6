"""Secrets, and the table of buses."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from xedge.control.bus import Secret, fit
from xedge.control.buses import BUSES, bus_kind
from xedge.errors import ConfigError


def test_a_secret_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    with pytest.raises(ConfigError, match="chmod 600"):
        Secret.from_file(path)
    path.chmod(0o600)
    secret = Secret.from_file(path)
    assert secret.reveal() == "hunter2"
    owner = dataclasses.make_dataclass("Owner", [("password", Secret)])(secret)
    said = f"{secret} {secret!r} {[secret]} {owner} {dataclasses.asdict(owner)}"
    assert "hunter2" not in said
    monkeypatch.setenv("XEDGE_TEST_SECRET", "hunter3")
    assert Secret.from_environment("XEDGE_TEST_SECRET").reveal() == "hunter3"
    path.write_text("\n")
    for wrong in (
        lambda: Secret.from_file(path),
        lambda: Secret.from_file(tmp_path / "none"),
        lambda: Secret.from_environment("XEDGE_NOT_SET"),
    ):
        with pytest.raises(ConfigError):
            wrong()


def test_a_bus_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="there is no bus 'modbuss'"):
        bus_kind("modbuss")


@pytest.mark.parametrize("name", sorted(BUSES))
def test_every_bus_of_the_table_is_there(name: str) -> None:
    kind = bus_kind(name)
    assert importlib.util.find_spec(f"xedge.control.{kind.module}")
    assert dataclasses.is_dataclass(kind.options)
    assert "timeout_s" in {field.name for field in dataclasses.fields(kind.options)}


def test_bytes_are_cut_or_filled() -> None:
    assert fit(b"abc", 2) == b"ab"
    assert fit(b"abc", 5) == b"abc\0\0"
