"""A small belt for the lane's tests: 24 elements, windows of 32 lines, a line a microsecond."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from xedge.lane import LaneConfig
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.windows import WindowPlan
from xedge.types import AIR_COUNTS, Detections, Strip

ELEMENTS = 24
LINE_NS = 1_000_000


class SmallBelt:
    """Makes strips out of marks: ``.`` a line of air, ``#`` a line of matter."""

    elements = ELEMENTS
    line_ns = LINE_NS

    @property
    def flat_field(self) -> FlatField:
        shape = (2, ELEMENTS)
        return FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                         np.zeros(shape, np.bool_))  # fmt: skip

    def config(self, **changes) -> LaneConfig:
        values = {
            "pitch_mm": 1.0,
            "counts_per_mm": 1.0,
            "deadline_counts": 60,
            "bag_limit_s": 1.0,
            "windows": WindowPlan(32, 8, 2),
            "cutter": CutterConfig(
                min_elements=4, min_gap_lines=6, margin_lines=3, max_bag_lines=100
            ),
        }
        return LaneConfig(**(values | changes))

    def strip(self, marks: str, first: int, *, elements=ELEMENTS, intact=True, encoder=None):
        low = np.full((len(marks), elements), AIR_COUNTS, np.uint16)
        low[[mark == "#" for mark in marks], 6:18] = 20_000
        places = np.arange(first, first + len(marks)) if encoder is None else np.asarray(encoder)
        captured_ns = (first + len(marks)) * LINE_NS
        return Strip(first, places.astype(np.int64), low, low.copy(), captured_ns, intact)

    def strips(self, marks: str, size: int = 5) -> list[Strip]:
        return [self.strip(marks[k : k + size], k) for k in range(0, len(marks), size)]

    def found(self, score: float) -> Detections:
        return Detections(
            np.array([[4, 2, 8, 6]], np.float32),
            np.array([score], np.float32),
            np.array([1], np.int32),
        )


@pytest.fixture(scope="session")
def belt() -> SmallBelt:
    return SmallBelt()


# An engine that does what the first pixel says. It lies in a file of its own, as the child imports
# it; `folder` holds what a test tells it meanwhile.
FAULTY_ENGINE = """
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xedge.errors import EngineLoadError, EngineRunError
from xedge.types import Detections

ANSWER, RAISE, HANG, SEGV, EXIT, NO_DETECTIONS, TOO_MANY, NAN, BUG = range(9)


class Faulty:
    ready = True
    name = "faulty 1.0"

    def __init__(self, folder):
        self._folder = folder

    def __call__(self, planes):
        wanted = int(planes[0, 0, 0])
        n = 1
        if wanted == RAISE:
            raise EngineRunError("out of memory", expected="a megabyte", remedy="Buy some")
        if wanted == BUG:
            raise ZeroDivisionError("no")
        if wanted == HANG:
            time.sleep(600)
        if wanted == SEGV:
            os.kill(os.getpid(), signal.SIGSEGV)
        if wanted == EXIT:
            sys.exit(3)
        if wanted == NO_DETECTIONS:
            return [1]
        if wanted == TOO_MANY:
            n = 1000
        box = [1, 2, planes.shape[2], planes.shape[1]]
        score = np.nan if wanted == NAN else 0.75
        return Detections(np.array([box] * n, np.float32), np.full(n, score, np.float32),
                          np.full(n, planes.sum() % 1000, np.int32))

    def self_test(self):
        if (self._folder / "wrong").exists():
            raise EngineRunError("the engine does not reproduce the golden answer")


@contextmanager
def faulty(folder):
    folder = Path(folder)
    print("libraries print to standard output")
    if (folder / "slow").exists():
        time.sleep(600)
    if (folder / "broken").exists():
        raise EngineLoadError("the model is broken", found="nothing", remedy="Mend it")
    yield Faulty(folder)
"""


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory):
    """The module of an engine that fails on demand; a child process finds it as well."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "xedge_faulty_engine.py").write_text(FAULTY_ENGINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("xedge_faulty_engine")
