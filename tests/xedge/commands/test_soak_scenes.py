"""Scenes of a soak: what is refused, what dies and comes back, and what is said if not."""

from __future__ import annotations

import sys

import pytest

from xedge.commands import soak_scenes
from xedge.commands.soak_judge import Broken, FaultCount
from xedge.commands.soak_scenes import SCENES


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


@pytest.mark.skipif(sys.platform != "linux", reason="an engine has a process of its own on Linux")
def test_an_engine_that_dies_in_its_process_comes_back(broken) -> None:
    count = SCENES["process-segfault"].play(1, broken)
    assert not broken.count, broken.sentences
    assert count == FaultCount(1, 1)
