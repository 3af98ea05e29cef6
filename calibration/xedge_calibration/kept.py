"""Which convolutions of a graph stay in float, and why: the precision map of INT8.

It stands beside `xedge_export.precision`, which says what half precision spares; here a rule names
convolutions only, since nothing else is computed in eight bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir
from xedge_export.precision import (
    LABEL_AWARE,
    MULTIPLY_ACCUMULATE,
    Rule,
    consumers,
    is_constant,
    normalisation,
)

FEW: Final = 4
"""Channels of an image: three planes, or DOAM's four."""
GATES: Final = frozenset({"Sigmoid", "Softmax", "Tanh", "HardSigmoid"})


def convolutions(graph: ir.Graph) -> Iterator[ir.Node]:
    """All convolutions."""
    return (node for node in graph if node.op_type == "Conv")


def first(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions that read the planes, raw or normalised, or no more channels than an image."""
    near = {v for v in graph.inputs if not v.is_initializer()}
    for node in normalisation(graph):
        near.update(node.outputs)
    for node in convolutions(graph):
        value = node.inputs[0]
        assert value is not None
        channels = value.shape[1] if value.shape is not None else None
        if value in near or (isinstance(channels, int) and channels <= FEW and not _grouped(node)):
            yield node


def runtime_weights(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions with weights that the graph computes."""
    return (n for n in convolutions(graph) if n.inputs[1] and n.inputs[1].const_value is None)


def label_aware(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions of the label-aware step, and all behind it: towers that read what it updates."""
    reached: set[ir.Node] = set()
    for node in graph:
        producers = (v.producer() for v in node.inputs if v is not None)
        if LABEL_AWARE.search(node.name or "") or any(p in reached for p in producers):
            reached.add(node)
            if node.op_type == "Conv":
                yield node


def doam(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions of DOAM: edges, its chains without activation, its gates."""
    return (n for n in convolutions(graph) if "doam" in (n.name or "").split("/")[:-1])


def predictors(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions from which an output is reached without another convolution or product."""
    open_ends: set[ir.Node] = set()
    outputs = set(graph.outputs)
    for node in reversed(graph):
        ends = any(v in outputs for v in node.outputs) or any(
            user in open_ends and user.op_type not in MULTIPLY_ACCUMULATE
            for user in consumers(node)
        )
        if ends:
            open_ends.add(node)
            if node.op_type == "Conv":
                yield node


def gates(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions whose answer a sigmoid turns into a weight of others, and those on one pixel.

    That of a SiLU weighs itself, and is none.
    """
    for node in convolutions(graph):
        value, out = node.inputs[0], node.outputs[0]
        sides = [1] if value is None or value.shape is None else list(value.shape)[2:]
        pixel = all(side == 1 for side in sides)
        if pixel or any(u.op_type in GATES and not _weighs(u, out) for u in consumers(node)):
            yield node


def energies(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convolutions whose answer is multiplied with another activation as a matrix."""
    feeds: set[ir.Node] = set()
    for node in reversed(graph):
        for user in consumers(node):
            product = user.op_type == "MatMul" and not any(is_constant(v) for v in user.inputs)
            if product or (user in feeds and user.op_type not in MULTIPLY_ACCUMULATE):
                feeds.add(node)
        if node in feeds and node.op_type == "Conv":
            yield node


def _grouped(node: ir.Node) -> bool:
    group = node.attributes.get("group")
    return group is not None and group.as_int() > 1


def _weighs(gate: ir.Node, value: ir.Value) -> bool:
    users = consumers(gate)
    return bool(users) and all(u.op_type == "Mul" and value in u.inputs for u in users)


RULES: Final[tuple[Rule, ...]] = (
    Rule("weights", "they are not known before the graph runs", runtime_weights),
    Rule("first", "so few channels cost little, and planes lose contrast", first),
    Rule("label-aware", "its update lies far below a step, until measured otherwise", label_aware),
    Rule("doam", "nothing between its convolutions stops an error", doam),
    Rule("energies", "softmax magnifies their steps", energies),
    Rule("gates", "a sigmoid magnifies their steps, and they cost little", gates),
    Rule("predictors", "near scores become ties, and boxes jump by a step", predictors),
)  # fmt: skip
