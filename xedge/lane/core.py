"""The core of a lane: a state machine ``(event, now) -> actions`` without threads or I/O.

A bag goes through three states::

    scanning --BagEnded--> waiting --all windows answered--> decided
        |                     |
        +------ too late -----+---------------------------> decided (TIMEOUT)

Bags are decided strictly in the order in which they began, each exactly once. Until then a bag
is NOT_CLEARED: nothing makes CLEAR but `verdict.decide`, at the moment of emission.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from xedge.lane.bag import Bag
from xedge.lane.config import FAILED, SKIPPED, LaneConfig
from xedge.lane.deadlines import Deadlines
from xedge.lane.events import (
    Action,
    BeltRunning,
    Cancel,
    Emit,
    Event,
    Interrupted,
    LinesLost,
    Note,
    Retuned,
    RunWindow,
    SourceEnded,
    StripArrived,
    WindowDone,
    WindowFailed,
)
from xedge.lane.ledger import Ledger
from xedge.lane.odometer import LineClock
from xedge.lane.rescan_watch import RescanWatch
from xedge.lane.verdict import HOLE_REASON, decide
from xedge.lane.viewwatch import ViewWatch
from xedge.scanner.cutter import BagCutter
from xedge.scanner.health import DetectorHealth
from xedge.scanner.intake import Admission, Intake, Refusal
from xedge.scanner.pieces import BagBegun, BagEnded, BagLines, BagUnscanned, GapLines, Lines, Piece
from xedge.scanner.sidebyside import Corrections, SideBySide
from xedge.types import Reason, Strip


class LaneCore:
    """One belt. Feed it events in order of time; do what it answers.

    Args:
        correction: Of the detector, or of each of its views.
        config: The set-up.
        first_bag: The number of the first bag.
    """

    def __init__(self, correction: Corrections, config: LaneConfig, first_bag: int = 1) -> None:
        self._config = config
        self._detector = SideBySide(correction, config.correction)
        self._elements, self._columns = self._detector.elements, self._detector.columns
        self._intake = Intake(self._elements, config.counts_per_line, config.direction,
                              config.encoder_period, self._detector)  # fmt: skip
        self._rescan = RescanWatch(self._elements, config, len(self._columns))
        self._cutter = BagCutter(config.cutter, first_bag, self._columns)
        self._views = ViewWatch(self._cutter, config, len(self._columns))
        self._ledger = Ledger()
        self._queue: deque[Bag] = deque()  # bags without a decision, in their order
        self._scanning: Bag | None = None  # the bag under the beam, decided or not
        self._seam: tuple[Bag | None, frozenset[Reason]] | None = None  # the part in front of it
        self._asked: set[tuple[int, int]] = set()  # windows not answered yet
        self._ended = False
        self._line_clock = LineClock()
        self._deadlines = Deadlines(config)
        self._odometer, self._clock = self._deadlines.odometer, self._deadlines.clock

    @property
    def ledger(self) -> Ledger:
        """The books as they stand, a copy."""
        return replace(
            self._ledger,
            refused_lines=dict(self._ledger.refused_lines),
            held_lines=self._cutter.held_lines,
            open_bags=len(self._queue),
            blind_lines=tuple(self._detector.blind_lines),
        )

    @property
    def health(self) -> DetectorHealth:
        """What the lines say of the detector so far."""
        return replace(self._detector.health(), displaced=self._views.displaced)

    @property
    def correction_sha256(self) -> str:
        """The digest of the correction in force."""
        return self._detector.digest

    @property
    def next_wake_ns(self) -> int | None:
        """When a `Tick` must come at the latest; None while no bag is open, or the belt stands."""
        if not self._queue:
            return None
        return self._deadlines.limit_ns(self._queue[0])

    @property
    def idle(self) -> bool:
        """True while no bag is open."""
        return not self._queue

    @property
    def done(self) -> bool:
        """True when the source has ended and every bag is decided."""
        return self._ended and not self._queue

    def handle(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """What is to be done, in this order, now that ``event`` has happened.

        Args:
            event: What happened.
            now_ns: The time, on the clock of the strips' ``captured_ns``; never falls.
        """
        out: list[Action] = []
        if isinstance(event, StripArrived):
            self._take_strip(event.strip, now_ns, out)
            out.extend(Note(news.kind, news.fields) for news in self._detector.news())
        elif isinstance(event, LinesLost):
            self._ledger.lines_in += event.lines
            self._account(self._intake.lost(event.lines, event.cause), now_ns, out)
        elif isinstance(event, WindowDone):
            self._take_result(event, out)
        elif isinstance(event, WindowFailed):
            self._take_failure(event, out)
        elif isinstance(event, BeltRunning):
            self._say_running(event.running, now_ns, out)
        elif isinstance(event, Retuned):
            self._config = replace(self._config, alarm_threshold=event.alarm_threshold)
            out.append(Note("retuned", {"alarm_threshold": event.alarm_threshold}))
        elif isinstance(event, SourceEnded):
            self._ended = True
            out.append(Note("source-ended", {"error": event.error}))
            self._take_pieces(self._views.finish(self._detector.seeing), now_ns, out)
        elif isinstance(event, Interrupted):
            self._ended = True
            out.append(Note("interrupted", {}))
            self._take_pieces(self._views.finish(), now_ns, out)
            for bag in self._queue:
                bag.reasons.add(Reason.USER_INTERRUPT)
        self._decide_what_can_be(now_ns, out)
        out.extend(self._deadlines.moved(self._queue, now_ns))
        return tuple(out)

    # Lines

    def _take_strip(self, strip: Strip, now_ns: int, out: list[Action]) -> None:
        self._ledger.lines_in += len(strip)
        admission = self._intake.admit(strip)
        self._account(admission, now_ns, out)
        if admission.again is not None and admission.again.any():
            self._look_again(strip, admission, now_ns, out)
        if admission.use is None or admission.places is None:
            if admission.refused.keys() <= {Refusal.STANDING, Refusal.RESCANNED}:
                self._odometer.stood(strip.captured_ns)
            return
        self._say_running(True, now_ns, out)
        low, high, encoder = strip.low, strip.high, admission.places
        counter = strip.first_line + np.arange(len(strip), dtype=np.int64)
        use = None if admission.use.all() else admission.use
        if use is not None:
            low, high, encoder, counter = low[use], high[use], encoder[use], counter[use]
        time_ns = self._line_clock.times_ns(strip, len(encoder), admission.hole > 0)
        raw, (low, high) = (low, high), self._detector.correct(low, high, use)
        if self._detector.fault:  # a bag may end in these lines as well as begin
            self._cutter.flag(Reason.DETECTOR_FAULT)
        self._rescan.remember(encoder, low)
        lines, flaws = Lines(low, high, encoder, counter, time_ns), self._detector.flaws(use)
        pieces, notes = self._views.cut(lines, flaws, self._config.direction)
        out.extend(notes)
        if self._cutter.open_bag is None and all(isinstance(p, GapLines) for p in pieces):
            self._detector.idle(*raw, use)
        else:
            self._detector.disturbed()
        self._take_pieces(pieces, now_ns, out)
        if admission.hole:
            # The encoder may have jumped inside the strip, in a bag that begins in it.
            self._cutter.flag(Reason.INCOMPLETE_SCAN)
        if self._detector.fault:
            self._cutter.flag(Reason.DETECTOR_FAULT)
        self._odometer.moved(encoder, strip.captured_ns)

    def _look_again(
        self, strip: Strip, admission: Admission, now_ns: int, out: list[Action]
    ) -> None:
        """Hold lines at places scanned before against what was seen there."""
        assert admission.again is not None
        assert admission.places is not None
        places = admission.places[admission.again]
        self._detector.disturbed()
        low = self._detector.seen_again(strip.low[admission.again], strip.high[admission.again])
        bags = [(bag.head_encoder, bag.tail_encoder) for bag in self._queue if bag.lines]
        changed, strange = self._rescan.look(low, places, bags)
        for bag in self._queue:
            if bag.lines and any(bag.head_encoder <= p <= bag.tail_encoder for p in changed):
                bag.reasons.add(Reason.BELT_REVERSED)
                out.append(Note("rescan-differs", {"bag": bag.number}))
        if self._rescan.restless and self._cutter.open_bag is None:
            # A bag that begins right behind the furthest place may be the rear of a strange one.
            self._take_pieces(self._cutter.hole(1, Reason.BELT_REVERSED), now_ns, out)
        reasons = frozenset({Reason.BELT_REVERSED})
        for head, tail in strange:
            self._put(
                BagUnscanned(self._cutter.number(), head, tail, strip.captured_ns, reasons),
                now_ns, out,
            )  # fmt: skip

    def _put(self, found: BagUnscanned, now_ns: int, out: list[Action]) -> None:
        """Take in a bag that nobody can screen."""
        bag = Bag.begin(found.bag, self._clock.running_ns(now_ns), self._columns, self._config,
                        stored=False)  # fmt: skip
        bag.reasons = set(found.reasons)
        bag.head_encoder, bag.tail_encoder = found.head_encoder, found.tail_encoder
        bag.tail_ns = found.tail_ns
        bag.end()
        self._ledger.bags_in += 1
        self._queue.append(bag)
        head, tail = self._read(found.head_encoder), self._read(found.tail_encoder)
        out.append(Note("bag-begun", {"bag": bag.number, "head_encoder": head}))
        out.append(Note("bag-ended", {"bag": bag.number, "tail_encoder": tail}))

    def _say_running(self, running: bool, now_ns: int, out: list[Action]) -> None:
        if self._clock.say(running, now_ns):
            out.append(Note("belt-running", {"running": int(running)}))
            if running:
                self._odometer.stood(now_ns)

    def _read(self, place: int) -> int:
        """What the encoder reads at a place, without its wraps."""
        return self._config.direction * place

    def _account(self, admission: Admission, now_ns: int, out: list[Action]) -> None:
        """Book what was refused and what is missing, and flag the bag it concerns."""
        self._ledger.refuse(admission.refused)
        self._ledger.missing_lines += admission.missing
        reason = Reason.INCOMPLETE_SCAN
        for cause, lines in admission.refused.items():
            if cause in HOLE_REASON:
                reason = HOLE_REASON[cause]
                self._cutter.flag(reason)
                out.append(Note("lines-refused", {"cause": cause.value, "lines": lines}))
        if admission.missing:
            out.append(Note("lines-missing", {"lines": admission.missing}))
        if admission.hole:
            self._detector.disturbed()
            self._take_pieces(self._cutter.hole(admission.hole, reason), now_ns, out)
            self._odometer.lost(admission.hole)

    # Bags

    def _take_pieces(self, pieces: tuple[Piece, ...], now_ns: int, out: list[Action]) -> None:
        for piece in pieces:
            if isinstance(piece, GapLines):
                self._ledger.gap_lines += piece.lines
            elif isinstance(piece, BagBegun):
                self._begin(piece, now_ns, out)
            elif isinstance(piece, BagLines):
                self._ledger.bag_lines += len(piece.lines)
                self._grow(piece.lines, now_ns, out)
            elif isinstance(piece, BagUnscanned):
                self._put(piece, now_ns, out)
            else:
                self._end(piece, now_ns, out)

    def _begin(self, begun: BagBegun, now_ns: int, out: list[Action]) -> None:
        stored = len(self._queue) < self._config.max_open_bags
        bag = Bag.begin(begun.bag, self._clock.running_ns(now_ns), self._columns, self._config,
                        stored=stored)  # fmt: skip
        if self._seam is not None:
            bag.go_on_from(self._seam[0], self._config.windows.overlap)
            bag.reasons |= self._seam[1]
            self._seam = None
        self._ledger.bags_in += 1
        self._queue.append(bag)
        self._scanning = bag
        out.append(
            Note("bag-begun", {"bag": begun.bag, "head_encoder": self._read(begun.head_encoder)})
        )

    def _grow(self, lines: Lines, now_ns: int, out: list[Action]) -> None:
        bag = self._scanning
        if bag is None or bag not in self._queue:
            return  # decided before its end: its lines are booked, and needed no more
        bag.append(lines)
        done = bag.windows // len(self._columns)
        for start in self._config.windows.ready(bag.lines, done):
            self._ask(bag, start, now_ns, out)

    def _end(self, ended: BagEnded, now_ns: int, out: list[Action]) -> None:
        bag, self._scanning = self._scanning, None
        told = {"bag": ended.bag, "tail_encoder": self._read(ended.tail_encoder)}
        out.append(Note("bag-ended", told | {"short_gaps": ended.short_gaps}))
        doubts, notes = self._views.judge(ended)
        out.extend(notes)
        if bag not in self._queue:
            bag = None
        if ended.cut and self._config.cutter.continuous:
            self._seam = (bag, ended.reasons)
        if bag is None:
            return
        bag.reasons |= ended.reasons | doubts
        bag.tail_encoder, bag.tail_ns = ended.tail_encoder, ended.tail_ns
        done = bag.windows // len(self._columns)
        for start in self._config.windows.starts(bag.lines)[done:]:
            self._ask(bag, start, now_ns, out)
        bag.end()

    # Windows

    def _ask(self, bag: Bag, start: int, now_ns: int, out: list[Action]) -> None:
        """Ask for the window of each view that begins at a line."""
        for view in range(len(self._columns)):
            self._ask_view(bag, start, view, now_ns, out)

    def _ask_view(self, bag: Bag, start: int, view: int, now_ns: int, out: list[Action]) -> None:
        index = bag.windows
        bag.windows += 1
        if not bag.stored:
            return
        if len(self._asked) >= self._config.max_queued_windows:
            bag.reasons.add(Reason.OVERLOAD)
            out.append(Note("window-dropped", {"bag": bag.number, "window": index}))
            return
        planes = bag.window(view, start)
        bag.starts[index] = start
        bag.pending += 1
        self._asked.add((bag.number, index))
        bag.told_ns = self._deadlines.due_ns(bag, now_ns)
        out.append(RunWindow(bag.number, index, start, planes, bag.told_ns))

    def _answered(self, number: int, index: int, out: list[Action]) -> Bag | None:
        """The undecided bag that was waiting for this answer, if there is one."""
        if (number, index) not in self._asked:
            out.append(Note("answer-unasked", {"bag": number, "window": index}))
            return None
        self._asked.remove((number, index))
        for bag in self._queue:
            if bag.number == number:
                bag.pending -= 1
                return bag
        return None

    def _take_result(self, event: WindowDone, out: list[Action]) -> None:
        found = event.detections
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            self._take_failure(
                WindowFailed(event.bag, event.index, "values that are not finite"), out
            )
        elif (bag := self._answered(event.bag, event.index, out)) is not None:
            bag.parts[event.index] = found
            bag.rungs[event.index] = event.rung

    def _take_failure(self, event: WindowFailed, out: list[Action]) -> None:
        if (bag := self._answered(event.bag, event.index, out)) is None:
            return
        bag.reasons.add(event.reason)
        bag.rungs[event.index] = SKIPPED if event.reason is Reason.TIMEOUT else FAILED
        fields = {"bag": event.bag, "window": event.index}
        if event.reason is Reason.TIMEOUT:  # not an error: the engine was busy elsewhere
            out.append(Note("window-skipped", fields))
        else:
            out.append(Note("window-failed", fields | {"error": event.error}))

    # Decisions

    def _decide_what_can_be(self, now_ns: int, out: list[Action]) -> None:
        """Decide bags from the head of the queue on, as far as that can be done now."""
        while self._queue:
            bag = self._queue[0]
            late = self._deadlines.late(bag, now_ns)
            ready = bag.ended and bag.pending == 0
            if not (ready or late or Reason.USER_INTERRUPT in bag.reasons):
                return
            self._queue.popleft()
            if bag.pending:
                out.append(Cancel(bag.number))
            self._ledger.decisions += 1
            decision = decide(bag, self._config, self._columns, late=late, now_ns=now_ns)
            out.append(Emit(decision, bag.scan(decision.reasons, self._config.direction)))
