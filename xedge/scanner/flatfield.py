"""Flat-field correction: offset, gain and dead elements of a dual-energy line detector.

    corrected = (raw - offset) * gain,  gain = AIR_COUNTS / (air - offset)

for each element and energy; the offset is the mean of a dark run (tube off), ``air`` the mean
of an air run (tube on, empty belt). Elements that cannot be corrected so are *dead*: they are
interpolated from their living neighbours in the line, and counted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from xedge.errors import CorrectionError, LineError
from xedge.types import AIR_COUNTS, F32, I32, U16

Mask = npt.NDArray[np.bool_]

MIN_LINES = 16
"""A run needs this many lines: the mean of 16 has a quarter of one line's noise."""

MAX_ADJACENT_DEAD = 4
"""More dead elements side by side are a hole that interpolation would paper over (2.5 mm)."""

MIN_CONTRAST = 1000.0
"""Median counts that air must lie above dark."""

WEAK, STRONG = 0.3, 3.0
"""An element is dead when its contrast is outside these multiples of the median one."""

OUTLIER = 12.0
"""An element is dead when its offset or noise lies this many robust deviations off the median."""

SATURATED = 65_535
_BLOCK = 32  # lines corrected at a time: both energies, as floats, stay in the L2 cache


@dataclass(frozen=True, eq=False)
class FlatField:
    """The correction of one detector; index 0 of the first axis is low energy, 1 high.

    Attributes:
        offset: Counts without X-rays, float32 ``[2, elements]``.
        gain: What counts above the offset are multiplied by, float32 ``[2, elements]``.
        dead: Elements that are interpolated, bool ``[2, elements]``.
        saturated_share: Share of the samples behind the gain that stood at full scale, low and
            high. Above zero the gain of single elements is unknown, and air carries no noise.

    Raises:
        CorrectionError: When the parts do not fit together, or more than `MAX_ADJACENT_DEAD`
            neighbouring elements are dead.
    """

    offset: F32
    gain: F32
    dead: Mask
    saturated_share: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.offset.ndim != 2 or self.offset.shape[0] != 2 or self.offset.shape[1] < 2:
            raise CorrectionError(
                "the flat field has a wrong shape",
                expected="[2, elements]",
                found=str(list(self.offset.shape)),
            )
        if not self.offset.shape == self.gain.shape == self.dead.shape:
            raise CorrectionError("offset, gain and dead elements differ in shape")
        if not (np.isfinite(self.offset).all() and np.isfinite(self.gain).all()):
            raise CorrectionError("offset or gain is not finite")
        for name, dead in zip(("low", "high"), self.dead, strict=True):
            if (longest := longest_run(dead)) > MAX_ADJACENT_DEAD:
                raise CorrectionError(
                    f"too many neighbouring elements of the {name}-energy array are dead",
                    expected=f"at most {MAX_ADJACENT_DEAD} side by side",
                    found=f"{longest} of {dead.size}, {int(dead.sum())} dead in all",
                    remedy="Check that the tube was on, the belt empty and the array connected",
                )
        for array in (self.offset, self.gain, self.dead):
            array.flags.writeable = False

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return int(self.offset.shape[1])

    @staticmethod
    def from_runs(dark_low: U16, dark_high: U16, air_low: U16, air_high: U16) -> FlatField:
        """The correction from a dark and an air run, each uint16 ``[lines, elements]``.

        Raises:
            CorrectionError: With fewer than `MIN_LINES` lines, different widths, saturated air,
                air that is not brighter than dark, or too many neighbouring dead elements.
        """
        width = air_high.shape[-1] if air_high.ndim == 2 else -1
        names = ("dark low", "dark high", "air low", "air high")
        for name, run in zip(names, (dark_low, dark_high, air_low, air_high), strict=True):
            _check_run(name, run, width)
        low = _one_energy("low", dark_low, air_low)
        high = _one_energy("high", dark_high, air_high)
        offset, gain, dead = (np.stack(pair) for pair in zip(low, high, strict=True))
        return FlatField(offset, gain, dead)

    @staticmethod
    def from_saturated_air(low: U16, high: U16, saturation: int = SATURATED) -> FlatField:
        """A correction for data without dark and air runs, whose air stands at full scale.

        The offset is 0 and one gain maps full scale to `AIR_COUNTS`: saturated air hides how
        single elements differ. An element is dead when it never comes near full scale.

        Args:
            low: Raw lines that contain air at every element at some time, uint16 ``[n, elements]``.
            high: The high-energy lines, the same shape.
            saturation: Counts from which a sample stands at full scale.

        Raises:
            CorrectionError: When less than a hundredth of the samples stand at full scale, or too
                many neighbouring elements are dead.
        """
        shares, dead = [], []
        for name, run in (("low", low), ("high", high)):
            _check_run(name, run, high.shape[-1] if high.ndim == 2 else -1)
            shares.append(float(np.mean(run >= saturation)))
            if shares[-1] < 0.01:
                raise CorrectionError(
                    f"the {name}-energy lines hold no saturated air",
                    expected=f"at least 1 % of the samples at {saturation}",
                    found=f"{100 * shares[-1]:.2f} %",
                    remedy="Use FlatField.from_runs with a dark and an air run",
                )
            dead.append(run.max(axis=0) < saturation // 2)
        shape = (2, low.shape[1])
        gain = np.full(shape, AIR_COUNTS / saturation, np.float32)
        return FlatField(np.zeros(shape, np.float32), gain, np.stack(dead), (shares[0], shares[1]))

    def apply(self, low: U16, high: U16, levels: F32 | None = None) -> tuple[U16, U16]:
        """Corrected low and high lines, uint16 of the same shape; air is `AIR_COUNTS`.

        Values beyond the range of uint16 are clipped to it.

        Args:
            low: Raw low-energy lines, uint16 ``[n, elements]``.
            high: Raw high-energy lines, the same shape.
            levels: What the tube gives in each line as a share of what it gave in the air run,
                float32 ``[2, n]``; None for the same.

        Raises:
            LineError: When the lines are not as wide as the detector.
        """
        for lines in (low, high):
            if lines.ndim != 2 or lines.shape[1] != self.elements or lines.dtype != np.uint16:
                raise LineError(
                    "lines do not fit the flat field",
                    expected=f"uint16 [lines, {self.elements}]",
                    found=f"{lines.dtype} {list(lines.shape)}",
                    remedy="Use the correction of this detector",
                )
        out = np.empty((2, *low.shape), np.uint16)
        work = np.empty((2, min(_BLOCK, len(low)), self.elements), np.float32)
        for start in range(0, len(low), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = work[:, : len(low) - start]
            block[0], block[1] = low[rows], high[rows]
            block *= self.gain[:, None]
            block += self._bias[:, None]
            if levels is not None:  # the half count scales too: a quarter of it at most
                block /= levels[:, rows, None]
            np.clip(block, 0, 65_535, out=block)
            out[:, rows] = block
        for repair, lines in zip(self._repairs, out, strict=True):
            repair.apply(lines)
        return out[0], out[1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of offset, gain and dead elements, 64 hex digits."""
        parts = (self.offset.astype("<f4"), self.gain.astype("<f4"), self.dead.astype(np.uint8))
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    @cached_property
    def _bias(self) -> F32:
        # (raw - offset) * gain + 0.5, rearranged: one multiplication and one addition a sample,
        # and the cast to integers rounds to nearest.
        return np.asarray(0.5 - self.offset * self.gain, np.float32)

    @cached_property
    def _repairs(self) -> tuple[Repair, Repair]:
        return Repair.of(self.dead[0]), Repair.of(self.dead[1])


@dataclass(frozen=True, eq=False)
class Repair:
    """Linear interpolation of given elements from the nearest others in the same line."""

    columns: npt.NDArray[np.intp]
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    share: F32

    @staticmethod
    def of(bad: Mask) -> Repair:
        """The repair of the elements where ``bad`` is true; beyond the last good one it holds."""
        columns, good = np.flatnonzero(bad), np.flatnonzero(~bad)
        if not good.size:
            raise CorrectionError("every element of the detector is dead")
        after = np.searchsorted(good, columns)
        left = good[np.clip(after - 1, 0, good.size - 1)]
        right = good[np.clip(after, 0, good.size - 1)]
        # At the array's ends both neighbours are the nearest living element.
        left = np.where(after == 0, right, left)
        right = np.where(after == good.size, left, right)
        span = np.maximum(right - left, 1)
        return Repair(columns, left, right, ((columns - left) / span).astype(np.float32))

    def values(self, lines: U16) -> F32:
        """What the elements should read, float32 ``[lines, columns]``."""
        left, right = (lines.take(columns, axis=1) for columns in (self.left, self.right))
        mixed: F32 = left * (np.float32(1) - self.share) + right * self.share
        return mixed

    def apply(self, lines: U16) -> None:
        """Write the interpolated values into ``lines``."""
        if self.columns.size:
            lines[:, self.columns] = self.values(lines) + np.float32(0.5)


def count_true(mask: Mask) -> I32:
    """How many are true in each row, int32 ``[n]``."""
    counts = cv2.reduce(mask.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(counts, np.int32)[:, 0]


def longest_run(mask: Mask) -> int:
    """Length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return int(max(edges[1::2] - edges[::2], default=0))


def _check_run(name: str, run: U16, elements: int) -> None:
    if run.ndim != 2 or run.dtype != np.uint16 or run.shape[1] != elements:
        raise CorrectionError(
            f"the {name} run cannot be used",
            expected=f"uint16 [lines, {elements}]",
            found=f"{run.dtype} {list(run.shape)}",
        )
    if run.shape[0] < MIN_LINES:
        raise CorrectionError(
            f"the {name} run is too short",
            expected=f"at least {MIN_LINES} lines",
            found=str(run.shape[0]),
            remedy="Record the run again",
        )


def _one_energy(name: str, dark: U16, air: U16) -> tuple[F32, F32, Mask]:
    """Offset, gain and dead elements of one energy."""
    offset = dark.mean(axis=0, dtype=np.float64)
    bright = air.mean(axis=0, dtype=np.float64)
    contrast = bright - offset
    middle = float(np.median(contrast))
    if middle < MIN_CONTRAST:
        raise CorrectionError(
            f"{name}-energy air is not brighter than dark",
            expected=f"a median of at least {MIN_CONTRAST:.0f} counts above dark",
            found=f"{middle:.0f}",
            remedy="Check that the tube was off for the dark run and on for the air run",
        )
    if float(np.median(bright)) >= SATURATED - 1:
        raise CorrectionError(
            f"{name}-energy air is saturated",
            expected=f"air below {SATURATED}",
            remedy="Lower the tube current, or use FlatField.from_saturated_air and read its "
            "saturated_share",
        )
    dead = out_of_range(contrast) | noisy(air.std(axis=0), contrast)
    dead |= _outliers(offset) | _outliers(dark.std(axis=0))
    # A dead element's own gain is never used: its neighbours are interpolated over it.
    gain = AIR_COUNTS / np.where(dead, middle, contrast)
    return offset.astype(np.float32), gain.astype(np.float32), dead


def _outliers(values: npt.NDArray[np.float64]) -> Mask:
    middle = np.median(values)
    # 1.4826 makes the median deviation a standard deviation; the floor of one count keeps a
    # detector without any spread from calling its last bit an outlier.
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 1.0)
    return np.asarray(np.abs(values - middle) > OUTLIER * spread)


def out_of_range(contrast: npt.NDArray[np.float64]) -> Mask:
    """Elements that see next to nothing of the tube, or far too much, bool ``[elements]``.

    Args:
        contrast: What each sees of it, in whatever unit, ``[elements]``.
    """
    middle = np.median(contrast)
    return np.asarray((contrast < WEAK * middle) | (contrast > STRONG * middle))


def noisy(noise: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64]) -> Mask:
    """Elements whose noise in air is out of proportion to their signal, bool ``[elements]``.

    Args:
        noise: Standard deviation of the counts in air, ``[elements]``.
        contrast: Counts that air lies above dark, the same shape.
    """
    # Photon noise grows with the root of the signal: compare what is left after that.
    scaled = noise / np.sqrt(np.maximum(contrast, 1.0))
    middle = float(np.median(scaled))
    return np.asarray(scaled > 4.0 * middle) if middle > 0 else np.zeros(noise.shape, np.bool_)
