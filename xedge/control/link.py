"""The thread that owns one bus: it shows decisions, listens, and connects again by itself."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.control.board import Board, BoardConfig, PlcEvent
from xedge.control.bus import Bus
from xedge.control.image import LaneState
from xedge.errors import LaneError, XedgeError
from xedge.types import Decision

LOG: Final = logging.getLogger("xedge.link")
MAX_EVENTS: Final = 256
"""Events that may wait for `Link`'s thread; more push out the oldest, which are counted."""

OnEvent = Callable[[PlcEvent], None]


@dataclass(frozen=True, kw_only=True)
class LinkConfig(BoardConfig):
    """How a lane deals with its PLC and with the bus to it.

    Attributes:
        poll_s: Seconds from one look at the command image to the next.
        retry_first_s: Seconds from a failure to the first attempt to connect again; each further
            one waits twice as long.
        retry_most_s: Seconds that it waits at the most.
    """

    poll_s: float = 0.05
    retry_first_s: float = 0.2
    retry_most_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_seconds("poll_s", "retry_first_s", "retry_most_s")


@dataclass(frozen=True)
class LinkStatus:
    """How a link is, at one moment.

    Attributes:
        bus: Its name.
        connected: True while the last call of the bus succeeded, and that was no longer ago than
            ``plc_limit_s`` and a poll: False of a bus that hangs, and of a thread that ended.
        plc_alive: True while the PLC's heartbeat is young.
        plc_runs: True while it also lets the lane run.
        state: What the image shows of the lane.
        unacknowledged: Decisions that the PLC has not taken over.
        writes: Images written.
        failures: Calls of the bus that failed.
        connections: Times that the bus became ready.
        pushed_out: Decisions that made room before they were acknowledged.
        withheld: Decisions shown as NOT_CLEARED though the lane had said CLEAR.
        withdrawn: Decisions that were shown as CLEAR and then no more.
        damaged_commands: Command images that were no good.
        lost_events: Events that were pushed out before they were told.
        last_error: What went wrong last; empty while nothing has.
        quiet_s: Seconds since the bus last worked; of a bus that hangs, this grows.
    """

    bus: str
    connected: bool
    plc_alive: bool
    plc_runs: bool
    state: LaneState
    unacknowledged: int
    writes: int
    failures: int
    connections: int
    pushed_out: int
    withheld: int
    withdrawn: int
    damaged_commands: int
    lost_events: int
    last_error: str
    quiet_s: float


class Link:
    """Keeps one PLC informed; a context manager that starts and closes it.

    `publish` and `set_state` may come from any thread and never wait for the bus. The bus is
    touched by the link's own thread alone, and ``on_event`` is called there.

    Args:
        bus: The bus; closed with the link.
        config: How to deal with the PLC.
        epoch: The same for all links of one start of a lane; see `board.new_epoch`.
        on_event: Called with everything that happens, for the journal. What it raises is ignored.
    """

    def __init__(
        self, bus: Bus, config: LinkConfig, epoch: int, *, on_event: OnEvent | None = None
    ) -> None:
        self._bus, self._config = bus, config
        self._on_event = on_event
        self._board = Board(config, epoch)
        self._lock = threading.Lock()  # never held during I/O
        self._wake = threading.Event()
        self._heard = threading.Event()
        self._stop = threading.Event()
        self._events: deque[PlcEvent] = deque(maxlen=MAX_EVENTS)
        self._connected = False
        self._retry_s = config.retry_first_s
        self._retry_at = -math.inf
        self._writes = self._failures = self._connections = self._lost_events = 0
        self._worked_at = time.monotonic()
        self._last_error = ""
        self._drain_until = -math.inf
        self._thread = threading.Thread(target=self._run, name=f"xedge-{bus}", daemon=True)

    def __enter__(self) -> Link:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin.

        Raises:
            LaneError: When the link was started before.
        """
        if self._thread.ident is not None:
            raise LaneError(f"{self._bus}: a link starts once", remedy="Make another link")
        self._thread.start()

    def publish(self, decision: Decision, *, earlier: bool = False) -> None:
        """Show a decision, or one of before the lane's last start again; returns at once."""
        with self._lock:
            self._keep(self._board.take(decision, time.monotonic_ns(), earlier=earlier))
        self._wake.set()

    def set_state(self, state: LaneState) -> None:
        """Show what the lane is doing; returns at once."""
        with self._lock:
            self._board.set_state(state)
        self._wake.set()

    def wait_heard(self, timeout_s: float | None = None) -> bool:
        """True once the bus works and the PLC was heard; False when ``timeout_s`` passed before."""
        return self._heard.wait(timeout_s)

    @property
    def status(self) -> LinkStatus:
        """How it stands."""
        quiet_s = time.monotonic() - self._worked_at
        young = quiet_s <= self._config.plc_limit_s + self._config.poll_s
        with self._lock:
            board = self._board
            self._keep(board.tick(time.monotonic_ns()))  # the thread may hang in a call
            return LinkStatus(
                str(self._bus), self._connected and young, board.plc_alive, board.plc_runs,
                board.state, board.unacknowledged, self._writes, self._failures, self._connections,
                board.pushed_out, board.withheld, board.withdrawn, board.damaged_commands,
                self._lost_events, self._last_error, quiet_s,
            )  # fmt: skip

    def close(self, drain_s: float = 0.0) -> bool:
        """Say farewell and let go of the bus; safe to call twice.

        Args:
            drain_s: Seconds to wait for the PLC to take over what it has not acknowledged, and for
                its encoder to leave the last bag's window: no decision counts behind the farewell.

        Returns:
            False when a call of the bus hangs: its thread is then left behind.
        """
        self._drain_until = time.monotonic() + drain_s
        self._stop.set()
        self._wake.set()
        if self._thread.ident is None:
            self._let_go()
            return True
        self._thread.join(drain_s + self._config.retry_most_s)
        return not self._thread.is_alive()

    def _keep(self, events: list[PlcEvent]) -> None:
        for event in events:
            self._lost_events += len(self._events) == MAX_EVENTS
            self._events.append(event)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # nobody else would say so
            said = f"the thread of this link has ended: {_place_of(error)}"
            LOG.critical("%s: %s. Nothing is shown to the PLC any more", self._bus, said)
            with self._lock:
                self._keep([PlcEvent("bus-down", {"bus": str(self._bus), "error": said})])
                self._last_error = said
            self._let_go()
            with suppress(BaseException):  # it may be what ended the thread
                self._tell()
        finally:
            self._connected = False
            self._heard.clear()

    def _serve(self) -> None:
        while not self._finished():
            self._cycle()
            self._tell()
            self._wake.wait(self._config.poll_s)
            self._wake.clear()
        if self._connected:
            try:
                self._bus.write(self._board.farewell())
            except Exception as error:  # any library may sit behind a bus
                self._fail(error)
        self._let_go()
        self._connected = False
        self._tell()

    def _finished(self) -> bool:
        if not self._stop.is_set():
            return False
        with self._lock:
            drained = self._board.drained
        return drained or not self._connected or time.monotonic() >= self._drain_until

    def _cycle(self) -> None:
        with self._lock:
            self._keep(self._board.tick(time.monotonic_ns()))
        if not self._connected and time.monotonic() < self._retry_at:
            return
        try:
            anew = not self._connected
            if anew:
                self._bus.connect()
            self._write(anew)
            data = self._bus.read()
            with self._lock:
                self._keep(self._board.heard(data, time.monotonic_ns()))
            self._write(anew=False)  # what was heard may have changed it
        except Exception as error:  # any library may sit behind a bus: its thread must live on
            self._fail(error)
            return
        self._worked_at = time.monotonic()
        if not self._connected:
            self._connected = True
            self._connections += 1
            self._retry_s = self._config.retry_first_s
            with self._lock:
                self._keep([PlcEvent("bus-up", {"bus": str(self._bus)})])
        if self._board.plc_alive:
            self._heard.set()
        else:
            self._heard.clear()

    def _write(self, anew: bool) -> None:
        with self._lock:
            now_ns = time.monotonic_ns()
            self._keep(self._board.tick(now_ns))  # to connect may have taken long
            image = self._board.image(now_ns, anew=anew)
        if image is not None:
            self._bus.write(image)
            self._writes += 1

    def _fail(self, error: Exception) -> None:
        said = str(error) if isinstance(error, XedgeError) else _place_of(error)
        self._let_go()
        with self._lock:
            if self._connected or self._last_error != said:
                self._keep([PlcEvent("bus-down", {"bus": str(self._bus), "error": said})])
            self._failures += 1
            self._connected, self._last_error = False, said
        self._heard.clear()
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, self._config.retry_most_s)

    def _let_go(self) -> None:
        try:
            self._bus.close()
        except Exception as error:  # any library may sit behind a bus
            LOG.warning("%s: it could not be closed: %s", self._bus, _place_of(error))

    def _tell(self) -> None:
        while True:
            with self._lock:
                if not self._events:
                    return
                event = self._events.popleft()
            if self._on_event is not None:
                try:
                    self._on_event(event)
                except Exception as error:  # the caller's code: the bus must live on
                    self._last_error = f"on_event raised {type(error).__name__}: {error}"


def _place_of(error: BaseException) -> str:
    """Type and place of an error that a bus did not map; its text might hold a secret."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, {Path(last.filename).name}:{last.lineno}"
