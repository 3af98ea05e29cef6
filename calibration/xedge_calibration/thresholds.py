"""Where to cut a tensor's range off: four methods, all on a histogram of magnitudes.

A smaller range has smaller steps and more numbers beyond its end; what is best depends on how the
numbers are spread. Zeros are exact in any range and count in none of the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge_calibration.histogram import BINS, Histogram

F64 = npt.NDArray[np.float64]

PERCENTILE: Final = 99.99
CANDIDATES: Final = 128
"""How many ends of the range are tried by squared error and by entropy."""
SMALLEST: Final = 1 / 16
"""The smallest end that is tried, as a share of the largest magnitude."""


def min_max(histogram: Histogram, steps: int) -> float:
    """The largest magnitude."""
    return histogram.peak


def percentile(histogram: Histogram, steps: int, share: float = PERCENTILE) -> float:
    """The magnitude that ``share`` percent of the numbers do not exceed, to a bin."""
    seen = np.cumsum(histogram.counts)
    index = int(np.searchsorted(seen, seen[-1] * (share / 100)))
    return min(histogram.width * (index + 1), histogram.peak)


def squared_error(histogram: Histogram, steps: int) -> float:
    """The end of the range with the smallest sum of squared errors, of rounding and of cutting."""
    centres = (np.arange(BINS) + 0.5) * histogram.width
    ends = _ends(histogram)
    errors = []
    for end in ends:
        scale = end / steps
        near = np.minimum(np.rint(centres / scale), steps) * scale
        errors.append(float(histogram.counts @ (centres - near) ** 2))
    return float(ends[int(np.argmin(errors))])


def entropy(histogram: Histogram, steps: int) -> float:
    """The end of the range whose quantised distribution has least divergence from the real one.

    Kullback and Leibler's, as S. Migacz ("8-bit inference with TensorRT", GTC 2017) has it: what
    lies beyond the end is counted in the last bin of the one, and missing from the other.
    """
    counts = histogram.counts.astype(np.float64)
    ends = _ends(histogram)
    bins = np.unique(np.ceil(ends / histogram.width).astype(np.int64))
    bins = bins[bins >= min(steps + 1, bins[-1])]
    losses = [_divergence(counts, int(n), min(steps + 1, int(n))) for n in bins]
    return min(float(bins[int(np.argmin(losses))]) * histogram.width, histogram.peak)


def _ends(histogram: Histogram) -> F64:
    return histogram.peak * np.linspace(SMALLEST, 1.0, CANDIDATES)


def _divergence(counts: F64, kept: int, levels: int) -> float:
    """Divergence of the first ``kept`` bins, put on ``levels`` levels, from all of them."""
    inside = counts[:kept]
    real = inside.copy()
    real[-1] += counts[kept:].sum()
    level = np.arange(kept) * levels // kept
    occupied = inside > 0
    sums = np.bincount(level, inside, levels)
    places = np.bincount(level, occupied, levels)
    coarse = np.where(occupied, sums[level] / np.maximum(places[level], 1), 0.0)
    if not coarse.any():
        return np.inf
    p, q = real / real.sum(), coarse / coarse.sum()
    # A bin with what was cut off and nothing of its own: the coarse one has no answer to it.
    floor = 1e-12
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], floor))).sum())


METHODS: Final[Mapping[str, Callable[[Histogram, int], float]]] = MappingProxyType(
    {"minmax": min_max, "percentile": percentile, "entropy": entropy, "mse": squared_error}
)
"""Name of a method to what it gives: the end of the range, for so many steps from zero to it."""


def threshold(histogram: Histogram, method: str, steps: int) -> float:
    """The end of a tensor's range by a method, above 0 and not above the largest magnitude.

    Args:
        histogram: What the tensor holds.
        method: A name of `METHODS`.
        steps: Steps from zero to the end, 127 or 255.

    Raises:
        ConfigError: When there is no such method.
        CalibrationError: When the tensor has no range.
    """
    if method not in METHODS:
        raise ConfigError("there is no such method to find ranges",
                          expected=", ".join(METHODS), found=method)  # fmt: skip
    histogram.check()
    return METHODS[method](histogram, steps)
