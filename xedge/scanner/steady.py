"""Strips on a clock that never falls, whatever their own clock does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from xedge.errors import LineError
from xedge.types import Strip

JITTER_NS: Final = 1_000_000_000
"""A clock that falls by less was not set: strips changed places, say, or it was slewed."""


class Steady:
    """The strips of a source, their ``captured_ns`` never below that of the strip before.

    A clock that is set back would make every later strip look old, and its bags late, for good.
    So from such a strip on all are shifted: it counts as read out as long behind the one before
    as that one was behind its own, until the clock is set right again. A clock that is set forward
    cannot be told from a belt that stood, and is left.

    Args:
        strips: The source.

    Attributes:
        steps: Times that the clock was set back.
        live: What the source says of itself, see `xedge.scanner.source.LineSource`.

    Raises:
        LineError: While iterating, when the source gives something else than strips.
    """

    def __init__(self, strips: Iterable[Strip]) -> None:
        self._strips = strips
        self.live = bool(getattr(strips, "live", False))
        self.steps = 0

    def __iter__(self) -> Iterator[Strip]:
        shift_ns = pace_ns = 0
        last_ns: int | None = None
        for strip in self._strips:
            if not isinstance(strip, Strip):
                raise LineError("it gave something else than a strip", found=type(strip).__name__)
            captured_ns = strip.captured_ns
            if last_ns is None or captured_ns >= last_ns:
                shift_ns, at_ns = 0, captured_ns
            elif captured_ns + shift_ns >= last_ns - JITTER_NS:
                at_ns = max(last_ns, captured_ns + shift_ns)
            else:
                self.steps += 1
                at_ns = last_ns + pace_ns
                shift_ns = at_ns - captured_ns
            pace_ns = 0 if last_ns is None else at_ns - last_ns
            last_ns = at_ns
            yield strip if at_ns == captured_ns else replace(strip, captured_ns=at_ns)
