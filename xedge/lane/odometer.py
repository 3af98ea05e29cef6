"""Where the belt is by now, when it was where, and for how long it has run."""

from __future__ import annotations

import numpy as np

from xedge.types import I64, Strip

PACE_CHANGE = 2.0
"""One strip changes the belt's pace by this factor at the most: clocks and encoders jump."""


class Odometer:
    """Bounds the belt's place from above, between strips and while strips wait to be handled.

    The belt counts as moving on at its last pace until a strip that came later says that it stood:
    without any strip it may have stopped or the lane may be behind, and nobody can tell.

    Args:
        counts_per_line: Encoder counts from one line to the next.
    """

    def __init__(self, counts_per_line: float) -> None:
        self._counts_per_line = counts_per_line
        self._encoder: int | None = None
        self._seen_ns = 0  # when the encoder was read last
        self._unseen_counts = 0.0
        self._pace = 0.0  # counts a nanosecond

    def moved(self, encoder: I64, captured_ns: int) -> None:
        """The lines of a strip were scanned at these places."""
        last = int(encoder[-1])
        if self._encoder is not None and captured_ns > self._seen_ns:
            pace = (last - self._encoder) / (captured_ns - self._seen_ns)
            if self._pace:
                pace = min(max(pace, self._pace / PACE_CHANGE), self._pace * PACE_CHANGE)
            self._pace = pace
        self._encoder, self._seen_ns = last, max(self._seen_ns, captured_ns)
        # The belt has gone on since, by up to a strip, before the next one can say so.
        self._unseen_counts = float(encoder[-1] - encoder[0]) + self._counts_per_line

    def stood(self, captured_ns: int) -> None:
        """The belt was not past the last place by then."""
        self._seen_ns = max(self._seen_ns, captured_ns)

    def lost(self, lines: int) -> None:
        """So many lines of belt went by unseen."""
        self._unseen_counts += lines * self._counts_per_line

    def reached(self, now_ns: int) -> float | None:
        """Encoder counts that the belt has reached at the most; None before the first line."""
        if self._encoder is None:
            return None
        since_ns = max(0, now_ns - self._seen_ns)
        return self._encoder + max(self._unseen_counts, self._pace * since_ns)

    def due_ns(self, place: int, now_ns: int) -> int | None:
        """When `reached` may get to ``place`` at the earliest; None without a pace of the belt.

        Earlier by a strip than at an even pace: the next strip may say so much at once.
        """
        if self._encoder is None:
            return None
        left = place - self._encoder - self._unseen_counts
        if left <= 0:
            return now_ns
        return self._seen_ns + int(left / self._pace) if self._pace > 0 else None


class BeltClock:
    """Time that stands while the belt is said to stand.

    What is said counts until the lines say otherwise: `moved`.
    """

    def __init__(self) -> None:
        self._stopped_ns: int | None = None  # since when, on the lane's clock
        self._stood_ns = 0

    @property
    def stands(self) -> bool:
        """True while the belt is said to stand."""
        return self._stopped_ns is not None

    def say(self, running: bool, now_ns: int) -> bool:
        """Take in what is said of the belt; True when that is news."""
        if running is not self.stands:
            return False
        if self._stopped_ns is not None:
            self._stood_ns += max(0, now_ns - self._stopped_ns)
        self._stopped_ns = None if running else now_ns
        return True

    def running_ns(self, now_ns: int) -> int:
        """How long the belt has run by now, up to a constant."""
        if self._stopped_ns is not None:
            now_ns = min(now_ns, self._stopped_ns)
        return now_ns - self._stood_ns

    def until_ns(self, running_ns: int) -> int | None:
        """When `running_ns` will be that, if the belt runs on; None while it stands."""
        return None if self.stands else running_ns + self._stood_ns

    def frozen_ns(self, now_ns: int) -> int:
        """Now, or when the belt stopped."""
        return now_ns if self._stopped_ns is None else min(now_ns, self._stopped_ns)


class LineClock:
    """When each line was read out, by the moments at which the strips were."""

    def __init__(self) -> None:
        self._captured_ns: int | None = None
        self._line_ns = 0.0

    def times_ns(self, strip: Strip, lines: int, hole: bool) -> I64:
        """Evenly since the strip before, the last at the end.

        Args:
            strip: The strip.
            lines: Its lines that are used.
            hole: True when lines are missing between.
        """
        if self._captured_ns is not None and not hole:
            line_ns = max(0.0, (strip.captured_ns - self._captured_ns) / len(strip))
            # A belt that stood between two strips did not take so long for each line.
            self._line_ns = min(line_ns, 2 * self._line_ns) if self._line_ns else line_ns
        self._captured_ns = strip.captured_ns
        behind = np.arange(lines - 1, -1, -1) * self._line_ns
        return strip.captured_ns - behind.astype(np.int64)
