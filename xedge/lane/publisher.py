"""What both drivers share: decisions and notes leave the lane here, and work is booked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from xedge.errors import XedgeError
from xedge.lane.config import FULL
from xedge.lane.core import LaneCore
from xedge.lane.events import (
    Action,
    Emit,
    Note,
    Order,
    RunWindow,
    WindowDone,
    WindowFailed,
)
from xedge.lane.journal import Journal
from xedge.lane.report import LaneReport, Tally
from xedge.lane.vitals import Vitals
from xedge.types import U8, Decision, Detections, Scan

Screen = Callable[[U8], Detections]
"""Finds objects in one window's planes, boxes in their pixels: `Detector.detect_window`."""

OnDecision = Callable[[Decision, Scan | None], None]


class Publisher:
    """Journals, then publishes, then remembers for the report.

    Args:
        on_decision: Called with each decision, and the scan it is about.
        journal: Takes a record of everything.
        keep: How many of the last decisions are remembered; None remembers all.
        vitals: Where errors and figures are kept for other threads.
    """

    def __init__(
        self,
        on_decision: OnDecision | None,
        journal: Journal | None,
        keep: int | None = None,
        vitals: Vitals | None = None,
    ) -> None:
        self._on_decision = on_decision
        self._journal = journal
        self._vitals = vitals or Vitals()
        self._left: deque[Action] = deque()  # not carried out yet, after an interrupt
        self._decisions: deque[Decision] = deque(maxlen=keep)
        self._tally = Tally()
        self._callback_errors = self._resent = 0
        self.core_ns = 0
        self.engine_ns = 0
        self.windows = 0
        self.belt_ns = 0

    def publish(self, actions: tuple[Action, ...]) -> list[Order]:
        """Carry out decisions and notes in their order; what is left is for the engine."""
        orders: list[Order] = []
        self._left.extend(actions)
        while self._left:
            action = self._left[0]
            if isinstance(action, Emit) and self._journal is not None:
                self._journal.decide(action.decision)
            self._left.popleft()  # an interrupt before: it is done again
            if isinstance(action, Emit):
                self._decisions.append(action.decision)
                self._tally.add(action.decision)
                self._vitals.latencies.add(action.decision.latency_ns * 1e-9)
                self._tell(action)
            elif isinstance(action, Note):
                self.tell(action)
            else:
                orders.append(action)
        self._look_at_journal()
        return orders

    def resend(self) -> None:
        """Publish what an earlier run of the lane has decided and nobody has taken over."""
        for decision in self._journal.pending if self._journal is not None else ():
            self._resent += 1
            self._tell(Emit(decision, None))

    def engine_worked(self, duration_ns: int | None) -> None:
        """Book a window's time in the engine; None when the engine was not asked."""
        if duration_ns is not None:
            self.engine_ns += duration_ns
            self.windows += 1

    def _tell(self, emit: Emit) -> None:
        try:
            if self._on_decision is not None:
                self._on_decision(emit.decision, emit.scan)
        except Exception as error:  # the caller's code: it must not stop the bags behind
            self._callback_errors += 1
            self.note_error(
                f"bag {emit.decision.bag}: on_decision raised {type(error).__name__}: {error}"
            )
            return
        if self._journal is not None and not self._journal.acknowledged_elsewhere:
            self._journal.acknowledge(emit.decision.bag)

    def tell(self, note: Note) -> None:
        """Journal a note, and keep its error; any thread may."""
        if self._journal is not None:
            self._journal.write(note.kind, note.fields)
        if error := str(note.fields.get("error", "")):
            bag = f"bag {note.fields['bag']}: " if "bag" in note.fields else ""
            self.note_error(f"{bag}{error}")

    def note_error(self, message: str) -> None:
        """Keep a message for the report; any thread may."""
        self._vitals.errors.add(message)

    def _look_at_journal(self) -> None:
        """A full disk stops the journal, never the lane."""
        if self._journal is not None and self._journal.failure:
            if not self._vitals.journal_errors:
                self.note_error(f"the journal stopped: {self._journal.failure}")
            self._vitals.journal_failing = True
            self._vitals.journal_errors = max(1, self._journal.lost)

    def report(self, core: LaneCore, realtime: bool) -> LaneReport:
        """The outcome so far."""
        self._look_at_journal()
        self._vitals.ledger, self._vitals.detector = core.ledger, core.health
        return LaneReport(
            decisions=tuple(self._decisions),
            tally=self._tally.copy(),
            ledger=core.ledger,
            health=core.health,
            belt_s=self.belt_ns * 1e-9,
            engine_s=self.engine_ns * 1e-9,
            core_s=self.core_ns * 1e-9,
            windows=self.windows,
            errors=self._vitals.errors.messages(),
            journal_errors=self._vitals.journal_errors,
            resent=self._resent,
            callback_errors=self._callback_errors,
            realtime=realtime,
        )


def screen_window(screen: Screen, order: RunWindow, rung: str = FULL) -> WindowDone | WindowFailed:
    """The answer to an order; whatever the detector raises becomes a failure of its window."""
    try:
        found = screen(order.planes)
    except Exception as error:  # any library may sit behind the callable: no error may pass
        return WindowFailed(order.bag, order.index, in_words(error))
    if not isinstance(found, Detections):
        return WindowFailed(
            order.bag, order.index, f"the detector answered {type(found).__name__}"
        )  # fmt: skip
    return WindowDone(order.bag, order.index, found, rung)


def in_words(error: BaseException) -> str:
    """What an error says; of one that is not xedge's own, its name as well."""
    return str(error) if isinstance(error, XedgeError) else f"{type(error).__name__}: {error}"
