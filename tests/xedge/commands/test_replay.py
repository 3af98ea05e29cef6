"""`xedge replay` on what `xedge run --journal` recorded, and who took decisions over."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.commands.journals import Handover, open_journal
from xedge.commands.replay import _of_each_boot, replay
from xedge.commands.screening import EngineUsed
from xedge.commands.strips import record_belt, screen_file
from xedge.control.board import PlcEvent
from xedge.detector import Detector
from xedge.errors import JournalError
from xedge.lane.config import FULL
from xedge.lane.journal.reading import Boot


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory, stand_in_bundle: Path) -> Path:
    """A journal of two bags, screened by the fake engine."""
    folder = tmp_path_factory.mktemp("shift")
    record_belt(folder / "belt.xstrip", bags=2, seed=5)
    screen_file(
        folder / "belt.xstrip", open_bundle(stand_in_bundle), engine="fake", journal=folder / "j"
    )
    return folder / "j"


def call(bundle: Path, *arguments: object):
    return CliRunner().invoke(replay, [*map(str, arguments), "--bundle", str(bundle)])


def test_a_shift_is_decided_again_without_a_difference(shift: Path, stand_in_bundle: Path) -> None:
    result = call(stand_in_bundle, shift, "--engine", "fake", "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert (outcome["compared"], outcome["differences"], outcome["notices"]) == (2, [], [])
    assert outcome["windows"] >= 2
    assert outcome["from_record"] == 0
    result = call(stand_in_bundle, shift, "--no-engine", "--to", 1)
    assert result.exit_code == 0
    assert "1 decisions compared, 0 differences; 0 windows screened again" in result.stdout


def test_a_listing_says_what_the_journal_holds(shift: Path, stand_in_bundle: Path) -> None:
    result = call(stand_in_bundle, shift, "--list")
    assert result.exit_code == 0, result.output
    assert "stand-in" in result.stdout
    assert "2 ALARM" in result.stdout
    (boot,) = json.loads(call(stand_in_bundle, shift, "--list", "--json").stdout)["boots"]
    assert (boot["first_bag"], boot["last_bag"], boot["verdicts"]) == (1, 2, {"ALARM": 2})
    assert boot["unacknowledged"] == 0
    assert boot["about"]["model_sha256"] == open_bundle(stand_in_bundle).sha256
    assert boot["about"]["engine"].startswith("fake")


def test_a_difference_is_a_row_of_a_table_and_an_exit_code(
    shift: Path, stand_in_bundle: Path
) -> None:
    base = sqlite3.connect(shift / "journal.sqlite")
    base.execute("UPDATE bags SET latency_ns = latency_ns + 1 WHERE bag = 2")
    base.execute("UPDATE boots SET about = replace(about, 'fake', 'other')")
    base.commit()
    result = call(stand_in_bundle, shift, "--engine", "fake")
    base.execute("UPDATE bags SET latency_ns = latency_ns - 1 WHERE bag = 2")
    base.execute("UPDATE boots SET about = replace(about, 'other', 'fake')")
    base.commit()
    base.close()
    assert result.exit_code == 1
    (row,) = [line.split() for line in result.stdout.splitlines() if "latency_ns" in line]
    assert row[:2] == ["2", "latency_ns"]
    assert int(row[2]) == int(row[3]) + 1
    assert "and was other" in result.stdout


def test_what_retention_deleted_is_listed_and_missed(
    shift: Path, stand_in_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shift, folder)
    base = sqlite3.connect(folder / "journal.sqlite")
    base.execute("DELETE FROM bags WHERE bag = 1")
    base.execute("INSERT INTO deletions VALUES"
                 " ('2026-11-25', 'age', 1, 1, 1, '{\"ALARM\": 1}', 0, 7, 0)")  # fmt: skip
    base.commit()
    base.close()
    said = "deleted on 2026-11-25 by retention (age): bags 1 to 1 (1: 1 ALARM; 0 late), 7 notes"
    assert said in " ".join(call(stand_in_bundle, folder, "--list").stdout.split())
    listed = json.loads(call(stand_in_bundle, folder, "--list", "--json").stdout)
    assert (listed["deleted"][0]["bags"], listed["boots"][0]["verdicts"]) == (1, {"ALARM": 1})
    result = call(stand_in_bundle, folder, "--no-engine")
    assert result.exit_code == 0
    assert "nothing is left of 1 of these bags" in " ".join(result.stdout.split())
    assert "1 decisions compared" in result.stdout
    gone = call(stand_in_bundle, folder, "--no-engine", "--to", 1)
    assert isinstance(gone.exception, JournalError)
    assert "nothing is left of bags 1 to 1" in str(gone.exception)


def test_a_folder_that_is_no_journal_is_one_sentence(tmp_path: Path, stand_in_bundle: Path) -> None:
    result = call(stand_in_bundle, tmp_path)
    assert "holds no journal" in str(result.exception)
    result = CliRunner().invoke(main, ["run", "--source", "x", "--journal", str(tmp_path / "a/b")])
    assert result.exit_code != 0


@pytest.mark.parametrize(
    "named", [("--from", 3), ("--from", 2, "--to", 1), ("--from", 3, "--to", 9)]
)
def test_bags_that_are_not_there_are_not_called_equal(
    shift: Path, stand_in_bundle: Path, named: tuple[object, ...]
) -> None:
    result = call(stand_in_bundle, shift, "--no-engine", *named)
    assert result.exit_code == 1
    assert isinstance(result.exception, JournalError)
    assert "expected some of 1 to 2" in str(result.exception)


def test_a_decision_is_taken_over_when_every_plc_that_can_say_so_has(
    tmp_path: Path, stand_in_bundle: Path
) -> None:
    taken: list[int] = []
    with open_journal(tmp_path / "j", open_bundle(stand_in_bundle)) as journal:
        journal.acknowledge = taken.append  # type: ignore[method-assign]
        handover = Handover(journal, [0, 2])
        assert journal.acknowledged_elsewhere
        assert handover.heard(0, PlcEvent("decision-acknowledged", {"bag": 1}))
        assert not handover.heard(0, PlcEvent("decision-pushed-out", {"bag": 2}))
        assert taken == []
        handover.heard(2, PlcEvent("decision-pushed-out", {"bag": 1}))
        handover.heard(2, PlcEvent("decision-acknowledged", {"bag": 2}))
        assert not handover.heard(2, PlcEvent("plc-heard"))
        assert taken == [1, 2]
        Handover(journal, [])
        assert not journal.acknowledged_elsewhere


def test_quiet_windows_stop_in_each_boot_as_they_did_in_it(quiet_bundle: Path) -> None:
    bundle, used = open_bundle(quiet_bundle), EngineUsed("onnxruntime", "", 1)
    air = np.full((3, 32, 32), 240, np.uint8)  # scores 0.01 in the first pass
    abouts = (
        {},
        {"least": "0.5"},
        {"engine": "x", "least": "0.5"},
        {"least": ""},
        {"least": "0.1"},
    )
    with ExitStack() as stack:
        screens, stopped = _of_each_boot(stack, bundle, used), []
        for about in abouts:
            detector = screens(Boot(1, 0, None, 1, about, None, None))[FULL]
            assert isinstance(detector, Detector)
            detector(air)
            stopped.append(detector.stopped)
    # The third boot shares the second one's detector; nothing is stated that keeps 0.1.
    assert stopped == [0, 1, 2, 0, 0]


def test_a_restart_with_another_threshold_is_no_difference(
    shift: Path, stand_in_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shift, folder)
    belt = tmp_path / "belt.xstrip"
    record_belt(belt, bags=1, seed=6)
    screen_file(belt, open_bundle(stand_in_bundle), engine="fake", journal=folder)
    base = sqlite3.connect(folder / "journal.sqlite")
    base.execute("UPDATE boots SET about = json_set(about, '$.least', '0.3')"
                 " WHERE epoch = (SELECT max(epoch) FROM boots)")  # fmt: skip
    base.commit()
    base.close()
    result = call(stand_in_bundle, folder, "--engine", "fake", "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert (outcome["compared"], outcome["from_record"], outcome["notices"]) == (3, 0, [])
