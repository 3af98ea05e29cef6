"""Engines that only take time, in a process of their own: what is left is the lane's."""

from __future__ import annotations

import functools
import time
from types import TracebackType
from typing import Final

from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineProcess
from xedge.spec import ModelSpec
from xedge.types import U8, Detections

PAUSE: Final = "pause"
"""Sleeps: both cores are the lane's."""

SPIN: Final = "spin"
"""Works: a core is the engine's for as long."""

KINDS: Final = (PAUSE, SPIN)


class PretendedEngine:
    """Finds nothing, in a given time; see `xedge.lane.selftest.KnowsAnswer`.

    Args:
        kind: One of `KINDS`.
        work_s: Seconds that a window takes.
    """

    ready = True

    def __init__(self, kind: str, work_s: float) -> None:
        self.name, self._work_s = kind, work_s

    def __enter__(self) -> PretendedEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        pass

    def __call__(self, planes: U8) -> Detections:
        """No detections, when the time is up."""
        until_s = time.perf_counter() + self._work_s
        if self.name == PAUSE:
            time.sleep(self._work_s)
        while time.perf_counter() < until_s:
            pass
        return Detections.empty()

    def self_test(self) -> None:
        """Nothing: it knows no other answer."""


def pretended_engine(kind: str, work_s: float, spec: ModelSpec) -> EngineProcess:
    """Such an engine in a process of its own, for a model's windows; a context manager."""
    opener = functools.partial(PretendedEngine, kind, work_s)
    return EngineProcess(opener, Layout(spec.height, spec.width, max(1, spec.candidates)))
