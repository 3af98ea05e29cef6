"""Operators of PyTorch that torch's own exporter lacks, as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import torch
from onnxscript import opset20 as op


def nearest_by_centres(
    x: Any, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None = None
) -> Any:
    """A resize that takes, for each pixel, the source pixel under its centre.

    The other nearest resize asks for the floor of ``i / k``, where an engine that multiplies by
    1 / k rounded falls short of whole numbers; this one stays half a pixel away from them.
    """
    assert output_size is None, "only by a factor"
    assert scale_factors is not None
    scales = op.Constant(value_floats=[1.0, 1.0, *scale_factors])
    return op.Resize(
        x,
        None,
        scales,
        mode="nearest",
        coordinate_transformation_mode="half_pixel",
        nearest_mode="round_prefer_floor",
    )


TRANSLATIONS: Final[Mapping[Any, Callable[..., Any]]] = MappingProxyType(
    {torch.ops.aten._upsample_nearest_exact2d.vec: nearest_by_centres}  # noqa: SLF001
)
"""PyTorch's operator to what writes it as ONNX."""
