"""What the faults of a line source have in common: the belt as it would be, and the books of harm.

A `Tape` hands out the strips of a source one by one. Whatever a fault has shifted (counters,
encoder, clock) stays shifted for all strips behind it. What a fault does is written down as a
`Touch`, in the encoder counts that the lane sees, so that a judge can hold decisions against it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from xedge.scanner.intake import Refusal
from xedge.types import Reason, Strip


@dataclass(frozen=True, kw_only=True)
class Severity:
    """How long faults last that have no length of their own.

    Attributes:
        stuck_s: Seconds that an encoder stands for good; longer than the bag limit.
        step_s: Seconds by which a clock is set.
        slow_s: Seconds that a slow engine takes; longer than the deadline.
        hung_s: Seconds that a hung engine takes.
        dead_lines: Lines for which a block of elements is dead; longer than any bag.
    """

    stuck_s: float = 65.0
    step_s: float = 100.0
    slow_s: float = 5.0
    hung_s: float = 20.0
    dead_lines: int = 3600


@dataclass(kw_only=True, eq=False)
class Touch:
    """One strike of a fault, and what a lane must say of it; its tail grows while it lasts.

    Attributes:
        fault: Name of the fault.
        head: Encoder counts, as the lane sees them, where it begins to matter.
        tail: Encoder counts where it ends.
        must: At least one decision between the two carries one of these; empty when the fault
            harms no bag and need not be noticed.
        may: What else bags between the two may be not cleared for.
        harmful: True when no bag between the two may be CLEAR.
        settle: Encoder counts behind the tail in which bags may still suffer from it.
    """

    fault: str
    head: int
    tail: int
    must: frozenset[Reason] = frozenset()
    may: frozenset[Reason] = frozenset()
    harmful: bool = True
    settle: int = 0


@dataclass
class Expected:
    """What the lane's ledger must say at the end.

    Attributes:
        lines: Lines handed to the lane.
        refused: Lines that it must refuse, by cause.
        missing: Lines that it must miss.
    """

    lines: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)
    missing: int = 0


class Tape:
    """The strips of a source, shifted by whatever went wrong before.

    Args:
        strips: The source; sound, its counters without a gap.
        counts_per_line: Encoder counts from one line to the next.
        severity: How long faults last.

    Attributes:
        touches: Strikes that nobody has taken yet, oldest first.
        expected: What the lane's ledger must say.
    """

    def __init__(
        self,
        strips: Iterable[Strip],
        counts_per_line: float = 1.0,
        severity: Severity | None = None,
    ) -> None:
        self._strips = iter(strips)
        self.counts_per_line = counts_per_line
        self.severity = severity or Severity()
        self.touches: deque[Touch] = deque()
        self.expected = Expected()
        self._encoder_shift = self._counter_shift = self._time_shift_ns = 0
        self._shifts: deque[tuple[int, int]] = deque([(-(2**62), 0)])  # from which place, by what
        self._place = 0
        self.last: Strip | None = None
        self.strip_ns = 0

    def take(self) -> Strip | None:
        """The next strip of the belt, shifted; None at its end."""
        strip = next(self._strips, None)
        if strip is None:
            return None
        self._place = int(strip.encoder[-1])
        shifted = strip
        if self._encoder_shift or self._counter_shift or self._time_shift_ns:
            shifted = Strip(
                strip.first_line + self._counter_shift,
                strip.encoder + self._encoder_shift,
                strip.low,
                strip.high,
                strip.captured_ns + self._time_shift_ns,
                strip.intact,
            )
        if self.last is not None:
            self.strip_ns = max(0, shifted.captured_ns - self.last.captured_ns)
        self.last = shifted
        return shifted

    def take_some(self, strips: int) -> Iterator[Strip]:
        """The next ones, up to so many."""
        for _ in range(strips):
            if (strip := self.take()) is None:
                return
            yield strip

    @property
    def place(self) -> int:
        """The place of the belt that was handed out last, as the source's encoder counts it."""
        return self._place

    @property
    def reached(self) -> int:
        """Encoder counts that the lane has seen last."""
        return 0 if self.last is None else int(self.last.encoder[-1])

    def shift_encoder(self, counts: int) -> None:
        """From the next strip on the encoder says so much more."""
        self._encoder_shift += counts
        self._shifts.append((self._place + 1, self._encoder_shift))

    def shift_counter(self, lines: int) -> None:
        """From the next strip on the line counter says so much more."""
        self._counter_shift += lines

    def shift_clock(self, duration_ns: int) -> None:
        """From the next strip on everything is so much later."""
        self._time_shift_ns += duration_ns

    def restart_counter(self) -> None:
        """From the next strip on lines are counted from 0."""
        if self.last is not None:
            self._counter_shift -= self.last.first_line + len(self.last)

    def seen_at(self, place: int) -> int:
        """What the encoder said to the lane at a place of the belt; ask in rising order."""
        while len(self._shifts) > 1 and self._shifts[1][0] <= place:
            self._shifts.popleft()
        return place + self._shifts[0][1]

    def refuse(self, cause: Refusal, lines: int) -> None:
        """Expect that so many lines are refused."""
        self.expected.refused[cause] += lines

    def touch(
        self,
        fault: str,
        head: int,
        tail: int,
        must: frozenset[Reason] = frozenset(),
        may: frozenset[Reason] = frozenset(),
        *,
        harmful: bool = True,
        settle_lines: int = 0,
    ) -> Touch:
        """A strike, written down; the lane has seen or will see these encoder counts."""
        settle = round(settle_lines * self.counts_per_line)
        struck = Touch(fault=fault, head=head, tail=tail, must=must, may=may, harmful=harmful,
                       settle=settle)  # fmt: skip
        self.touches.append(struck)
        return struck


def with_encoder(strip: Strip, encoder: int) -> Strip:
    """The strip with all its lines at one place."""
    return replace(strip, encoder=np.full(len(strip), encoder, np.int64))
