"""A pass that lifts the label-aware gradient into the range of half precision.

The gradient of a trained head is around 1e-4 at its end, where half precision has few bits left,
and smaller on its way. It is linear in its seed, so the seed is multiplied by 2^k and the
gradient by 2^-k: in float32 exact to the bit, since a power of two moves nothing but exponents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from xedge.errors import ExportError

DEFAULT_EXPONENT: Final = 10
MOST: Final = 16
"""A seed is at most 1/4 (the slope of a sigmoid), so 2^16 times it still fits into half."""

SCOPE: Final = "label_aware/"


def is_adjoint(node: ir.Node) -> bool:
    """Whether a node is a convolution of the gradient that `xedge_export.label_aware` wrote out."""
    scope, inside, own = (node.name or "").rpartition(SCOPE)
    adjoint = own.startswith("backward/") or own.split("_")[0] == "Conv"
    whole = scope == "" or scope.endswith("/")
    return node.op_type == "Conv" and bool(inside) and whole and adjoint


def chains(graph: ir.Graph) -> Iterator[tuple[str, list[ir.Node]]]:
    """Each gradient's scope, ``P3/label_aware/``, and its convolutions from seed to end."""
    found: dict[str, list[ir.Node]] = {}
    for node in graph:
        if is_adjoint(node):
            scope = (node.name or "").rpartition(SCOPE)[0] + SCOPE
            found.setdefault(scope, []).append(node)
    yield from found.items()


@dataclass
class ScaleSeed(ir.passes.InPlacePass):
    """Multiply each gradient's seed by 2^k, and the gradient by 2^-k.

    Requires nodes named by `NameNodes`, and one chain of convolutions a gradient. Afterwards the
    graph answers, in float32, to the bit what it answered before. A graph without the label-aware
    step is left as it is.

    Attributes:
        exponent: k, 0..16.
    """

    exponent: int

    def __post_init__(self) -> None:
        if not 0 <= self.exponent <= MOST:
            raise ExportError(
                "the label-aware seed cannot be scaled so",
                expected=f"an exponent within 0..{MOST}",
                found=str(self.exponent),
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with its gradients scaled.

        Raises:
            ExportError: When a gradient is not one chain.
        """
        graph, modified = model.graph, False
        for scope, convolutions in chains(graph):
            first, last = convolutions[0], convolutions[-1]
            if not _leads_to(first, last):
                raise ExportError(
                    f"the gradient of {scope} is not one chain of convolutions",
                    remedy="Use the version of xedge that exported the graph",
                )
            seed, end = first.inputs[0], last.outputs[0]
            assert seed is not None
            readers = list(end.uses())
            up = _times(graph, seed, 2.0**self.exponent, f"{scope}scale/Mul")
            graph.insert_before(first, up)
            first.replace_input_with(0, up.outputs[0])
            down = _times(graph, end, 2.0**-self.exponent, f"{scope}unscale/Mul")
            graph.insert_after(last, down)
            for reader, index in readers:
                reader.replace_input_with(index, down.outputs[0])
            modified = True
        return ir.passes.PassResult(model, modified=modified)


def _leads_to(first: ir.Node, last: ir.Node) -> bool:
    reached = {first}
    frontier = [first]
    while frontier:
        for node in frontier.pop().successors():
            if node not in reached:
                reached.add(node)
                frontier.append(node)
    return last in reached


def _times(graph: ir.Graph, value: ir.Value, factor: float, name: str) -> ir.Node:
    constant = ir.tensor(np.array(factor, np.float32), name=f"{name}/factor")
    by = ir.val(constant.name, ir.DataType.FLOAT, [], const_value=constant)
    graph.register_initializer(by)
    node = ir.node("Mul", [value, by])
    node.name = name
    (out,) = node.outputs
    out.name, out.dtype, out.shape = f"{name}/out", ir.DataType.FLOAT, value.shape
    return node
