"""A lane's run with a journal, and a journal's folder as a killed process leaves it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xedge.lane import Journal, run_lane
from xedge.lane.clock import VirtualClock
from xedge.types import Detections

AIR = "." * 20


class Shift:
    """Runs lanes of the small belt."""

    def __init__(self, belt) -> None:
        self.belt = belt

    def run(self, folder: Path, bags: int = 2, *, settings=None, strips=None, screen=None, **more):
        """A lane's report, its journal closed; ``strips`` makes them out of the journal."""
        marks = (AIR + "#" * 20) * bags + AIR
        with Journal(folder, settings) as journal:
            return run_lane(
                self.belt.strips(marks) if strips is None else strips(journal),
                screen or (lambda planes: Detections.empty()), self.belt.flat_field,
                self.belt.config(deadline_counts=10**6, bag_limit_s=120.0),
                journal=journal, clock=VirtualClock(), **more,
            )  # fmt: skip

    def killed(self, folder: Path, to: Path) -> Path:
        """What is on the disk now, as a process leaves it that is killed now."""
        for _ in range(10):
            try:
                return Path(shutil.copytree(folder, to))
            except shutil.Error:  # a segment was deleted while it was copied
                shutil.rmtree(to)
        raise AssertionError("the folder never stood still")


@pytest.fixture(scope="session")
def shift(belt) -> Shift:
    return Shift(belt)
