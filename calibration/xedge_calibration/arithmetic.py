"""Eight-bit numbers: ``q = saturate(round(x / scale) + zero)``, as ONNX's QuantizeLinear has it.

Ranges are symmetric, so a number and its negative are treated alike, and zero is exact: padding
and the zeros behind a ReLU cost nothing. Halves are rounded to even.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.types import F32

I8 = npt.NDArray[np.int8]

LEAST_SCALE: Final = float(np.finfo(np.float32).tiny)
"""Below it a scale is no normal float32."""
LEAST_HALF: Final = 2.0**-14
"""Below it a scale is no normal float16, and TensorRT may take it for zero."""


class Grid(enum.Enum):
    """Which integers a tensor is put on: dtype, zero, and steps from zero to the range's end."""

    SIGNED = (np.int8, 0, 127)
    """Numbers of either sign, or where the engine has signed ones only; -128 is not used."""
    UNSIGNED = (np.uint8, 0, 255)
    """Numbers of one sign, as behind a ReLU."""
    SHIFTED = (np.uint8, 128, 127)
    """Numbers of either sign where the engine wants unsigned ones."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the integers."""
        kind: type[np.generic] = self.value[0]
        return np.dtype(kind)

    @property
    def zero(self) -> int:
        """The integer that stands for zero."""
        return int(self.value[1])

    @property
    def steps(self) -> int:
        """The largest distance from zero, in steps."""
        return int(self.value[2])


def rounded_up(scale: npt.ArrayLike, least: float = LEAST_SCALE, *, half: bool = False) -> F32:
    """A scale as the graph holds it: never smaller, so that what fits before fits after.

    Args:
        scale: Scales, above 0.
        least: The smallest one to give.
        half: True gives numbers that float16 holds exactly, none below its normal ones.
    """
    wanted = np.maximum(np.asarray(scale, np.float64), max(least, LEAST_HALF) if half else least)
    kind: Any = np.float16 if half else np.float32
    near = wanted.astype(kind)
    up = np.where(near.astype(np.float64) < wanted, np.nextafter(near, kind(np.inf)), near)
    return np.asarray(up, np.float32)


def quantised(x: npt.ArrayLike, scale: npt.ArrayLike, grid: Grid) -> npt.NDArray[Any]:
    """The integers that numbers become.

    Args:
        x: Numbers.
        scale: Size of a step, a scalar or of a shape that broadcasts.
        grid: Which integers.
    """
    steps = np.rint(np.asarray(x, np.float32) / np.asarray(scale, np.float32)) + grid.zero
    limits = np.iinfo(grid.dtype)
    return np.asarray(np.clip(steps, limits.min, limits.max), grid.dtype)


def restored(q: npt.NDArray[Any], scale: npt.ArrayLike, grid: Grid) -> F32:
    """The numbers that integers stand for, float32."""
    steps = q.astype(np.int32) - grid.zero
    return np.asarray(steps.astype(np.float32) * np.asarray(scale, np.float32), np.float32)


def weight_scales(weights: F32, *, half: bool = False) -> F32:
    """One scale for each output channel of a convolution, float32 ``[channels]``.

    A channel without weights has scale 1. With ``half`` a channel of very small weights gets the
    least scale that float16 has: its steps are coarser than they need be, but not coarser in
    absolute terms than those of a channel with larger weights.

    Args:
        weights: float32 ``[channels, ...]``.
        half: See `rounded_up`.
    """
    largest = np.abs(weights.reshape(len(weights), -1)).max(axis=1).astype(np.float64)
    return rounded_up(np.where(largest > 0, largest / Grid.SIGNED.steps, 1.0), half=half)


def quantised_weights(weights: F32, scales: F32) -> I8:
    """The integers of weights, int8 of the same shape, within -127..127.

    Args:
        weights: float32 ``[channels, ...]``.
        scales: Of `weight_scales`.
    """
    column = scales.reshape(-1, *[1] * (weights.ndim - 1))
    most = Grid.SIGNED.steps
    return np.asarray(np.clip(np.rint(weights / column), -most, most), np.int8)
