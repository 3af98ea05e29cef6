"""The precision map: which nodes of a half-precision graph stay in float32, and why.

Half precision ends at 65,504, has steps of 2^-11 relative to a number, and none below 6e-8.
Convolutions live well with that, since engines accumulate them in float32. A rule names what does
not; `kept` is their union. Rules look at how nodes hang together where that says it, and at their
names (paths of modules, see `xedge_export.passes.NameNodes`) where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

MULTIPLY_ACCUMULATE: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
REDUCTIONS: Final = frozenset(
    {"ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceProd",
     "ReduceLogSum", "ReduceLogSumExp", "GlobalAveragePool", "InstanceNormalization",
     "LayerNormalization", "LpNormalization", "MeanVarianceNormalization", "CumSum"}
)  # fmt: skip
EXPONENTIALS: Final = frozenset({"Softmax", "LogSoftmax", "Exp", "Log"})
TYPED_BY_ATTRIBUTE: Final = frozenset(
    {"Constant", "ConstantOfShape", "EyeLike", "Range", "RandomNormal", "RandomUniform"}
)
"""Operators whose output's type an attribute fixes; a cast follows them."""
ENTRY: Final = frozenset({"Cast", "Sub", "Mul", "Div", "Add"})
AFTER_SQUARE: Final = frozenset(
    {"Add", "Sub", "Clip", "Max", "Min", "Sqrt", "ReduceMean", "ReduceSum", "ReduceMax"}
)

LABEL_AWARE: Final = re.compile(r"(^|/)(label_aware|early)/")
DOAM: Final = re.compile(r"(^|/)doam/[A-Z]\w*$")


@dataclass(frozen=True)
class Rule:
    """One reason to stay in float32.

    Attributes:
        name: A word for reports.
        why: What half precision would do there.
        find: The nodes of a graph that it keeps.
    """

    name: str
    why: str
    find: Callable[[ir.Graph], Iterable[ir.Node]]


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is a weight or another constant, or absent."""
    return value is None or value.const_value is not None or value.is_initializer()


def consumers(node: ir.Node) -> list[ir.Node]:
    """The nodes that read a node's outputs."""
    return [user for value in node.outputs for user in value.consumers()]


def normalisation(graph: ir.Graph) -> Iterator[ir.Node]:
    """What lies between the planes and the first node that is not arithmetic with constants."""
    reached = {v for v in graph.inputs if not v.is_initializer()}
    for node in graph:
        varying = [v for v in node.inputs if not is_constant(v)]
        if node.op_type in ENTRY and varying and reached.issuperset(varying):
            reached.update(node.outputs)
            yield node


def by_operator(operators: frozenset[str]) -> Callable[[ir.Graph], Iterator[ir.Node]]:
    """A search for all nodes of some operators."""
    return lambda graph: (node for node in graph if node.op_type in operators)


def squares(graph: ir.Graph) -> Iterator[ir.Node]:
    """Values times themselves, and what follows up to the root or the reduction."""
    found: set[ir.Node] = set()
    for node in graph:
        square = node.op_type == "Pow" or (
            node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
        )
        follows = node.op_type in AFTER_SQUARE and any(
            v is not None and (p := v.producer()) in found and p is not None
            and p.op_type not in ("Sqrt", *REDUCTIONS)
            for v in node.inputs
        )  # fmt: skip
        if square or follows:
            found.add(node)
            yield node


def energies(graph: ir.Graph) -> Iterator[ir.Node]:
    """Products of two activations: sums over as many terms as there are channels or locations."""
    for node in graph:
        if node.op_type == "MatMul" and not any(is_constant(v) for v in node.inputs):
            yield node


def arithmetic_in(scope: re.Pattern[str]) -> Callable[[ir.Graph], Iterator[ir.Node]]:
    """A search for the nodes of a scope that are not convolutions or matrix products."""
    return lambda graph: (
        node
        for node in graph
        if scope.search(node.name or "") and node.op_type not in MULTIPLY_ACCUMULATE
    )


def decoding(graph: ir.Graph) -> Iterator[ir.Node]:
    """What lies behind the last convolution or matrix product: scores, boxes, TopK."""
    feeds: set[ir.Node] = set()
    for node in reversed(graph):
        if node.op_type in MULTIPLY_ACCUMULATE or feeds.intersection(consumers(node)):
            feeds.add(node)
        else:
            yield node


RULES: Final[tuple[Rule, ...]] = (
    Rule("normalisation", "counts minus a mean lose their last bits", normalisation),
    Rule("reductions", "a sum over a map overflows or stops growing", by_operator(REDUCTIONS)),
    Rule("squares", "above 255.9 they overflow", squares),
    Rule("exponentials", "they overflow above 11.1", by_operator(EXPONENTIALS)),
    Rule("energies", "their sums overflow, and softmax magnifies their steps", energies),
    Rule("label-aware", "its gradients and its update lie below half's steps",
         arithmetic_in(LABEL_AWARE)),
    Rule("doam", "edges reach 1442, in steps of 1 above 1024", arithmetic_in(DOAM)),
    Rule("decoding", "pixels above 1024 are whole numbers only, near scores become ties", decoding),
    Rule("typed", "an attribute fixes their type", by_operator(TYPED_BY_ATTRIBUTE)),
)  # fmt: skip


def kept(graph: ir.Graph, rules: Iterable[Rule] = RULES) -> dict[ir.Node, str]:
    """The nodes that stay in float, each with the name of the first rule that says so."""
    found: dict[ir.Node, str] = {}
    for rule in rules:
        for node in rule.find(graph):
            found.setdefault(node, rule.name)
    return found
