"""Where strips come from: one small Protocol, and the sources that replay arrays and files.

Others stand beside: `xedge.scanner.ringsource` (shared memory), `xedge.scanner.folder` (image files
that appear in a folder), `xedge.sim.belt` (the simulator).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from xedge.errors import LineError
from xedge.scanner.stripfile import StripReader
from xedge.types import I64, U16, Strip

_S = TypeVar("_S", bound="Source")


@runtime_checkable
class LineSource(Protocol):
    """Raw strips of one detector in the order of their capture; a context manager.

    Iterated once, then closed. What a source loses it never hides: the line counter of the next
    strip skips it, and damaged lines come with ``intact=False``.
    """

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        ...

    @property
    def live(self) -> bool:
        """True when strips come as they are captured, on this machine's monotonic clock."""
        ...

    def __iter__(self) -> Iterator[Strip]:
        """The strips; ``captured_ns`` never falls."""
        ...

    def close(self) -> None:
        """Free what the source holds, also from another thread; safe to call twice."""
        ...

    def __enter__(self) -> LineSource:
        """The source."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        ...


class Source:
    """What all sources have in common: a ``with`` statement closes them."""

    live: bool = False

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ArraySource(Source):
    """Strips out of two images, as if a belt had carried them past at constant speed.

    Args:
        low: Raw low-energy counts, uint16 ``[lines, elements]``.
        high: Raw high-energy counts, the same shape.
        line_ns: Nanoseconds from one line to the next.
        strip_lines: Lines in a strip; the last may be shorter.
        counts_per_line: Encoder counts from one line to the next.

    Raises:
        LineError: When the images cannot be cut into strips.
    """

    def __init__(
        self,
        low: U16,
        high: U16,
        *,
        line_ns: int = 3_100_000,
        strip_lines: int = 32,
        counts_per_line: int = 1,
    ) -> None:
        if strip_lines < 1 or line_ns < 0 or counts_per_line < 1:
            raise LineError("a source needs at least one line a strip, and time that never falls")
        self._low, self._high = low, high
        self._strip_lines, self._line_ns = strip_lines, line_ns
        self._encoder: I64 = np.arange(len(low), dtype=np.int64) * counts_per_line
        Strip(0, self._encoder, low, high, 0)  # checks shapes and dtypes

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return int(self._low.shape[1])

    def __iter__(self) -> Iterator[Strip]:
        for start in range(0, len(self._low), self._strip_lines):
            rows = slice(start, min(start + self._strip_lines, len(self._low)))
            captured_ns = rows.stop * self._line_ns
            yield Strip(start, self._encoder[rows], self._low[rows], self._high[rows], captured_ns)


class StripFileSource(Source):
    """The strips of a recorded file; see `stripfile.StripReader` for what damage does.

    Attributes:
        reader: The open file: header, runs, and whether its end was missing.
    """

    def __init__(self, path: str | os.PathLike[str], *, truncated_ok: bool = False) -> None:
        self.reader = StripReader(path, truncated_ok=truncated_ok)

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return self.reader.elements

    def __iter__(self) -> Iterator[Strip]:
        return iter(self.reader)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.reader.close()
