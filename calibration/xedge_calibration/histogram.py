"""What a tensor holds over many windows: a histogram of magnitudes that any order of them gives.

onnxruntime's own calibrators were looked at and not taken: they keep every tensor of every window
in memory until the end, their bins depend on which window comes first, a NaN passes unnoticed, and
there is no choice by squared error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.errors import CalibrationError
from xedge.types import F32

BINS: Final = 4096
"""At least half of them lie below the largest magnitude."""


@dataclass(eq=False)
class Histogram:
    """Magnitudes of a tensor's numbers other than zero, in bins of equal width.

    The width is a power of two and doubles when a larger number comes, which joins bins two and
    two: what was counted stays counted exactly, and the result is the same in any order.

    Attributes:
        name: The tensor.
        counts: Numbers in each bin, int64 ``[BINS]``; bin i has ``width * i <= |x| < width *
            (i + 1)``.
        width: Width of a bin; 0 before the first number other than zero.
        least: Smallest number.
        most: Largest number.
        zeros: How many zeros.
    """

    name: str
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    width: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    zeros: int = 0

    @property
    def peak(self) -> float:
        """Largest magnitude."""
        return max(-self.least, self.most)

    @property
    def signed(self) -> bool:
        """Whether a number was below zero."""
        return self.least < 0

    def add(self, numbers: F32) -> None:
        """Count the numbers of one window.

        Raises:
            CalibrationError: When one is not finite.
        """
        low, high = float(numbers.min()), float(numbers.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError(
                f"the tensor {self.name} has no range",
                expected="finite numbers on every window of the calibration set",
                found=f"numbers from {low:g} to {high:g}",
                remedy="Look at the weights: the training may have diverged",
            )
        self.least, self.most = min(self.least, low), max(self.most, high)
        magnitudes = np.abs(numbers.ravel())
        magnitudes = magnitudes[magnitudes > 0]
        self.zeros += numbers.size - magnitudes.size
        if not magnitudes.size:
            return
        self._widen(_width(self.peak))
        # Dividing by a power of two is exact, so each number is in the bin it belongs to.
        bins = (magnitudes / np.float32(self.width)).astype(np.int64)
        self.counts += np.bincount(bins, minlength=BINS)

    def check(self) -> None:
        """Nothing, when a range can be made of it.

        Raises:
            CalibrationError: When nothing was counted, or all numbers are the same.
        """
        if self.least < self.most:
            return
        empty = math.isinf(self.least)
        raise CalibrationError(
            f"the tensor {self.name} has no range",
            expected="different numbers on the calibration set",
            found="none at all" if empty else f"{self.least:g} everywhere",
            remedy="Calibrate on more and other windows; if the layer is dead, train it anew",
        )

    def _widen(self, width: float) -> None:
        while self.width and self.width < width:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([pairs, np.zeros(BINS // 2, np.int64)])
            self.width *= 2
        self.width = self.width or width


def _width(peak: float) -> float:
    """The power of two for which ``peak`` is in the upper half of the bins."""
    _, exponent = math.frexp(peak)  # peak < 2^exponent
    return max(math.ldexp(1.0, exponent) / BINS, 2.0**-126)
