"""The ladder of models as a command line and a lane's file name it."""

from __future__ import annotations

import datetime
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import open_bundle, write_bundle
from xedge.cli import main
from xedge.commands.engine import served_fallbacks
from xedge.commands.ladder import LadderTable, rung_of
from xedge.commands.lanefile import read_lane_file
from xedge.errors import ConfigError
from xedge.types import Detections


@pytest.fixture(scope="module")
def full(stand_in_bundle: Path):
    return open_bundle(stand_in_bundle)


@pytest.fixture(scope="module")
def other(full, tmp_path_factory):
    """Writes a bundle like the full one with another description."""
    folder = tmp_path_factory.mktemp("others")

    def write(stem: str, /, **changes) -> Path:
        path: Path = folder / f"{stem}.xedge"
        write_bundle(
            path, spec=replace(full.spec, **changes), variants=full.variants,
            golden_low=full.golden_low, golden_high=full.golden_high, licence="none",
            created=datetime.date(2026, 11, 25), measured={},
        )  # fmt: skip
        return path

    return write


def test_rungs_stand_in_their_order_and_clear_down_to_the_one_that_is_named(other) -> None:
    first, small = other("first", stage="first-pass"), other("small", name="small")
    assert LadderTable().rungs == ()
    assert LadderTable().clearing == ("full",)
    table = LadderTable(first_pass=first, smaller=small)
    assert [name for name, _ in table.rungs] == ["first-pass", "smaller"]
    assert table.clearing == ("full",)
    assert replace(table, clear_by="first-pass").clearing == ("full", "first-pass")
    assert replace(table, clear_by="smaller").clearing == ("full", "first-pass", "smaller")
    assert LadderTable(smaller=small, clear_by="smaller").clearing == ("full", "smaller")


@pytest.mark.parametrize("clear_by", ["first-pass", "smaller"])
def test_what_is_not_there_cannot_clear(clear_by) -> None:
    with pytest.raises(ConfigError, match="clear_by names a model that is not there"):
        LadderTable(clear_by=clear_by)


@pytest.mark.parametrize(
    ("rung", "changes", "said"),
    [
        ("smaller", {"classes": ("gun",)}, "classes"),
        ("smaller", {"height": 400}, "height 416"),
        ("smaller", {"pixel_mm": 1.0}, "pixel_mm"),
        ("first_pass", {"name": "other"}, "is no first pass"),
    ],
)
def test_a_model_that_cannot_stand_in_is_refused(full, other, rung, changes, said) -> None:
    table = LadderTable(**{rung: other("unfit", **changes)})
    with pytest.raises(ConfigError, match=said):
        list(table.open(full.spec))


def test_a_rung_alarms_where_the_full_model_does(full) -> None:
    found = Detections(np.zeros((1, 4), np.float32), np.array([0.2], np.float32),
                       np.zeros(1, np.int32))  # fmt: skip
    spec = replace(full.spec, alarm_threshold=0.2)
    rung = rung_of("smaller", lambda planes: found, spec, full.spec)
    # float32 has 24 bits; the power is taken once.
    assert rung.screen(np.zeros((3, 4, 4), np.uint8)).scores[0] == pytest.approx(
        full.spec.alarm_threshold, abs=1e-6
    )


def test_a_lane_s_file_names_them_beside_it(tmp_path: Path, other) -> None:
    path = tmp_path / "lane.toml"
    path.write_text(
        '[ladder]\nfirst_pass = "first.xedge"\nclear_by = "first-pass"\n'
        '[source]\nkind = "simulated"\n[[bus]]\nkind = "modbus"\n'
    )
    ladder = read_lane_file(path).ladder
    assert ladder.rungs == (("first-pass", tmp_path / "first.xedge"),)
    assert ladder.clearing == ("full", "first-pass")
    path.write_text(path.read_text().replace('first_pass = "first.xedge"\n', ""))
    with pytest.raises(ConfigError, match=r"lane\.toml:2.*clear_by"):
        read_lane_file(path)


def test_xedge_run_says_by_what_windows_were_screened(
    stand_in_bundle: Path, other, tmp_path: Path
) -> None:
    """With all the time there is, that is the full model."""

    def call(*arguments: object):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    belt = tmp_path / "belt.xstrip"
    assert call("record", "--out", belt, "--bags", 1).exit_code == 0
    run = ("run", "--source", belt, "--bundle", stand_in_bundle, "--engine", "fake", "--json")
    result = call(*run, "--first-pass", other("first", stage="first-pass"))
    assert result.exit_code == 0, result.output
    (decision,) = map(json.loads, result.stdout.splitlines())
    assert set(decision["ladder"]) == {"full"}
    refused = call(*run, "--first-pass", other("refined"))
    assert refused.exit_code == 1
    assert "is no first pass" in refused.stderr
    assert call(*run, "--clear-by", "smaller").exit_code == 1


def test_a_service_keeps_an_engine_for_each_of_them(full, other, tmp_path: Path) -> None:
    first, small = other("first", stage="first-pass"), other("small", name="small")
    path = tmp_path / "lane.toml"
    path.write_text(
        f'[lane]\nengine = "fake"\n[engine]\nprocess = false\n'
        f'[ladder]\nfirst_pass = "{first}"\nsmaller = "{small}"\n'
        '[source]\nkind = "simulated"\n[[bus]]\nkind = "modbus"\n'
    )
    with ExitStack() as stack:
        rungs = [rung for rung, _ in served_fallbacks(stack, read_lane_file(path), full)]
        assert [rung.name for rung in rungs] == ["first-pass", "smaller"]
        for rung in rungs:
            found = rung.screen(np.full((3, 416, 416), 255, np.uint8))
            assert isinstance(found, Detections)
