"""How large and how small the numbers of a graph get on real inputs, node by node.

The float32 graph is run with a few statistics behind every node, so an overflow that half
precision would hide behind an infinity further down is named where it begins.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from xedge.engines import load
from xedge.errors import ExportError
from xedge.types import F32, U8
from xedge_export.fp16 import LARGEST, SINGLE
from xedge_export.seed_scale import DEFAULT_EXPONENT, MOST, chains

SMALLEST: Final = 2.0**-24
"""Half precision's smallest number; half of it and less rounds to zero."""
NORMAL: Final = 2.0**-14
"""Below it half precision loses bits."""
HEADROOM: Final = 4.0
"""How far beyond what was seen a node must be able to go."""

_OUTPUT: Final = "ranges"
_STATISTICS: Final = f"""
<opset_import: ["" : 20], domain: "xedge">
statistics (x) => (row) {{
    size = Abs (x)
    largest = ReduceMax <keepdims = 0> (size)
    zero = Constant <value = float {{0.0}}> ()
    half_step = Constant <value = float {{{SMALLEST / 2}}}> ()
    normal = Constant <value = float {{{NORMAL}}}> ()
    is_zero = Equal (size, zero)
    is_lost = LessOrEqual (size, half_step)
    is_short = Less (size, normal)
    zeros_each = Cast <to = 1> (is_zero)
    lost_each = Cast <to = 1> (is_lost)
    short_each = Cast <to = 1> (is_short)
    zeros = ReduceSum <keepdims = 0> (zeros_each)
    lost = ReduceSum <keepdims = 0> (lost_each)
    short = ReduceSum <keepdims = 0> (short_each)
    flat = Constant <value_ints = [1, 1]> ()
    a = Reshape (largest, flat)
    b = Reshape (zeros, flat)
    c = Reshape (lost, flat)
    d = Reshape (short, flat)
    row = Concat <axis = 1> (a, b, c, d)
}}
"""


@dataclass(frozen=True)
class Range:
    """What a node's output held, over all windows.

    Attributes:
        node: Name of the node.
        operator: Its operator.
        largest: Largest absolute number.
        lost: Share of the numbers other than zero that half precision rounds to zero.
        short: Share of those that lie below its normal numbers, the lost ones included.
    """

    node: str
    operator: str
    largest: float
    lost: float
    short: float


def measure_ranges(model: ir.Model, windows: Iterable[U8]) -> list[Range]:
    """The range of every node with a float output, in the order of the graph.

    Args:
        model: A finished float32 graph with one input of planes; it is left as it is.
        windows: Planes, uint8 ``[3, H, W]`` each, as they come in use: real or simulated bags.

    Raises:
        ExportError: When there is no window, or a number of the graph is not finite on one.
    """
    nodes = [n for n in model.graph if n.outputs and n.outputs[0].dtype is SINGLE]
    (planes,) = (v for v in model.graph.inputs if not v.is_initializer())
    engine = load(_with_statistics(model, nodes), "onnxruntime")
    seen: list[F32] = []
    try:
        for window in windows:
            seen.append(engine.run({str(planes.name): window[None]})[_OUTPUT])
            if bad := np.flatnonzero(~np.isfinite(seen[-1][:, 0])).tolist():
                raise ExportError(
                    "a number of the float32 graph is not finite",
                    found=f"{seen[-1][bad[0], 0]:g} at {nodes[bad[0]].name}",
                    remedy="Look at the weights: the training may have diverged",
                )
    finally:
        engine.close()
    if not seen:
        raise ExportError("there is no window to measure ranges on", remedy="Give at least one")
    table = np.stack(seen)
    largest = table[..., 0].max(0)
    zero, lost, short = table[..., 1:].astype(np.float64).sum(0).T
    sizes = [math.prod(n.outputs[0].shape or ()) * len(seen) for n in nodes]
    return [
        Range(n.name or "", n.op_type, float(peak),
              float((lo - z) / max(size - z, 1)), float((sh - z) / max(size - z, 1)))
        for n, peak, z, lo, sh, size in zip(nodes, largest, zero, lost, short, sizes, strict=True)
    ]  # fmt: skip


def overflowing(ranges: Iterable[Range], headroom: float = HEADROOM) -> list[str]:
    """Names of the nodes that would overflow, were their numbers ``headroom`` times as large."""
    return [r.node for r in ranges if r.largest * headroom > LARGEST]


def vanishing(ranges: Iterable[Range], share: float = 0.5) -> list[str]:
    """Names of the nodes of whose numbers more than ``share`` would be rounded to zero."""
    return [r.node for r in ranges if r.lost > share]


def seed_exponent(model: ir.Model, ranges: Collection[Range]) -> int:
    """The exponent for `ScaleSeed`: as large as the gradient seen has room for, at most 13.

    Args:
        model: The graph that was measured.
        ranges: Of `measure_ranges`.
    """
    gradients = list(chains(model.graph))
    convolutions = {n.name for _, chain in gradients for n in chain}
    inside = tuple(f"{scope}backward/" for scope, _ in gradients)
    peaks = [r.largest for r in ranges if r.node in convolutions or r.node.startswith(inside)]
    peaks = [peak for peak in peaks if peak]
    if not peaks:
        return DEFAULT_EXPONENT
    room = math.floor(math.log2(LARGEST / HEADROOM / max(peaks)))
    return min(max(room, 0), MOST - 3)


def _with_statistics(model: ir.Model, nodes: list[ir.Node]) -> bytes:
    """The model with one output, float32 ``[nodes, 4]``: largest, numbers of zeros, lost, short."""
    proto = ir.serde.serialize_model(model)
    del proto.graph.output[:]
    proto.functions.append(onnx.parser.parse_function(_STATISTICS))
    proto.opset_import.append(onnx.helper.make_opsetid("xedge", 1))
    rows = [f"{_OUTPUT}/{k}" for k in range(len(nodes))]
    for node, row in zip(nodes, rows, strict=True):
        inputs = [str(node.outputs[0].name)]
        proto.graph.node.append(onnx.helper.make_node("statistics", inputs, [row], domain="xedge"))
    proto.graph.node.append(onnx.helper.make_node("Concat", rows, [_OUTPUT], axis=0))
    kind = onnx.TensorProto.FLOAT
    proto.graph.output.append(onnx.helper.make_tensor_value_info(_OUTPUT, kind, [len(nodes), 4]))
    data: bytes = proto.SerializeToString()
    return data
