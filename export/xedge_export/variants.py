"""One exported model in several precisions, as a bundle holds them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from xedge.engines import load
from xedge.errors import ConfigError, ExportError
from xedge.types import U8
from xedge_export.contract import INPUT_NAME
from xedge_export.fp16 import to_fp16
from xedge_export.ranges import measure_ranges, overflowing, seed_exponent
from xedge_export.rounding import rounded

PRECISIONS: Final = ("fp32", "fp16")

LARGEST_GAP: Final = 0.03
"""Of a score, with every node rounded: a logit within 0.12. Engines that fuse nodes round less, and
two of them are closer to each other (xedge.golden.TOLERANCES) than this reference is to float32."""


def parse_precisions(text: str) -> tuple[str, ...]:
    """The precisions in a list with commas, each once, in the order of `PRECISIONS`.

    Raises:
        ConfigError: When one is unknown, or there is none.

    >>> parse_precisions("fp16,fp32")
    ('fp32', 'fp16')
    """
    asked = {word.strip() for word in text.split(",")}
    if not asked <= set(PRECISIONS):
        raise ConfigError(
            "there is no such precision",
            expected=f"one or more of {', '.join(PRECISIONS)}, with commas",
            found=repr(text),
        )
    return tuple(name for name in PRECISIONS if name in asked)


def half_precision(model: bytes, windows: Sequence[U8]) -> bytes:
    """An exported float32 graph in half precision, proved on windows.

    What would overflow on them stays in float32, and the label-aware seed is lifted as far as they
    leave room. The graph is then run as a device would, rounding after every node.

    Args:
        model: The ONNX file.
        windows: Planes as they come in use, uint8 ``[3, H, W]`` each, at least one.

    Raises:
        ExportError: When its scores differ from float32's by more than `LARGEST_GAP`.
    """
    graph = ir.serde.deserialize_model(onnx.load_model_from_string(model))
    ranges = measure_ranges(graph, windows)
    half = to_fp16(graph, keep=overflowing(ranges), seed_exponent=seed_exponent(graph, ranges))
    gap = _largest_gap(model, _data(rounded(half)), windows)
    if not gap <= LARGEST_GAP:  # nor is a NaN
        raise ExportError(
            "the graph in half precision answers otherwise than in float32",
            expected=f"scores within {LARGEST_GAP}",
            found=f"scores off by {gap:.2g}, with every node rounded",
            remedy="Ship fp32 alone, or keep nodes in float32 (xedge_export.fp16.to_fp16, keep=)",
        )
    return _data(half)


def _largest_gap(model: bytes, other: bytes, windows: Sequence[U8]) -> float:
    """Largest difference of the scores of two graphs, each window's in falling order."""
    with ExitStack() as stack:
        engines = [stack.enter_context(closing(load(m, "onnxruntime"))) for m in (model, other)]
        gaps = []
        for window in windows:
            a, b = (engine.run({INPUT_NAME: window[None]})["scores"] for engine in engines)
            gaps.append(float(np.abs(a - b).max()))
    return max(gaps)


def _data(model: ir.Model) -> bytes:
    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data
