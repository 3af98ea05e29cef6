"""Which strips a lane may use, judged by width, damage, line counter and encoder.

Nothing is guessed: what is refused is named and counted, what is missing is counted apart.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from xedge.scanner.flatfield import Mask
from xedge.types import Strip


class Refusal(str, enum.Enum):
    """Why lines that came in are not used."""

    WRONG_WIDTH = "wrong width"
    """The strip is not as wide as the detector."""
    DAMAGED = "damaged"
    """The transport said so: a bad CRC."""
    REPEATED = "repeated"
    """The line counter went backward, and the encoder did not go on."""
    REVERSED = "reversed"
    """The encoder went backward: these places were scanned before."""
    STANDING = "standing"
    """The encoder did not move: the same place again. It harms no scan."""
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
    """

    use: Mask | None
    refused: dict[Refusal, int]
    missing: int = 0
    hole: int = 0


class Intake:
    """Follows the counters of one detector. Deterministic, without clock or I/O."""

    def __init__(self, elements: int, counts_per_line: float) -> None:
        self._elements = elements
        self._counts_per_line = counts_per_line
        self._next_line: int | None = None
        self._encoder: int | None = None
        self._unplaced = 0  # lines refused since the last good strip: their counters may lie
        self._repeated_end: int | None = None

    @property
    def encoder(self) -> int | None:
        """Encoder counts at the last line used."""
        return self._encoder

    def admit(self, strip: Strip) -> Admission:
        """What to do with the next strip that came."""
        lines = len(strip)
        if strip.elements != self._elements:
            return self.lost(lines, Refusal.WRONG_WIDTH)
        if not strip.intact:
            return self.lost(lines, Refusal.DAMAGED)
        gap = strip.first_line - self._next_line if self._next_line is not None else 0
        if gap < 0 and not self._restarted(strip):
            self._repeated_end = strip.first_line + lines
            return Admission(None, {Refusal.REPEATED: lines})
        missing = max(0, gap - self._unplaced)
        self._next_line, self._repeated_end = strip.first_line + lines, None
        self._unplaced = 0
        # After a restart nobody knows how many lines are gone: as many as a strip, say.
        return self._by_encoder(strip, missing, missing if gap >= 0 else lines, max(0, gap))

    def lost(self, lines: int, cause: Refusal) -> Admission:
        """What to do about lines that came in but cannot be judged, or be used."""
        self._unplaced += lines
        return Admission(None, {cause: lines}, hole=lines)

    def _restarted(self, strip: Strip) -> bool:
        """A counter that starts anew, as opposed to lines sent again: the encoder goes on."""
        goes_on = self._encoder is None or int(strip.encoder[0]) > self._encoder
        return goes_on and strip.first_line == self._repeated_end

    def _by_encoder(self, strip: Strip, missing: int, hole: int, gap: int) -> Admission:
        """Drop lines at places of the belt that have been scanned; ``gap`` lines were not."""
        places = strip.encoder
        reached = np.maximum.accumulate(places)
        before = np.empty_like(places)
        before[0] = places[0] - 1 if self._encoder is None else self._encoder
        before[1:] = np.maximum(reached[:-1], before[0])
        use: Mask = places > before
        refused: dict[Refusal, int] = {}
        if not use.all():
            standing = int(np.count_nonzero(places[~use] == before[~use]))
            back = int(np.count_nonzero(~use)) - standing
            refused = {Refusal.STANDING: standing} if standing else {}
            if back:
                refused[Refusal.REVERSED] = back
        if not use.any():
            return Admission(None, refused, missing, hole)
        steps = (places[use] - before[use]) / self._counts_per_line
        steps[0] -= gap
        # Four lines' worth of counts between neighbours: the encoder jumped, or the belt slipped.
        jump = int(steps.max()) - 1 if self._encoder is not None else 0
        jumped = jump if jump > 3 else 0
        self._encoder = int(reached[-1])
        return Admission(use, refused, missing, max(hole, jumped))
