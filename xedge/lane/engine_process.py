"""An engine in a process of its own: what it does to itself, it does not do to the lane.

    __enter__ ──► STARTING ──READY, golden answer verified──► READY ──┐
                     ▲                                          │     │ windows, self-tests
                     │ back-off, doubling                       └─────┘
                     │                                          │
                   DOWN ◄── killed ◄── too slow, died, or raised┘

While it is not ready, windows fail at once: nothing queues behind a start. No thread of its own:
what is due is done when the thread that calls it calls, see `xedge.lane.selftest.Tended`.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from xedge.errors import ConfigError, EngineError, EngineLoadError, EngineRunError, ImageError
from xedge.lane.engine_pipe import (
    ANSWER,
    REQUEST,
    Ask,
    Child,
    Layout,
    OpenScreen,
    Say,
    unpacked_error,
)
from xedge.lane.events import Note
from xedge.types import U8, Detections

STEADY_S: Final = 60.0
"""Seconds of work after which a failure counts as the first one again."""

MOST_NOTES: Final = 100
LARGEST_OPENER: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """How long an engine may take, and when it is tried again.

    Attributes:
        window_s: Seconds that a window or a self-test may take.
        start_s: Seconds from a start to the verified golden answer; engines may be built in it.
        retry_first_s: Seconds from a failure to the next start.
        retry_most_s: Seconds that it doubles up to, failure by failure.

    Raises:
        ConfigError: When a number cannot be.
    """

    window_s: float = 10.0
    start_s: float = 600.0
    retry_first_s: float = 0.2
    retry_most_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("window_s", "start_s", "retry_first_s", "retry_most_s"):
            if not 0 < getattr(self, name) < 1e6:
                raise ConfigError(f"an engine's {name} cannot be used",
                                  expected="above 0, below a million",
                                  found=str(getattr(self, name)))  # fmt: skip


@dataclass(frozen=True)
class ProcessState:
    """What an engine's process does at one moment.

    Attributes:
        ready: True while windows are screened.
        pid: Of the process; None while there is none.
        name: The engine, in its own words.
        restarts: Times that it was ready again.
        failures: Times that it was found hung, dead, or raising, or did not start.
        last_failure: Why, the last time.
    """

    ready: bool
    pid: int | None
    name: str
    restarts: int
    failures: int
    last_failure: str


class EngineProcess:
    """A `xedge.lane.publisher.Screen` in a process of its own; a context manager.

    One thread calls it; any thread may read `state` and `close` it.

    Args:
        open_screen: Opens, in the process, what screens; pickled, so a module's function or a
            `functools.partial` of one. What it opens must pass its self-test.
        layout: Windows and answers at the most.
        limits: How long things may take.
        now_s: The time, seconds that never fall; the waiting itself is always real.

    Raises:
        ConfigError: Where there is no Linux, whose kernel ends the process with the lane's.
    """

    def __init__(
        self,
        open_screen: OpenScreen,
        layout: Layout,
        limits: EngineLimits | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if sys.platform != "linux":
            raise ConfigError("an engine has a process of its own on Linux alone",
                              found=sys.platform, remedy="Set process = false")  # fmt: skip
        self._opener = pickle.dumps(open_screen)
        if len(self._opener) > LARGEST_OPENER:
            raise ConfigError("what opens an engine is too large to be sent",
                              expected=f"at most {LARGEST_OPENER} bytes",
                              found=f"{len(self._opener)} bytes",
                              remedy="Let it open a file")  # fmt: skip
        self._layout, self._limits, self._now_s = layout, limits or EngineLimits(), now_s
        self._lock = threading.Lock()  # held by who calls; `close` comes from another thread
        self._closed = False
        self._child: Child | None = None
        self._ready, self._name, self._last_failure = False, "", ""
        self._starts = self._failures = self._in_a_row = self._stopped = 0
        self._since_s = self._retry_at_s = now_s()  # since when it starts, or is ready
        self._notes: deque[Note] = deque(maxlen=MOST_NOTES)

    def __enter__(self) -> EngineProcess:
        """The engine, ready.

        Raises:
            EngineError: When it does not start, or does not reproduce the golden answer.
            XedgeError: Whatever else the engine's own opening raised.
        """
        with self._lock:
            child = self._spawn()
            try:
                if not child.says_something(self._limits.start_s):
                    raise self._too_slow()
                self._hear(child)
            except BaseException:
                self._drop()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; safe to call twice. A window that is being screened fails."""
        self._closed = True
        child = self._child
        if child is not None:  # who waits for it holds the lock, until it is gone
            child.end()
        with self._lock:
            self._drop()

    @property
    def ready(self) -> bool:
        """True while windows are screened."""
        return self._ready

    @property
    def state(self) -> ProcessState:
        """What the process does now."""
        child = self._child
        return ProcessState(
            self._ready,
            child.pid if child is not None else None,
            self._name,
            max(0, self._starts - 1),
            self._failures,
            self._last_failure,
        )

    @property
    def stopped(self) -> int:
        """Windows so far that were left early, by this process and those before it."""
        return self._stopped

    def __call__(self, planes: U8) -> Detections:
        """What is found in a window, in its pixels.

        Raises:
            ImageError: When the planes are no window; the process is not asked then.
            EngineError: When it did not answer in time, died or raised, and is started again; or
                at once, while it is.
        """
        fits = planes.ndim == 3 and planes.shape[0] == 3 and planes.dtype == np.uint8
        if not fits or planes.shape[1] > self._layout.height or (
            planes.shape[2] > self._layout.width) or not planes.size:  # fmt: skip
            raise ImageError(
                "a window does not fit the engine",
                expected=f"uint8 [3, 1..{self._layout.height}, 1..{self._layout.width}]",
                found=f"{planes.dtype} {list(planes.shape)}",
                remedy="Cut it as the bundle's description says",
            )
        with self._lock:
            child = self._ready_child()
            _, height, width = planes.shape
            child.block.planes(height, width)[...] = planes
            number, early = ANSWER.unpack(self._ask(child, Ask.RUN, height, width))
            self._stopped += early
            return child.block.get(number)

    def self_test(self) -> None:
        """Nothing, when the engine reproduces the bundle's golden answer.

        Raises:
            EngineError: When it does not, or as a window would; it is started again then.
        """
        with self._lock:
            self._ask(self._ready_child(), Ask.TEST, 0, 0)

    def tend(self, idle: bool) -> tuple[Note, ...]:
        """What has happened since the last call: deaths while idle, failed starts, restarts."""
        with self._lock:
            self._advance()
            notes = tuple(self._notes)
            self._notes.clear()
        return notes

    # The rest holds the lock.

    def _ready_child(self) -> Child:
        """The process, when it is ready now."""
        self._advance()
        if self._child is None or not self._ready:
            raise EngineRunError(
                "the engine is closed" if self._closed else
                f"the engine is being started again, because {self._last_failure}"
            )  # fmt: skip
        return self._child

    def _ask(self, child: Child, wanted: Ask, height: int, width: int) -> bytes:
        try:
            child.send(REQUEST.pack(wanted, height, width))
            if not child.says_something(self._limits.window_s):
                raise EngineRunError(
                    f"the engine did not answer within {self._limits.window_s} s, and was ended"
                )
            said, rest = child.hear()
            if said == Say.FAILED:
                raise unpacked_error(rest)
        except Exception as error:
            self._fail(str(error))
            raise
        if self._in_a_row and self._now_s() - self._since_s > STEADY_S:
            self._in_a_row = 0
        return rest

    def _advance(self) -> None:
        """Do what is due, without waiting for anything."""
        if self._closed:
            return
        child = self._child
        if child is None:
            if self._now_s() >= self._retry_at_s:
                try:
                    self._spawn()
                except Exception as error:  # no memory for it, say: there may be some later
                    self._fail_quietly(f"the engine cannot be started: {error}")
        elif self._ready:
            if child.gone:
                self._fail_quietly(child.epitaph())
        elif child.says_something(0.0):
            try:
                self._hear(child)
            except Exception as error:
                self._fail_quietly(f"the engine did not start: {error}")
            else:
                self._notes.append(Note("engine-restarted", {"restarts": self._starts - 1}))
        elif self._now_s() - self._since_s > self._limits.start_s:
            self._fail_quietly(str(self._too_slow()))

    def _too_slow(self) -> EngineError:
        return EngineLoadError(
            f"the engine was not ready within {self._limits.start_s} s",
            remedy="Build it beforehand with `xedge compile`, or set a larger start_s",
        )

    def _spawn(self) -> Child:
        self._child, self._since_s = Child(self._layout, self._opener), self._now_s()
        return self._child

    def _hear(self, child: Child) -> None:
        """Take the first words of a process.

        Raises:
            XedgeError: When it says that it could not start, or is gone.
        """
        said, rest = child.hear()
        if said == Say.FAILED:
            raise unpacked_error(rest)
        self._name, self._ready, self._since_s = rest.decode(), True, self._now_s()
        self._starts += 1

    def _fail_quietly(self, why: str) -> None:
        """As `_fail`, where no window tells of it."""
        self._fail(why)
        self._notes.append(Note("engine-failed", {"error": why}))

    def _drop(self) -> None:
        child, self._child, self._ready = self._child, None, False
        if child is not None:
            child.end()
            child.forget()

    def _fail(self, why: str) -> None:
        self._drop()
        self._last_failure = why
        self._failures += 1
        first, most = self._limits.retry_first_s, self._limits.retry_most_s
        # Only as many doublings as matter: a float has an end.
        self._retry_at_s = self._now_s() + min(first * 2.0 ** min(self._in_a_row, 60), most)
        self._in_a_row += 1
