"""What a graph has to do at least, counted, and what share of a machine's peak a time for it is.

Operations are the multiplications and additions of convolutions and matrix products, two for each
pair. Bytes are what those operators read and write when each operand goes through memory once:
everything between them is taken for fused, and what stays in a cache is counted still. So the share
of the bandwidth can exceed what memory really saw, and may be above 1 for a network that fits in a
cache.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

_MATRIX: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_TYPES: Final[Mapping[int, tuple[str, int]]] = {
    1: ("float32", 4), 10: ("float16", 2), 11: ("float64", 8), 16: ("bfloat16", 2),
}  # fmt: skip
"""`TensorProto.DataType` to its name and bytes."""
INT8: Final = "int8"

Shapes = Mapping[str, tuple[int, tuple[int, ...]]]
"""Tensor to its element type and shape."""


@dataclass(frozen=True)
class Work:
    """What one run of a graph does.

    Attributes:
        operations: Arithmetic to operations: ``int8`` where both operands are dequantised there.
        bytes: What its convolutions and matrix products read and write.
    """

    operations: Mapping[str, int]
    bytes: int

    def in_arithmetic(self, name: str) -> Work:
        """The same work where an engine lowers all floating point to one arithmetic."""
        floats = sum(count for kind, count in self.operations.items() if kind != INT8)
        whole = {INT8: self.operations[INT8]} if INT8 in self.operations else {}
        return Work(whole | ({name: floats} if floats else {}), self.bytes)


@dataclass(frozen=True)
class Peak:
    """What a machine reaches at most, as measured.

    Attributes:
        operations_s: Arithmetic to operations a second.
        bytes_s: Bytes a second through memory; None where it was not measured.
    """

    operations_s: Mapping[str, float]
    bytes_s: float | None


@dataclass(frozen=True)
class Share:
    """How much of a peak was reached; None where the peak was not measured.

    Attributes:
        arithmetic: The least time for the operations, over the time that was taken.
        bandwidth: The least time for the bytes, over it.
    """

    arithmetic: float | None
    bandwidth: float | None


def share(work: Work, seconds: float, peak: Peak) -> Share:
    """What share of a peak it is to do some work in a time.

    >>> share(Work({"int8": 50, "float32": 50}, 30), 2.0, Peak({"int8": 100, "float32": 50}, 60))
    Share(arithmetic=0.75, bandwidth=0.25)
    """
    known = all(kind in peak.operations_s for kind in work.operations)
    least = sum(count / peak.operations_s[kind] for kind, count in work.operations.items()
                ) if known else None  # fmt: skip
    return Share(
        None if least is None else least / seconds,
        None if peak.bytes_s is None else work.bytes / peak.bytes_s / seconds,
    )


def work_of(model: bytes) -> Work | None:
    """What a graph does; None where a shape in it is not fixed.

    Args:
        model: The ONNX file.

    Raises:
        ModuleNotFoundError: Without the package onnx (extra ``export``).
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(
        onnx.load_model_from_string(model), data_prop=True
    ).graph
    shapes = _shapes(inferred)
    dequantised = {
        output for node in inferred.node if node.op_type == "DequantizeLinear"
        for output in node.output
    }  # fmt: skip
    operations: Counter[str] = Counter()
    moved = 0
    for node in inferred.node:
        if node.op_type not in _MATRIX:
            continue
        operands = [node.input[0], node.input[1], node.output[0]]
        if any(name not in shapes for name in operands):
            return None
        kind, size = _TYPES.get(shapes[operands[0]][0], ("other", 4))
        if set(operands[:2]) <= dequantised:
            kind, size = INT8, 1
        operations[kind] += 2 * _products(node, [shapes[name][1] for name in operands])
        moved += size * sum(math.prod(shapes[name][1]) for name in operands)
    return Work(dict(operations), moved)


def _shapes(graph: onnx.GraphProto) -> Shapes:
    found = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in kind.shape.dim):
            found[value.name] = (kind.elem_type, tuple(side.dim_value for side in kind.shape.dim))
    for node in graph.node:  # weights may be constants in the graph
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            found[node.output[0]] = (tensor.data_type, tuple(tensor.dims))
    return found


def _products(node: onnx.NodeProto, shapes: list[tuple[int, ...]]) -> int:
    """Pairs of a multiplication and an addition."""
    first, second, output = shapes
    if node.op_type == "Conv":  # weights [out, in / groups, ...]
        return math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":  # weights [in, out / groups, ...]
        return math.prod(first) * math.prod(second[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(output) * first[0 if transposed else -1]
