"""What runs in the processes of a soak's scenes: lanes that are killed, and engines that die."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xedge.errors import EngineRunError
from xedge.lane.config import LaneConfig
from xedge.lane.journal import Journal
from xedge.lane.runner import run_lane
from xedge.scanner.flatfield import FlatField
from xedge.sim.bank import BankBelt, Placed, Stretch, cut
from xedge.types import AIR_COUNTS, U8, Decision, Detections, Scan, Verdict

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


def run_journalled(journal: str, seed: int, seconds: float) -> None:
    """Run a lane with a journal; what it says are lines of JSON on standard output.

    Each decision is told as soon as the lane publishes it; the report at the end, if there is one.
    """

    def say(record: object) -> None:
        os.write(1, f"{json.dumps(record)}\n".encode())

    def tell(decision: Decision, scan: Scan | None) -> None:
        del scan
        say([decision.bag, decision.verdict.name])

    with Journal(journal) as book:
        report = run_lane(
            plain_belt(seed, seconds), find_nothing, plain_correction(), LaneConfig(),
            journal=book, on_decision=tell, keep=10,
        )  # fmt: skip
        say(report.to_dict() | {"failure": book.failure})


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
                faulthandler.disable()  # it is no news
                ctypes.string_at(0)
            raise EngineRunError("the engine failed as it was told to")
        return find_nothing(planes)

    def self_test(self) -> None:
        """Nothing: the answer is right while it lives."""


@contextmanager
def open_dying(death: str, died: str) -> Iterator[DyingEngine]:
    """A `DyingEngine`, in a process of its own."""
    yield DyingEngine(death, Path(died))


def main() -> None:
    """Run what the command line says: a journal, a seed, seconds of belt, bytes of a file.

    The last one makes the disk full, for this process alone; 0 does not.
    """
    journal, seed, seconds, most = sys.argv[1:]
    if int(most):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    run_journalled(journal, int(seed), float(seconds))


if __name__ == "__main__":
    main()
