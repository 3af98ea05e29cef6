"""How much of the label-aware update an engine keeps: ``x' = x + w x``, as the next layer reads it.

The update of a trained head is small, and where |w| is less than half a step of the type that
features are kept in, x' rounds back to x: the step is then a no-op that passes every other gate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge import engines
from xedge.graph import read_graph, with_outputs
from xedge.types import F32, U8

F64 = npt.NDArray[np.float64]

NARROW: Final = ("bfloat16", "float16")
"""Types that features may be kept in, coarsest first; float32 is what remains."""

_MANTISSA: Final = 16
"""Bits of a float32 that a bfloat16 lacks."""


def updates(model: bytes, engine: str, threads: int | None, planes: U8) -> list[tuple[F32, F32]]:
    """Features before and after each label-aware step of a graph in an engine; none without LA.

    The engine is loaded with these values as further outputs.

    Args:
        model: The ONNX file.
        engine: A name of `xedge.engines.BACK_ENDS`.
        threads: Threads of one run.
        planes: uint8 ``[1, 3, height, width]``.

    Raises:
        EngineError: When the library refuses such a graph, or fails.
    """
    steps = list(read_graph(model).label_aware().values())
    if not steps:
        return []
    names = dict.fromkeys(name for step in steps for name in step)
    with closing(engines.load(with_outputs(model, names), engine, threads)) as loaded:
        answer = loaded.run({"planes": planes})
    return [
        (answer[before].astype(np.float32), answer[after].astype(np.float32))
        for before, after in steps
    ]


def share_retained(
    reference: list[tuple[F32, F32]], found: list[tuple[F32, F32]], types: Collection[str]
) -> float | None:
    """How much of the reference's update is in another's features, by projection; None of nothing.

    1 when all is there, 0 when what is there has nothing to do with it.

    Args:
        reference: What `updates` gave in float32.
        found: What it gave elsewhere, rounded here to the type in which the next layer reads it.
        types: What the engine computes in; features are kept in the coarsest float among them.
    """
    kept = next((name for name in NARROW if name in types), "float32")
    along = whole = 0.0
    for (x, refined), (other, moved) in zip(reference, found, strict=True):
        update: F64 = refined.astype(np.float64) - x
        there: F64 = rounded(moved, kept).astype(np.float64) - rounded(other, kept)
        along += float((there * update).sum())
        whole += float((update * update).sum())
    return along / whole if whole else None


def rounded(values: F32, kind: str) -> F32:
    """The values to the nearest of a type, as float32; halves go to the even one.

    >>> rounded(np.array([1.001, 1.005], np.float32), "bfloat16").tolist()
    [1.0, 1.0078125]
    """
    if kind == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if kind != "bfloat16":
        return values
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> _MANTISSA) & 1
    up = bits + np.uint32((1 << _MANTISSA - 1) - 1) + odd
    return (up & np.uint32(0xFFFF0000)).view(np.float32)


def worded(types: Mapping[str, int]) -> str:
    """Types and their layers in words, most layers first.

    >>> worded({"float32": 40}), worded({"float32": 4, "int8": 36})
    ('float32', 'int8 (36 layers), float32 (4)')
    """
    if len(types) == 1:
        return next(iter(types))
    rows = sorted(types.items(), key=lambda row: -row[1])
    return ", ".join(
        f"{name} ({count}{' layers' if not k else ''})" for k, (name, count) in enumerate(rows)
    )
