"""What the scenes of a soak are played with: a belt of plain blocks, and engines that die."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xedge.errors import EngineRunError
from xedge.scanner.flatfield import FlatField
from xedge.sim.bank import BankBelt, Placed, Stretch, cut
from xedge.types import AIR_COUNTS, U8, Detections, Verdict

ELEMENTS = 64
LINE_NS = 1e6


def plain_belt(seed: int, seconds: float) -> BankBelt:
    """A belt of blocks, all of them CLEAR, one every half second."""
    low = np.full((384, ELEMENTS), AIR_COUNTS, np.uint16)
    low[96:256, 16:48] = AIR_COUNTS // 3
    bag = Placed(80, 255, Verdict.CLEAR)
    air = np.full((64, ELEMENTS), AIR_COUNTS, np.uint16)
    return BankBelt([Stretch(cut(low, low, 32), (bag,))], cut(air, air, 32), seed=seed,
                    seconds=seconds, line_ns=LINE_NS)  # fmt: skip


def plain_correction() -> FlatField:
    """The correction of a detector that needs none."""
    shape = (2, ELEMENTS)
    return FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def find_nothing(planes: U8) -> Detections:
    """No detection."""
    del planes
    return Detections.empty()


class DyingEngine:
    """A screen that finds nothing, until its fourth window; see `lane.selftest.KnowsAnswer`.

    Args:
        death: ``hang``, ``segfault`` or ``raise``.
        died: A file that is there when it has died before: then it lives.
    """

    ready = True
    name = "dying"

    def __init__(self, death: str, died: Path) -> None:
        self._death, self._died, self._windows = death, died, 0

    def __call__(self, planes: U8) -> Detections:
        """Nothing, or the end."""
        self._windows += 1
        if self._windows == 4 and not self._died.exists():
            self._died.touch()
            if self._death == "hang":
                time.sleep(3600)
            if self._death == "segfault":
                ctypes.string_at(0)
            raise EngineRunError("the engine failed as it was told to")
        return find_nothing(planes)

    def self_test(self) -> None:
        """Nothing: the answer is right while it lives."""


@contextmanager
def open_dying(death: str, died: str) -> Iterator[DyingEngine]:
    """A `DyingEngine`, in a process of its own."""
    yield DyingEngine(death, Path(died))
