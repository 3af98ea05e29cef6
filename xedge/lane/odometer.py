"""How far the belt is by now: what the encoder said last, and what it cannot have said yet."""

from __future__ import annotations

from xedge.types import I64

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
        """A strip was read out, all at the last place."""
        self._seen_ns = max(self._seen_ns, captured_ns)

    def lost(self, lines: int) -> None:
        """So many lines of belt went by unseen."""
        self._unseen_counts += lines * self._counts_per_line

    def reached(self, now_ns: int) -> float | None:
        """Encoder counts that the belt has reached at the most; None before the first line."""
        if self._encoder is None:
            return None
        return self._encoder + max(self._unseen_counts, self._pace * (now_ns - self._seen_ns))

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
