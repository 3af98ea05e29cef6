"""What is left of a lane's run: decisions, books, times, health."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xedge.lane.config import FAILED, FULL
from xedge.lane.ledger import Ledger
from xedge.scanner.health import DetectorHealth
from xedge.types import Decision, Reason, Verdict


@dataclass(eq=False)
class Tally:
    """How many decisions there were of each kind, kept or not.

    Attributes:
        verdicts: Decisions by verdict.
        reasons: Decisions that are NOT_CLEARED by reason.
        late: Decisions made after their deadline.
        windows: Windows by what screened them, as `Decision.ladder` names it.
        degraded: Decisions about bags of which a window was screened by a lower rung, or skipped.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    late: int = 0
    windows: Counter[str] = field(default_factory=Counter)
    degraded: int = 0

    def add(self, decision: Decision) -> None:
        """Count a decision."""
        self.verdicts[decision.verdict] += 1
        self.reasons[decision.reason] += decision.verdict is Verdict.NOT_CLEARED
        self.late += decision.late
        self.windows.update(decision.ladder)
        self.degraded += bool(lower_rungs(decision))

    def copy(self) -> Tally:
        """The count so far."""
        return Tally(
            Counter(self.verdicts),
            Counter(self.reasons),
            self.late,
            Counter(self.windows),
            self.degraded,
        )


def lower_rungs(decision: Decision) -> tuple[str, ...]:
    """What took the full model's place for want of time, at any window of a bag; sorted."""
    return tuple(sorted(set(decision.ladder) - {"", FULL, FAILED}))


@dataclass(frozen=True, eq=False)
class LaneReport:
    """The outcome of `runner.run_lane`.

    Attributes:
        decisions: One for each bag, in the order of the bags; the last ones, when the lane was
            told to keep only so many.
        tally: The count of all of them.
        ledger: The books at the end.
        health: What the lines said of the detector.
        belt_s: Seconds of belt time that the strips span.
        engine_s: Seconds that the engine worked, measured call by call.
        core_s: Seconds that the lane's own core worked: correction, cutting, windows, books.
        windows: Windows screened.
        errors: What went wrong, in words: the first and the last of it, see `vitals.Errors`.
        journal_errors: Records that the journal could not take; 1 at least when it stopped.
        resent: Decisions of earlier runs that were published again; they are not in the tally.
        callback_errors: Decisions at which the caller's ``on_decision`` raised an exception.
        realtime: True when the lane ran on the real clock, False in compressed time.
    """

    decisions: tuple[Decision, ...]
    tally: Tally
    ledger: Ledger
    health: DetectorHealth
    belt_s: float
    engine_s: float
    core_s: float
    windows: int
    errors: tuple[str, ...] = ()
    journal_errors: int = 0
    resent: int = 0
    callback_errors: int = 0
    realtime: bool = False

    @property
    def busy_s(self) -> float:
        """Seconds of work for all of it, on one thread."""
        return self.engine_s + self.core_s

    @property
    def realtime_factor(self) -> float:
        """Belt time over working time: above 1 one thread keeps up with the belt."""
        return self.belt_s / self.busy_s if self.busy_s > 0 else float("inf")

    @property
    def late(self) -> int:
        """Decisions made after their deadline."""
        return self.tally.late

    def count(self, verdict: Verdict) -> int:
        """Number of bags with this verdict."""
        return self.tally.verdicts[verdict]

    def latency_ms(self, percentile: float) -> float:
        """Milliseconds from a bag's last line to its decision, of those kept; NaN without any.

        A percentile is a latency that occurred, never a mean of two.
        """
        if not self.decisions:
            return float("nan")
        latencies = [decision.latency_ns / 1e6 for decision in self.decisions]
        return float(np.percentile(latencies, percentile, method="higher"))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values, without the decisions themselves."""
        reasons = {reason.name: n for reason, n in self.tally.reasons.items() if n}
        some = bool(self.decisions)
        return {
            "bags": self.ledger.bags_in,
            "decisions": self.ledger.decisions,
            "alarm": self.count(Verdict.ALARM),
            "clear": self.count(Verdict.CLEAR),
            "not_cleared": self.count(Verdict.NOT_CLEARED),
            "not_cleared_by_reason": reasons,
            "late": self.late,
            "ladder": {name: n for name, n in sorted(self.tally.windows.items()) if name},
            "degraded": self.tally.degraded,
            "ledger": self.ledger.to_dict(),
            "ledger_balanced": self.ledger.balanced,
            "latency_ms": {
                name: self.latency_ms(p) if some else None
                for name, p in (("p50", 50.0), ("p99", 99.0), ("max", 100.0))
            },
            "realtime": self.realtime,
            "realtime_factor": self.realtime_factor if self.busy_s > 0 else None,
            "belt_s": self.belt_s,
            "engine_s": self.engine_s,
            "core_s": self.core_s,
            "windows": self.windows,
            "health": list(self.health.sentences()),
            "errors": list(self.errors),
            "journal_errors": self.journal_errors,
            "resent": self.resent,
            "callback_errors": self.callback_errors,
        }
