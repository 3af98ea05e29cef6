"""Low and high energy of one place of the belt, brought together where two lines see it in turn.

The two lines of a detector do not look at one place: on a belt that runs forward the high line
sees it ``lag_lines`` lines after the low one (before it, when negative), and on a belt that runs
back it is the other way round. Partners are found by the encoder, not by counting lines: a belt
that stands, creeps or loses lines shifts nothing. Whole lines: half a line more or less is less
than the blur of focal spot and cross-talk, and interpolation would blur one energy alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError, LineError
from xedge.scanner.flatfield import Mask
from xedge.types import I64, U16, Strip

MOST_LAG: Final = 64
"""Lines that the two energies may be apart: 40 mm."""

NEAR: Final = 0.75
"""A partner lies within this many lines of where it should."""


class Registered:
    """The strips of a source with both energies of a line from one place of the belt.

    A line keeps its counter, encoder and time; the energy that saw its place first is taken from
    an earlier line. A line without a partner, behind lost lines or behind a turn of the belt, comes
    as damaged, and is counted; those before the first pair do not come at all.

    Args:
        strips: The source.
        lag_lines: Lines by which the high line sees a place after the low one, belt forward.
        counts_per_line: Encoder counts from one line to the next, negative where the encoder
            counts down on a belt that runs forward.

    Attributes:
        unpaired: Lines without a partner so far.
        live: What the source says of itself.

    Raises:
        ConfigError: On numbers that cannot be.
    """

    def __init__(self, strips: Iterable[Strip], lag_lines: int, counts_per_line: float) -> None:
        if not 0 <= abs(lag_lines) <= MOST_LAG or counts_per_line == 0:
            raise ConfigError("lag_lines cannot be used", expected=f"{-MOST_LAG} to {MOST_LAG}",
                              found=str(lag_lines))  # fmt: skip
        self._strips, self._lag, self._counts = strips, lag_lines, counts_per_line
        self.live = bool(getattr(strips, "live", False))
        self.unpaired = 0
        self._seen = _Seen()
        self._sign = 1  # of the belt's last movement
        self._paired = False

    def __iter__(self) -> Iterator[Strip]:
        if not self._lag:
            yield from self._strips
            return
        for strip in self._strips:
            if not strip.intact or (self._seen.elements not in (0, strip.elements)):
                yield strip  # the lane refuses and counts it
            else:
                yield from self._pair(strip)

    def _pair(self, strip: Strip) -> Iterator[Strip]:
        seen = self._seen.and_then(strip)
        own = np.arange(len(seen.encoder) - len(strip), len(seen.encoder))
        sign = self._signs(seen.encoder, own)
        # Which energy saw the place first, and how far back: the sign turns with the belt.
        late = np.where(sign * self._lag > 0, 1, 0)
        wanted = strip.encoder - sign * abs(self._lag) * abs(self._counts)
        off = np.abs(seen.encoder[None, :] - wanted[:, None])
        off[np.arange(len(seen.encoder))[None, :] > own[:, None]] = np.inf
        # Of equally near ones the youngest: the belt may have been here before.
        partner = off.shape[1] - 1 - np.argmin(off[:, ::-1], axis=1)
        found: Mask = off[np.arange(len(own)), partner] <= NEAR * abs(self._counts)
        low = np.where((late == 1)[:, None], seen.low[partner], strip.low)
        high = np.where((late == 0)[:, None], seen.high[partner], strip.high)
        self._sign = int(sign[-1])
        self._seen = seen.kept(2 * (abs(self._lag) + 2), abs(self._counts))
        self.unpaired += int(np.count_nonzero(~found))
        if not self._paired:
            if not found.any():
                return
            self._paired = True
            first = int(np.argmax(found))
        else:
            first = 0
        edges = [first, *(np.flatnonzero(np.diff(found)) + 1).tolist(), len(strip)]
        edges = sorted({edge for edge in edges if edge >= first})
        for a, b in itertools.pairwise(edges):
            yield Strip(strip.first_line + a, strip.encoder[a:b], low[a:b], high[a:b],
                        strip.captured_ns, bool(found[a]))  # fmt: skip

    def _signs(self, encoder: I64, own: npt.NDArray[np.intp]) -> I64:
        """Which way the belt last moved before each line, 1 or -1 in encoder counts."""
        steps = np.sign(np.diff(encoder, prepend=encoder[:1]))
        direction = 1 if self._counts > 0 else -1
        signs = np.empty(len(own), np.int64)
        last = self._sign if len(encoder) > len(own) else direction
        for at, step in enumerate(steps[own].tolist()):
            last = int(step) or last
            signs[at] = last
        return signs


class _Seen:
    """Lines that may yet be partners."""

    def __init__(self) -> None:
        self.encoder: I64 = np.zeros(0, np.int64)
        self.low: U16 = np.zeros((0, 0), np.uint16)
        self.high: U16 = np.zeros((0, 0), np.uint16)

    @property
    def elements(self) -> int:
        return int(self.low.shape[1])

    def and_then(self, strip: Strip) -> _Seen:
        """These lines and those of a strip."""
        both = _Seen()
        if not len(self.encoder):
            both.encoder, both.low, both.high = strip.encoder, strip.low, strip.high
        else:
            both.encoder = np.concatenate((self.encoder, strip.encoder))
            both.low = np.concatenate((self.low, strip.low))
            both.high = np.concatenate((self.high, strip.high))
        return both

    def kept(self, lines: int, counts: float) -> _Seen:
        """The last places, two a line at the most: a belt that stands fills no memory."""
        rows: list[int] = []
        last: int | None = None
        for row in range(len(self.encoder) - 1, -1, -1):
            here = int(self.encoder[row])
            if last is None or abs(here - last) >= counts / 2:
                rows.append(row)
                last = here
            if len(rows) == 2 * lines:
                break
        rows.reverse()
        kept = _Seen()
        kept.encoder, kept.low, kept.high = self.encoder[rows], self.low[rows], self.high[rows]
        return kept


def measured_lag(low: U16, high: U16, most: int = 16) -> int:
    """Lines by which the high line of a scan lags behind the low one.

    The lag at which the changes of both along the belt fit best.

    Args:
        low: Corrected low-energy lines of a scan with objects in it, uint16 ``[lines, elements]``.
        high: The high-energy lines, the same shape, not yet registered.
        most: The largest lag that is tried.

    Raises:
        LineError: When there is nothing to measure it by.
    """
    if low.shape != high.shape or low.ndim != 2 or len(low) < 4 * most:
        raise LineError("the lag cannot be measured", expected=f"{4 * most} lines or more",
                        found=f"{list(low.shape)} and {list(high.shape)}")  # fmt: skip
    edges = [np.diff(np.log(np.maximum(lines, 1)), axis=0) for lines in (low, high)]
    inner = slice(most, len(edges[0]) - most)
    fits = [
        float((edges[0][inner] * edges[1][inner.start + k : inner.stop + k]).sum())
        for k in range(-most, most + 1)
    ]
    strength = float(np.sqrt((edges[0][inner] ** 2).sum() * (edges[1][inner] ** 2).sum()))
    best = int(np.argmax(fits))
    if strength == 0 or fits[best] < 0.2 * strength:
        raise LineError("the lag cannot be measured: the energies show nothing in common",
                        remedy="Scan something with sharp edges across the belt")  # fmt: skip
    return best - most
