"""Decisions of a soak, held against what the belt carried and what was done to it."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from dataclasses import dataclass, field

from xedge.lane.config import LaneConfig
from xedge.lane.ledger import Ledger
from xedge.scanner.intake import Refusal
from xedge.sim.bank import Placed
from xedge.sim.faults import EngineFault, Expected, Tape, Touch
from xedge.types import Decision, Reason, Verdict

MOST_SENTENCES = 20

ENGINE_REASONS = frozenset({Reason.ENGINE_FAILED, Reason.TIMEOUT, Reason.OVERLOAD})


@dataclass
class FaultCount:
    """What became of one fault.

    Attributes:
        injected: Times that it happened.
        seen: Times that the lane did what it must.
        excused: Times that the bag was NOT_CLEARED for something else before.
        missed: Times that nobody noticed.
    """

    injected: int = 0
    seen: int = 0
    excused: int = 0
    missed: int = 0


@dataclass
class Broken:
    """Promises that a lane broke: how often each, and the first of them in words."""

    count: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)

    def add(self, kind: str, sentence: str) -> None:
        """Write one down."""
        self.count[kind] += 1
        if len(self.sentences) < MOST_SENTENCES:
            self.sentences.append(f"{kind}: {sentence}")


@dataclass(eq=False)
class _Open:
    """A touch that bags may still come under."""

    touch: Touch
    seen: bool = False
    excused: bool = False


@dataclass(eq=False)
class _Coming:
    """A bag of the belt, by what the encoder said to the lane."""

    bag: Placed
    head: int
    tail: int | None = None
    decisions: int = 0
    late: bool = False


class Judge:
    """Takes every decision of a lane as it is made, in memory that does not grow.

    Args:
        tape: The belt with its faults.
        placed: The bags that the belt carries, as `xedge.sim.bank.BankBelt.placed`.
        config: How the lane was set up.
        counts_per_s: Speed of the belt in encoder counts.

    Attributes:
        broken: Promises that were broken.
        faults: What became of each fault, by name.
        unseen: Bags that fell into a hole of the scan as a whole.
        latencies_ns: Of all decisions, eight bytes each.
    """

    def __init__(
        self, tape: Tape, placed: deque[Placed], config: LaneConfig, counts_per_s: float
    ) -> None:
        self._tape, self._placed, self._config = tape, placed, config
        self._counts_per_s = counts_per_s
        per_line = config.counts_per_line
        self._margin = round((config.cutter.min_gap_lines + 4) * per_line)
        self._longest = round(config.cutter.max_bag_lines * per_line)
        self._touches: deque[_Open] = deque()
        self._coming: deque[_Coming] = deque()
        self._last_bag = 0
        self.broken = Broken()
        self.faults: dict[str, FaultCount] = {}
        self.unseen = 0
        self.latencies_ns = array("q")

    def strike(self, fault: EngineFault) -> None:
        """Take note that the engine fails now: the bags under way may suffer from it."""
        tape, seconds = self._tape, fault.seconds(self._tape.severity)
        before = self._longest + self._config.deadline_counts
        behind = round(seconds * self._counts_per_s) + before
        tape.touch(fault.name, tape.reached - before, tape.reached + 1, fault.must,
                   ENGINE_REASONS, harmful=False,
                   settle_lines=round(behind / tape.counts_per_line))  # fmt: skip

    def take(self, decision: Decision) -> None:
        """Hold a decision against the promises."""
        self._catch_up()
        self.latencies_ns.append(decision.latency_ns)
        if decision.bag != self._last_bag + 1:
            self.broken.add("order", f"bag {decision.bag} behind bag {self._last_bag}")
        self._last_bag = decision.bag
        self._close(decision.encoder_head)
        self._check_words(decision)
        near = [
            o for o in self._touches if self._overlap(o.touch, decision.encoder_head,
                                                      decision.encoder_tail, 0)
        ]  # fmt: skip
        for open_touch in near:
            touch = open_touch.touch
            open_touch.seen |= bool(decision.reasons & touch.must)
            # Another fault, or lateness, may outdo it; NOT_CLEARED without either does not.
            open_touch.excused |= decision.late or (
                len(near) > 1 and decision.verdict is Verdict.NOT_CLEARED
            )
        self._check_place(decision)

    def finish(self, ledger: Ledger) -> None:
        """Close the books at the end of the belt."""
        self._catch_up()
        self._close(2**62)
        if not ledger.balanced or ledger.open_bags or ledger.held_lines:
            self.broken.add("ledger", f"it does not balance: {ledger.to_dict()}")
        if ledger.decisions != self._last_bag or ledger.decisions != ledger.bags_in:
            self.broken.add("count", f"{self._last_bag} decisions for {ledger.bags_in} bags")
        self._check_lines(ledger, self._tape.expected)

    def _check_lines(self, ledger: Ledger, expected: Expected) -> None:
        if ledger.lines_in != expected.lines:
            self.broken.add("lines", f"{expected.lines} given, {ledger.lines_in} in the ledger")
        if ledger.refused_lines.get(Refusal.QUEUE_FULL):
            return  # whatever stood in the lost strips was not refused for its own sake
        for cause in {*ledger.refused_lines, *expected.refused}:
            found, wanted = ledger.refused_lines.get(cause, 0), expected.refused[cause]
            if found != wanted:
                self.broken.add("cause", f"{cause.value}: {found} lines, not {wanted}")
        if ledger.missing_lines != expected.missing:
            self.broken.add(
                "cause", f"missing: {ledger.missing_lines} lines, not {expected.missing}"
            )

    def _check_words(self, decision: Decision) -> None:
        """What a decision may not say by itself."""
        clear = decision.verdict is Verdict.CLEAR
        if clear and decision.reasons:
            self._break("clear-flagged", decision, f"with {_names(decision.reasons)}")
        if clear and decision.late:
            self._break("clear-late", decision, "behind its deadline")
        cleared_for = decision.reason is Reason.NONE
        if cleared_for is (decision.verdict is Verdict.NOT_CLEARED):
            self._break("reason", decision, f"for {decision.reason.name}")
        if decision.late and decision.verdict is not Verdict.NOT_CLEARED:
            self._break("late", decision, "though it is late")

    def _check_place(self, decision: Decision) -> None:
        """A decision against the bags that lie where it says."""
        head, tail = decision.encoder_head, decision.encoder_tail
        mine = [c for c in self._coming if c.head <= tail and (c.tail is None or c.tail >= head)]
        for coming in mine:
            coming.decisions += 1
            coming.late |= decision.late
        spans = [(c.head, self._tape.reached if c.tail is None else c.tail) for c in mine]
        around = [
            o.touch for o in self._touches
            if any(self._overlap(o.touch, *span, o.touch.settle) for span in [*spans, (head, tail)])
        ]  # fmt: skip
        if decision.verdict is Verdict.CLEAR:
            self._check_clear(decision, mine, around, spans)
        if any(touch.harmful or touch.must for touch in around):
            return
        # What harms nothing leaves the verdict as it is, but for what it may be late for.
        if decision.reasons and decision.reasons <= frozenset[Reason]().union(
            *(touch.may for touch in around)
        ):
            return
        if len(mine) != 1:
            self._break("unexplained", decision, f"covers {len(mine)} bags of the belt")
            return
        coming = mine[0]
        if decision.verdict is not coming.bag.verdict:
            self._break("unexplained", decision, f"instead of {coming.bag.verdict.name}, for "
                        f"{_names(decision.reasons)}")  # fmt: skip
        elif (head, tail) != (coming.head, coming.tail):
            self._break("unexplained", decision, f"instead of {coming.head} to {coming.tail}")
        elif coming.decisions != 1:
            self._break("doubled", decision, "was decided before")

    def _check_clear(
        self,
        decision: Decision,
        mine: list[_Coming],
        around: list[Touch],
        spans: list[tuple[int, int]],
    ) -> None:
        if any(c.bag.verdict is not Verdict.CLEAR for c in mine):
            self._break("clear-wrong", decision, "though all is well with it only as an ALARM")
        # All of the bag, of which this decision may be about a part.
        spans = [*spans, (decision.encoder_head, decision.encoder_tail)]
        for touch in around:
            within = any(touch.head <= tail and touch.tail >= head for head, tail in spans)
            if touch.harmful and within:
                self._break("clear-touched", decision, f"though {touch.fault} touched the bag")
        if not around:
            moved = decision.latency_ns * 1e-9 * self._counts_per_s
            # The belt may be a strip farther than the lane was told.
            if moved > self._config.deadline_counts + self._margin + 64:
                self._break("clear-late", decision, f"{moved:.0f} counts behind its tail")

    def _overlap(self, touch: Touch, head: int, tail: int, settle: int) -> bool:
        return touch.head - self._margin <= tail and touch.tail + self._margin + settle >= head

    def _break(self, kind: str, decision: Decision, sentence: str) -> None:
        self.broken.add(
            kind,
            f"bag {decision.bag} (counts {decision.encoder_head} to {decision.encoder_tail}) is "
            f"{decision.verdict.name} {sentence}",
        )

    def _catch_up(self) -> None:
        """Take over what the belt and the faults have written since."""
        tape = self._tape
        while tape.touches:
            touch = tape.touches.popleft()
            self.faults.setdefault(touch.fault, FaultCount()).injected += 1
            self._touches.append(_Open(touch))
        while True:
            if self._coming and self._coming[-1].tail is None:
                last = self._coming[-1]
                if last.bag.tail > tape.place:
                    return
                last.tail = tape.seen_at(last.bag.tail)
            if not self._placed or self._placed[0].head > tape.place:
                return
            bag = self._placed.popleft()
            self._coming.append(_Coming(bag, tape.seen_at(bag.head)))

    def _close(self, before: int) -> None:
        """Settle the bags and the touches that lie before a place for good."""
        far = self._margin + 2 * self._longest
        while self._coming and (tail := self._coming[0].tail) is not None and tail < before:
            coming = self._coming.popleft()
            under = [o for o in self._touches
                     if self._overlap(o.touch, coming.head, tail, o.touch.settle)]  # fmt: skip
            if coming.decisions:
                for open_touch in under:  # what befell it after it was late needs no decision
                    open_touch.excused |= coming.late
            elif under:
                self.unseen += 1
            else:
                self.broken.add("missing", f"no decision at counts {coming.head} to {tail}")
        kept: deque[_Open] = deque()
        for open_touch in self._touches:
            touch = open_touch.touch
            if touch.tail + touch.settle + far < before:
                self._settle(open_touch)
            else:
                kept.append(open_touch)
        self._touches = kept

    def _settle(self, open_touch: _Open) -> None:
        count = self.faults[open_touch.touch.fault]
        if open_touch.seen or not open_touch.touch.must:
            count.seen += 1
        elif open_touch.excused:
            count.excused += 1
        else:
            count.missed += 1
            self.broken.add("missed", f"{open_touch.touch}")


def _names(reasons: frozenset[Reason]) -> str:
    return ", ".join(sorted(reason.name for reason in reasons)) or "no reason"
