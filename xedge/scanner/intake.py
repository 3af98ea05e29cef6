"""Which strips a lane may use, judged by width, damage, line counter and encoder.

Nothing is guessed: what is refused is named and counted, what is missing is counted apart.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from xedge.scanner.flatfield import Mask
from xedge.types import I64, U16, Strip

Steps = TypeVar("Steps", int, I64)

COUNTER_PERIOD = 2**32
"""Counters of 32 bits start anew here, whether they are read as signed or not."""

SAME_PLACE = 0.75
"""Of a line: what moved by less, and a count, has not moved to the next line. A belt that slows
down under a detector with a clock of its own is not drawn out."""

FAR = 3
"""Lines of belt that may be skipped from one line to the next, or backward, without harm."""


class Refusal(str, enum.Enum):
    """Why lines that came in are not used."""

    WRONG_WIDTH = "wrong width"
    """The strip is not as wide as the detector."""
    DAMAGED = "damaged"
    """The transport said so: a bad CRC."""
    REPEATED = "repeated"
    """The line counter went backward, and the encoder did not go on."""
    REVERSED = "reversed"
    """The encoder jumped back, as no belt does: nobody knows where these lines are."""
    RESCANNED = "rescanned"
    """The belt ran back and came again: these places were scanned before. It harms no scan."""
    STANDING = "standing"
    """The encoder did not move by a line: the same place again. It harms no scan."""
    TUBE_OFF = "tube off"
    """No X-rays, or a tube that was off and is not at its level again."""
    QUEUE_FULL = "queue full"
    """The lane could not take them in time."""


@dataclass(frozen=True, eq=False)
class Admission:
    """What to do with one strip.

    Attributes:
        use: Lines to use, bool ``[n]``; None when none is.
        refused: Lines that are not used, by cause.
        missing: Lines that never came: the counter skipped them.
        hole: Lines of belt that are unknown in front of the lines in use, or in place of them.
        places: Where each line is, int64 ``[n]``: encoder counts that rise with the belt, without
            wraps; None when the strip's encoder is not believed.
        again: Lines that are `Refusal.RESCANNED`, bool ``[n]``; None when none is.
    """

    use: Mask | None
    refused: dict[Refusal, int]
    missing: int = 0
    hole: int = 0
    places: I64 | None = None
    again: Mask | None = None


class Tube(Protocol):
    """What tells lines without X-rays: `xedge.scanner.tube.TubeWatch`, say."""

    def unlit(self, low: U16, high: U16) -> Mask | None:
        """Raw lines that no X-rays or too few made, bool ``[n]``; None when all are lit."""
        ...


class Intake:
    """Follows the counters of one detector. Deterministic, without clock or I/O.

    Args:
        elements: Elements of a line.
        counts_per_line: Encoder counts from one line to the next.
        direction: -1 when the encoder counts down while the belt runs forward.
        encoder_period: Counts after which the encoder starts anew; of a wider counter as well, as
            long as no belt moves by half of it from one strip to the next.
        tube: Tells lines without X-rays; None takes all for lit.
    """

    def __init__(
        self,
        elements: int,
        counts_per_line: float,
        direction: int = 1,
        encoder_period: int = COUNTER_PERIOD,
        tube: Tube | None = None,
    ) -> None:
        self._elements, self._tube = elements, tube
        self._counts_per_line = counts_per_line
        self._direction, self._period = direction, encoder_period
        # A line this close to the last one shows the same place; an encoder is off by a count.
        self._least_step = max(1, math.ceil(SAME_PLACE * counts_per_line - 1))
        self._next_line: int | None = None
        self._furthest: int | None = None
        self._raw = self._place = 0  # of the last line that came, as read and as placed
        self._jumped = False  # back; until the belt is past its furthest place, nothing is known
        self._unplaced = 0  # lines refused since the last good strip: their counters may lie
        self._repeated_end: int | None = None

    @property
    def encoder(self) -> int | None:
        """The place of the last line used; rises with the belt."""
        return self._furthest

    def admit(self, strip: Strip) -> Admission:
        """What to do with the next strip that came."""
        lines = len(strip)
        if strip.elements != self._elements:
            return self.lost(lines, Refusal.WRONG_WIDTH)
        if not strip.intact:
            return self.lost(lines, Refusal.DAMAGED)
        gap = 0
        if self._next_line is not None:
            gap = wrapped(strip.first_line - self._next_line, COUNTER_PERIOD)
        places = self._placed(strip.encoder)
        if gap < 0 and not self._restarted(strip, int(places[0])):
            self._repeated_end = strip.first_line + lines
            return Admission(None, {Refusal.REPEATED: lines})
        missing = max(0, gap - self._unplaced)
        self._next_line, self._repeated_end = strip.first_line + lines, None
        self._unplaced = 0
        # After a restart nobody knows how many lines are gone: as many as a strip, say.
        admission = self._by_place(places, missing, missing if gap >= 0 else lines, max(0, gap))
        self._raw, self._place = int(strip.encoder[-1]), int(places[-1])
        unlit = self._tube.unlit(strip.low, strip.high) if self._tube is not None else None
        return admission if unlit is None else _without(admission, unlit)

    def lost(self, lines: int, cause: Refusal) -> Admission:
        """What to do about lines that came in but cannot be judged, or be used."""
        self._unplaced += lines
        return Admission(None, {cause: lines}, hole=lines)

    def _placed(self, encoder: I64) -> I64:
        """Where lines are: what the encoder says, without its wraps, rising with the belt."""
        if self._furthest is None:
            self._raw, self._place = int(encoder[0]), self._direction * int(encoder[0])
        steps = wrapped(np.subtract(encoder, before(encoder, self._raw)), self._period)
        placed: I64 = self._place + self._direction * np.cumsum(steps)
        return placed

    def _restarted(self, strip: Strip, place: int) -> bool:
        """A counter that starts anew, as opposed to lines sent again: the encoder goes on."""
        goes_on = self._furthest is None or place > self._furthest
        return goes_on and strip.first_line == self._repeated_end

    def _by_place(self, places: I64, missing: int, hole: int, gap: int) -> Admission:
        """Drop lines at places of the belt that have been scanned; ``gap`` lines were not."""
        first = int(places[0]) - self._least_step if self._furthest is None else self._furthest
        steps = places - before(places, first)
        refused: dict[Refusal, int] = {}
        again: Mask | None = None
        used = places
        use: Mask = steps >= self._least_step
        if use.all():
            self._jumped = False
        else:
            causes = self._causes(places, first, gap)
            use = np.array([cause is None for cause in causes])
            refused = {c: causes.count(c) for c in Refusal if c in causes}
            again = np.array([cause is Refusal.RESCANNED for cause in causes])
            hole = max(hole, refused.get(Refusal.REVERSED, 0))
            if not use.any():
                return Admission(None, refused, missing, hole, places, again)
            used = places[use]
            steps = used - before(used, first)
        pitches = steps / self._counts_per_line
        pitches[0] -= gap
        if self._furthest is not None:
            # Four lines' worth of counts between neighbours: the encoder jumped, or the belt
            # slipped. Half as much belt again as there are lines: it is too fast for them.
            jump, over = int(pitches.max()) - 1, round(float(pitches.sum())) - len(steps)
            hole = max(hole, jump if jump > FAR else 0)
            hole = max(hole, over if over > max(FAR, len(steps) // 2) else 0)
        self._furthest = int(used[-1])
        return Admission(use, refused, missing, hole, places, again)

    def _causes(self, places: I64, furthest: int, gap: int) -> list[Refusal | None]:
        """Why each line is not used, None where it is."""
        causes: list[Refusal | None] = []
        last = self._place if self._furthest is not None else furthest
        far_back = (FAR + 1 + gap) * self._counts_per_line
        for place in places.tolist():
            if last - place >= far_back:
                self._jumped = True
            if place - furthest >= self._least_step:
                furthest, self._jumped = place, False
                causes.append(None)
            elif place >= furthest:
                causes.append(Refusal.STANDING)
            elif self._jumped:
                causes.append(Refusal.REVERSED)
            elif place == last:
                causes.append(Refusal.STANDING)
            else:
                causes.append(Refusal.RESCANNED)
            last, far_back = place, (FAR + 1) * self._counts_per_line
        return causes


def before(values: I64, first: int) -> I64:
    """What comes before each value; before the first one, ``first``."""
    before = np.empty_like(values)
    before[0], before[1:] = first, values[:-1]
    return before


def _without(admission: Admission, unlit: Mask) -> Admission:
    """The same without unlit lines: a hole, where the belt moved on meanwhile."""
    again = None if admission.again is None else admission.again & ~unlit
    if admission.use is None:
        return replace(admission, again=again)
    use = admission.use & ~unlit
    dark = int(np.count_nonzero(admission.use)) - int(np.count_nonzero(use))
    if not dark:
        return replace(admission, again=again)
    refused = admission.refused | {Refusal.TUBE_OFF: dark}
    hole = max(admission.hole, dark)
    return replace(
        admission, use=use if use.any() else None, refused=refused, hole=hole, again=again
    )


def wrapped(steps: Steps, period: int) -> Steps:
    """Steps of a counter that starts anew after a period: the shorter way round."""
    return (steps + period // 2) % period - period // 2
