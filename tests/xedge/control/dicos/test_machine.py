"""The description of the machine: what cannot stand in a file is refused with its name."""

import datetime
import re
from pathlib import Path

import pytest

from xedge.control.dicos.machine import BagUids, DicosMachine
from xedge.errors import ConfigError

pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")


@pytest.mark.parametrize("root", ["", "1.3.6.1.4.1.99999", "1.3.6.1.4.1.99999.", "1." * 20])
def test_identifiers_are_valid_differ_and_stand_under_the_root(root: str) -> None:
    machine = DicosMachine(uid_root=root)
    uids = {machine.new_uid() for _ in range(200)}
    assert len(uids) == 200
    for uid in uids:
        assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", uid)
        assert len(uid) <= 64
        assert uid.startswith(root.rstrip(".") + "." if root else "2.25.")


def test_a_bag_has_seven_identifiers_of_its_own() -> None:
    machine = DicosMachine()
    first, second = BagUids.new(machine), BagUids.new(machine)
    assert len({*vars(first).values(), *vars(second).values()}) == 14


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("manufacturer", "a\\b"),
        ("model", "x" * 65),
        ("station", "x" * 17),
        ("serial", "a\nb"),
        ("institution", 5),
        ("tube_kv", -1.0),
        ("tube_ua", float("nan")),
        ("pitch_mm", "0.62"),
        ("speed_mm_s", True),
        ("calibrated", datetime.datetime(2026, 11, 25)),
        ("calibrated", "2026-11-25"),
        ("uid_root", "1.02"),
        ("uid_root", "1..2"),
        ("uid_root", "a.b"),
        ("uid_root", "1." * 21),
        ("uid_root", None),
    ],
)
def test_what_cannot_stand_in_a_file_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        DicosMachine(**{field: value})  # type: ignore[arg-type]


def test_a_file_says_what_the_caller_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "scanner.toml"
    path.write_text('serial = "42"\ntube_kv = 140\ncalibrated = 2026-11-25T06:00:00Z\n')
    machine = DicosMachine(pitch_mm=0.62).with_toml(path)
    assert (machine.serial, machine.tube_kv, machine.pitch_mm) == ("42", 140, 0.62)
    assert machine.calibrated == datetime.datetime(2026, 11, 25, 6, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('passenger = "x"', "passenger"),
        ("serial = 42", "serial"),
        ("serial", "scanner.toml"),
        ("\udcff", "scanner.toml"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "scanner.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=said) as refused:
        DicosMachine().with_toml(path)
    assert "scanner.toml" in str(refused.value)
    with pytest.raises(ConfigError, match="nowhere"):
        DicosMachine().with_toml(tmp_path / "nowhere")
