"""Scenes of a soak: what is refused, what dies and comes back, and what is said if not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xedge.commands import soak_scenes
from xedge.commands.soak_child import find_nothing, plain_belt, plain_correction
from xedge.commands.soak_judge import Broken, FaultCount
from xedge.commands.soak_scenes import SCENES, compare, remember
from xedge.lane import Journal, LaneConfig, run_lane
from xedge.lane.clock import VirtualClock


@pytest.fixture
def broken() -> Broken:
    return Broken()


def test_a_changed_byte_is_always_noticed(broken) -> None:
    assert SCENES["corrupt-bundle"].play(3, broken) == FaultCount(20, 20)
    assert not broken.count


def test_a_bundle_that_is_opened_all_the_same_is_told(broken, monkeypatch) -> None:
    monkeypatch.setattr(soak_scenes, "parse_bundle", lambda content: None)
    assert SCENES["corrupt-bundle"].play(3, broken) == FaultCount(20, 0, 0, 20)
    assert broken.count == {"missed": 20}
    assert "was changed was opened" in broken.sentences[0]


def test_a_lane_that_is_killed_loses_no_bag(broken, monkeypatch) -> None:
    monkeypatch.setattr(soak_scenes, "KILLS", 2)
    count = SCENES["killed"].play(2, broken)
    assert not broken.count, broken.sentences
    assert count == FaultCount(2, 2)


def test_a_full_disk_stops_the_journal_and_not_the_lane(broken) -> None:
    count = SCENES["disk-full"].play(1, broken)
    assert not broken.count, broken.sentences
    assert count == FaultCount(1, 1)


def test_a_disk_that_is_not_full_is_no_full_disk(broken, monkeypatch) -> None:
    monkeypatch.setattr(soak_scenes, "FULL_DISK_BYTES", 0)
    assert SCENES["disk-full"].play(1, broken).missed == 1
    assert broken.sentences == ["disk-full: the journal says nothing of it"]


@pytest.fixture
def journal(tmp_path) -> Path:
    """Of three bags, all of them CLEAR."""
    config = LaneConfig(max_open_bags=4)
    with Journal(tmp_path / "journal") as book:
        run_lane(plain_belt(1, 1.3), find_nothing, plain_correction(), config, journal=book,
                 clock=VirtualClock())  # fmt: skip
    return tmp_path / "journal"


def test_what_was_told_is_held_against_the_journal(journal) -> None:
    assert compare(journal, {1: "CLEAR", 2: "CLEAR"}) == []
    assert compare(journal, {1: "ALARM"}) == [
        "bag 1 was told as ALARM, and is CLEAR in the journal"
    ]
    assert compare(journal, {9: "CLEAR"}) == ["bag 9 was told as CLEAR, and is None in the journal"]


def test_what_a_lane_takes_back_is_wrong() -> None:
    said = {4: "CLEAR"}
    assert remember(['[4, "CLEAR"]\n', '[5, "ALARM"]\n', '[6, "CL'], said) == []
    assert said == {4: "CLEAR", 5: "ALARM"}
    assert remember(['[4, "ALARM"]\n'], said) == ["bag 4 was CLEAR, and is told again as ALARM"]


@pytest.mark.skipif(sys.platform != "linux", reason="an engine has a process of its own on Linux")
def test_an_engine_that_dies_in_its_process_comes_back(broken) -> None:
    count = SCENES["process-segfault"].play(1, broken)
    assert not broken.count, broken.sentences
    assert count == FaultCount(1, 1)
