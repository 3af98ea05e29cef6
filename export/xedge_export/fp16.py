"""Half precision: a float32 graph with its weights and activations in float16, casts at borders.

TensorRT 11 and TensorRT-RTX have no switch for a precision, they take the types that the graph
states. What stays in float32 is `xedge_export.precision`; the label-aware gradient is scaled by
`xedge_export.seed_scale` first. Inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import (
    DeduplicateInitializersPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

from xedge.errors import ExportError
from xedge_export.precision import kept
from xedge_export.seed_scale import DEFAULT_EXPONENT, ScaleSeed
from xedge_export.verifier import verify

HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
LARGEST: Final = 65504.0

FOLLOWERS: Final = frozenset(
    {"Reshape", "Transpose", "Slice", "Concat", "Squeeze", "Unsqueeze", "Expand", "Identity",
     "Flatten", "Split", "Gather", "GatherElements", "Pad", "Tile"}
)  # fmt: skip
"""Operators that only move numbers: they take the type of what they move."""

FLOAT32_INPUTS: Final = {"Resize": (1, 2)}
"""Inputs that ONNX wants as they are: a Resize's region and scales."""


@dataclass
class ToHalf(ir.passes.InPlacePass):
    """Put a float32 graph into half precision.

    Requires types on all values, no subgraphs, and a name a node. Afterwards every float value
    is float16 or float32, what a node reads is of one type, and between two types stands exactly
    one cast, shared by all who read across that border. Inputs and outputs have the types that
    they had.

    Attributes:
        single: Nodes that stay in float32.
    """

    single: Collection[ir.Node]
    _made: dict[tuple[ir.Value, ir.DataType], ir.Value] = field(default_factory=dict, init=False)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model in half precision.

        Raises:
            ExportError: When a value has no type, or a weight does not fit into half precision.
        """
        graph, outputs = model.graph, set(model.graph.outputs)
        self._made.clear()
        for node in list(graph):
            wanted = SINGLE if self._stays(node) else HALF
            as_is = FLOAT32_INPUTS.get(node.op_type, ())
            for index, value in enumerate(node.inputs):
                if value is None or index in as_is:
                    continue
                if value.dtype is None:
                    raise ExportError(f"a value that {node.name} reads has no type",
                                      found=repr(value.name))  # fmt: skip
                if value.dtype in (HALF, SINGLE) and value.dtype is not wanted:
                    node.replace_input_with(index, self._cast(graph, value, wanted, node))
            if wanted is HALF:
                for value in node.outputs:
                    if value.dtype is SINGLE:
                        value.dtype = HALF
                if node.op_type == "Cast" and node.attributes["to"].as_int() == SINGLE.value:
                    node.attributes["to"] = ir.AttrInt64("to", HALF.value)
        for index, value in enumerate(graph.outputs):
            if value.dtype is HALF and value in outputs:
                graph.outputs[index] = self._output(graph, value)
        return ir.passes.PassResult(model, modified=True)

    def _stays(self, node: ir.Node) -> bool:
        if node in self.single:
            return True
        if node.op_type not in FOLLOWERS:
            return False
        floats = [v.dtype for v in node.inputs if v is not None and not v.is_initializer()
                  and v.dtype in (HALF, SINGLE)]  # fmt: skip
        return bool(floats) and HALF not in floats

    def _cast(self, graph: ir.Graph, value: ir.Value, to: ir.DataType, reader: ir.Node) -> ir.Value:
        key = (value, to)
        if key not in self._made:
            if value.const_value is not None:
                self._made[key] = _constant(graph, value, to, reader)
            else:
                self._made[key] = _after(graph, value, to)
        return self._made[key]

    def _output(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        """A float32 value of the name of a half one, which gets another."""
        name, value.name = value.name, f"{value.name}/half"
        cast = self._made.get((value, SINGLE)) or _after(graph, value, SINGLE)
        cast.name = name
        return cast


def _after(graph: ir.Graph, value: ir.Value, to: ir.DataType) -> ir.Value:
    """The value cast right behind its producer."""
    cast = ir.node("Cast", [value], {"to": to.value})
    producer = value.producer()
    (out,) = cast.outputs
    out.dtype, out.shape = to, value.shape
    out.name = f"{value.name}/{to.name.lower()}"
    source = value.name if producer is None else producer.name
    index = 0 if producer is None else value.index() or 0
    cast.name = f"{source}/{to.name.lower()}" + (f"_{index}" if index else "")
    if producer is None:
        graph.insert_before(graph.node(0), cast)
    else:
        graph.insert_after(producer, cast)
    return out


def _constant(graph: ir.Graph, value: ir.Value, to: ir.DataType, reader: ir.Node) -> ir.Value:
    assert value.const_value is not None
    numbers = value.const_value.numpy()
    if not (np.abs(numbers) <= LARGEST).all():  # a NaN is not, either
        raise ExportError(
            f"a weight of {reader.name} does not fit into half precision",
            expected=f"numbers within {LARGEST:.0f}",
            found=f"{value.name} with {np.abs(numbers).max():g}",
            remedy="Keep this node in float32 (keep=), or train it with weight decay",
        )
    name = f"{value.name}/{to.name.lower()}"
    tensor = ir.tensor(numbers.astype(to.numpy()), name=name)
    made = ir.val(name, to, list(numbers.shape), const_value=tensor)
    graph.register_initializer(made)
    return made


def to_fp16(
    model: ir.Model, *, keep: Collection[str] = (), seed_exponent: int = DEFAULT_EXPONENT
) -> ir.Model:
    """A copy of a finished float32 graph in half precision, verified.

    Args:
        model: What `xedge_export.passes.finish` gave; it is left as it is.
        keep: Names of nodes that stay in float32 beside those of the precision map, as
            `xedge_export.ranges` finds them.
        seed_exponent: k of `ScaleSeed`; of no use without the label-aware step.

    Raises:
        ExportError: When `keep` names no node, a weight does not fit, or the graph is in half
            precision already.
        GraphRefused: When some target lacks a node of the result.
    """
    half = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(half)
    known = {node.name: node for node in half.graph}
    if unknown := set(keep) - set(known):
        raise ExportError(
            "there are no such nodes to keep in float32",
            found=", ".join(sorted(unknown)),
            remedy="Take the names from the graph",
        )
    if any(v.dtype is HALF for node in half.graph for v in node.outputs):
        raise ExportError("the graph is in half precision already", expected="a float32 graph")
    ScaleSeed(seed_exponent)(half)
    single = {*kept(half.graph), *(known[name] for name in keep)}
    # One by one: a sequence of passes would wrap their errors in its own.
    ToHalf(single)(half)
    RemoveUnusedNodesPass()(half)
    DeduplicateInitializersPass(size_limit=1 << 26)(half)
    verify(half)
    return half
