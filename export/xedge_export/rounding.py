"""What a device with half precision would answer: a float32 graph that rounds after every node.

CPUs run a float16 graph in float32 and round only at its casts, so an overflow or a lost gradient
does not show on them. `rounded` writes the rounding into the graph: every number that the
float16 graph holds in half precision is put into half precision and back. Within a node the
arithmetic stays float32, as tensor cores accumulate. An engine that fuses nodes rounds less.
"""

from __future__ import annotations

import onnx_ir as ir

from xedge.errors import ExportError
from xedge_export.fp16 import FOLLOWERS, HALF, SINGLE

FORMATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def rounded(model: ir.Model, to: ir.DataType = HALF) -> ir.Model:
    """A float32 graph with the answers of a half-precision one whose every node rounds.

    Args:
        model: What `xedge_export.fp16.to_fp16` gave; it is left as it is.
        to: The format to round to: float16, or bfloat16 to see what that would do to the same
            nodes.

    Raises:
        ExportError: When nothing in the graph is in half precision, or ``to`` is another format.
    """
    if to not in FORMATS:
        raise ExportError("there is no rounding to this format",
                          expected=" or ".join(f.name for f in FORMATS), found=to.name)  # fmt: skip
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    graph = copy.graph
    for value in list(graph.initializers.values()):
        if value.dtype is HALF:
            _widen(value, to)
    found = False
    for node in list(graph):
        for value in node.outputs:
            if value.dtype is not HALF:
                continue
            found = True
            value.dtype = SINGLE
            if node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", SINGLE.value)
            if node.op_type not in FOLLOWERS:
                _round_after(graph, node, value, to)
    if not found:
        raise ExportError(
            "the graph has nothing to round",
            expected="a graph in half precision",
            remedy="Give it to xedge_export.fp16.to_fp16 first",
        )
    return copy


def _widen(value: ir.Value, to: ir.DataType) -> None:
    assert value.const_value is not None
    numbers = value.const_value.numpy().astype(to.numpy()).astype(SINGLE.numpy())
    value.const_value = ir.tensor(numbers, name=value.name)
    value.dtype = SINGLE


def _round_after(graph: ir.Graph, node: ir.Node, value: ir.Value, to: ir.DataType) -> None:
    readers = list(value.uses())
    down = ir.node("Cast", [value], {"to": to.value})
    up = ir.node("Cast", [down.outputs[0]], {"to": SINGLE.value})
    for cast, kind, name in ((down, to, "rounded"), (up, SINGLE, "widened")):
        cast.name = f"{node.name}/{name}" + (f"_{value.index()}" if value.index() else "")
        (out,) = cast.outputs
        out.name, out.dtype, out.shape = f"{value.name}/{name}", kind, value.shape
    graph.insert_after(node, [down, up])
    for reader, index in readers:
        reader.replace_input_with(index, up.outputs[0])
