"""Reference elements: columns beside the tunnel that see air always, and so what the tube gives.

A tube's output moves from line to line, and by some per cent while it warms up. The level of a line
is the median over the elements of a span, and of several spans the brightest: what hangs into one
of them can only darken it. A level taken too high makes a line darker, which is no way to hide
matter. Of one span alone the level would be taken too low, and the line made lighter by whatever
hangs there, so one alone is refused.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.types import AIR_COUNTS, F32, U16

Spans = tuple[tuple[int, int], ...]
"""First and last element of each span of reference elements."""

LEAST: Final = 4
"""Living elements that a span needs in both energies."""

STRAYED: Final = 0.2
"""Share by which the level may stray from the air run's; beyond, the tube is not at its level."""


class ReferenceElements:
    """Reads the tube's output off each line. Without state.

    Args:
        flat_field: The correction as it was made.
        spans: First and last element of each span, two or more.

    Raises:
        ConfigError: When there is one alone, or a span lies outside of the detector or has too few
            living elements.
    """

    def __init__(self, flat_field: FlatField, spans: Spans) -> None:
        if len(spans) < 2:
            raise ConfigError("one span of reference elements cannot be trusted",
                              expected="two or more in each view, at both sides of the tunnel",
                              found=str(spans),
                              remedy="Name another span, or none")  # fmt: skip
        self._spans = []
        for first, last in spans:
            if not 0 <= first <= last < flat_field.elements:
                raise ConfigError("reference elements lie outside of the detector",
                                  expected=f"0 to {flat_field.elements - 1}",
                                  found=f"{first} to {last}")  # fmt: skip
            living = ~flat_field.dead[:, first : last + 1]
            if living.sum(axis=1).min() < LEAST:
                raise ConfigError("a span of reference elements cannot be used",
                                  expected=f"{LEAST} living elements in both energies",
                                  found=f"{first} to {last}")  # fmt: skip
            self._spans.append([first + np.flatnonzero(row) for row in living])
        self._offset = flat_field.offset
        self._scale = np.asarray(flat_field.gain / np.float32(AIR_COUNTS))

    def levels(self, low: U16, high: U16) -> F32:
        """What the tube gives in each raw line, as a share of the air run's, float32 ``[2, n]``."""
        levels = np.empty((2, len(low)), np.float32)
        for energy, raw in enumerate((low, high)):
            spans = []
            for columns in (span[energy] for span in self._spans):
                counts = raw[:, columns] - self._offset[energy, columns]
                counts *= self._scale[energy, columns]
                counts.sort(axis=1)  # far quicker than np.median for so few
                middle = counts.shape[1] // 2
                spans.append((counts[:, middle] + counts[:, -1 - middle]) / 2)
            levels[energy] = np.max(spans, axis=0)
        return levels
