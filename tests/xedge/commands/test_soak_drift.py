"""The scenes of a detector that drifts, and that they tell a lane that does wrong."""

from __future__ import annotations

import pytest

from xedge.commands import soak_drift
from xedge.commands.soak_judge import Broken, FaultCount
from xedge.commands.soak_scenes import SCENES
from xedge.scanner.follow import FollowConfig


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    """For a belt of 40 bags, with rests of the tube all the same."""
    bags, rest = 40, soak_drift.DARK_STRIPS * soak_drift.STRIP_LINES
    lines = soak_drift.AIR_LINES + soak_drift.BAG_LINES
    monkeypatch.setattr(soak_drift, "BAGS", bags)
    monkeypatch.setattr(soak_drift, "LINES", bags * lines + bags // soak_drift.DARK_EVERY * rest)
    monkeypatch.setattr(soak_drift, "WITHIN", 0.006)  # at the pace of a longer belt
    return Broken()


@pytest.mark.parametrize("name", ["drift-within", "drift-beyond"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_lane_that_follows_keeps_its_promises(broken, name, seed) -> None:
    assert SCENES[name].play(seed, broken) == FaultCount(1, 1)
    assert not broken.sentences


def test_a_lane_that_does_not_follow_is_told(broken, monkeypatch) -> None:
    monkeypatch.setattr(soak_drift, "FollowConfig", FollowConfig.off)
    assert SCENES["drift-within"].play(1, broken).missed == 1
    assert any("nothing was followed" in sentence for sentence in broken.sentences)
    assert SCENES["drift-beyond"].play(1, broken).missed == 1
    assert any("because of the dark reads" in sentence for sentence in broken.sentences)


def test_something_dense_that_is_cleared_is_told(broken, monkeypatch) -> None:
    monkeypatch.setattr(soak_drift, "dense", lambda planes: soak_drift.Detections.empty())
    assert SCENES["drift-beyond"].play(1, broken).missed == 1
    assert any("with something dense lies there" in sentence for sentence in broken.sentences)
