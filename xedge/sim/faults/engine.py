"""Faults of the engine, as they show to a lane that asks it about a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

import numpy as np

from xedge.errors import EngineRunError
from xedge.sim.faults.tape import Severity
from xedge.types import U8, Detections, Reason

Screen = Callable[[U8], Detections]
Sleep = Callable[[float], None]

FAILED: Final = frozenset({Reason.ENGINE_FAILED})
BEHIND: Final = frozenset({Reason.TIMEOUT, Reason.OVERLOAD})


@dataclass(frozen=True)
class EngineFault:
    """A fault of the engine.

    Attributes:
        name: Its name on the command line.
        what: What happens, a clause.
        then: What the lane must do about it, a clause.
        strike: What the engine does instead of screening one window.
        must: A decision must carry one of these.
        seconds: How long it lasts.
    """

    name: str
    what: str
    then: str
    strike: Callable[[Screen, U8, Sleep, Severity], Detections]
    must: frozenset[Reason]
    seconds: Callable[[Severity], float] = lambda severity: 0.0


def _slow(screen: Screen, planes: U8, sleep: Sleep, severity: Severity) -> Detections:
    sleep(severity.slow_s)
    return screen(planes)


def _hang(screen: Screen, planes: U8, sleep: Sleep, severity: Severity) -> Detections:
    del screen, planes
    sleep(severity.hung_s)
    raise EngineRunError("the engine hung, and was ended", found=f"{severity.hung_s} s")


def _crash(screen: Screen, planes: U8, sleep: Sleep, severity: Severity) -> Detections:
    del screen, planes, sleep, severity
    raise RuntimeError("the engine crashed as it was told to")


def _not_a_number(screen: Screen, planes: U8, sleep: Sleep, severity: Severity) -> Detections:
    del screen, planes, sleep, severity
    return Detections(
        np.full((1, 4), np.nan, np.float32), np.full(1, np.nan, np.float32), np.zeros(1, np.int32)
    )


def _nonsense(screen: Screen, planes: U8, sleep: Sleep, severity: Severity) -> Detections:
    del screen, planes, sleep, severity
    return cast(Detections, "no detections at all")


_ALL: Final = (
    EngineFault("engine-slow", "one window takes longer than the deadline",
                "TIMEOUT", _slow, BEHIND, lambda severity: severity.slow_s),
    EngineFault("engine-hung", "the engine hangs, and fails when it is ended",
                "TIMEOUT, ENGINE_FAILED or OVERLOAD until it is back", _hang, BEHIND | FAILED,
                lambda severity: severity.hung_s),
    EngineFault("engine-crash", "the engine raises an error", "ENGINE_FAILED", _crash, FAILED),
    EngineFault("engine-nan", "the engine answers boxes and scores that are not numbers",
                "ENGINE_FAILED", _not_a_number, FAILED),
    EngineFault("engine-nonsense", "the engine answers something else than detections",
                "ENGINE_FAILED", _nonsense, FAILED),
)  # fmt: skip

ENGINE_FAULTS: Final = MappingProxyType({fault.name: fault for fault in _ALL})
"""Every fault of the engine, by name."""


class FaultyScreen:
    """A screen that fails when it is told to; call it like the one it wraps.

    Args:
        screen: What finds objects in a window.
        sleep: What passes the time of slow and hung ones; a virtual clock's in a soak.
        severity: How long they take.

    Attributes:
        on_strike: Called with the fault just before it happens.
    """

    def __init__(
        self,
        screen: Screen,
        sleep: Sleep,
        severity: Severity | None = None,
    ) -> None:
        self._screen, self._sleep = screen, sleep
        self._severity = severity or Severity()
        self.on_strike: Callable[[EngineFault], None] = lambda fault: None
        self._armed: EngineFault | None = None

    def arm(self, fault: EngineFault) -> None:
        """Let it happen at the next window, once."""
        self._armed = fault

    def __call__(self, planes: U8) -> Detections:
        """What is found in a window, or what the fault makes of it."""
        fault, self._armed = self._armed, None
        if fault is None:
            return self._screen(planes)
        self.on_strike(fault)
        return fault.strike(self._screen, planes, self._sleep, self._severity)
