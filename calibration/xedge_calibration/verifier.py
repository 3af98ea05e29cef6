"""What a graph on integers must obey beside the contract of every graph, form by form.

The rules are those of TensorRT's parser, and of the kernels that ONNX Runtime and OpenVINO have:
a graph that breaks one runs in float, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from xedge_export.verifier import breaches

from xedge.errors import GraphRefused
from xedge_calibration.arithmetic import LEAST_HALF, LEAST_SCALE
from xedge_calibration.placement import BETWEEN, Form, closes

INTEGERS = ("QuantizeLinear", "DequantizeLinear")

FormRule = Callable[[ir.Model, Form], Iterator[str]]


def constants(model: ir.Model, form: Form) -> Iterator[str]:
    """Scales and zeros that are constant, finite and normal in their type."""
    least = LEAST_HALF if form.half else LEAST_SCALE
    for node in _pairs(model):
        scale, zero = _constant(node, 1), _constant(node, 2)
        if scale is None or zero is None:
            yield f"{node.name} has a scale or zero that is not constant"
        elif not np.isfinite(scale).all() or (scale.astype(np.float64) < least).any():
            yield f"{node.name} has a scale of {scale.min():g}, below {least:g}"


def types(model: ir.Model, form: Form) -> Iterator[str]:
    """Integers of the form's type, signed ones with zero at 0; scales in the type of the floats."""
    for node in _pairs(model):
        down = node.op_type == "QuantizeLinear"
        float_side = node.inputs[0] if down else node.outputs[0]
        integers = node.outputs[0] if down else node.inputs[0]
        scale, zero = node.inputs[1], _constant(node, 2)
        if integers is None or float_side is None or scale is None:
            yield f"{node.name} is incomplete"
            continue
        weight = not down and integers.const_value is not None
        unsigned = form.unsigned and not weight
        wanted = ir.DataType.UINT8 if unsigned else ir.DataType.INT8
        if integers.dtype is not wanted:
            yield f"{node.name} has integers of {integers.dtype}, not {wanted}"
        if not unsigned and zero is not None and zero.any():
            yield f"{node.name} has its zero at {zero.ravel()[0]}, which no TensorRT takes"
        if scale.dtype is not float_side.dtype:
            yield f"{node.name} has a scale of {scale.dtype} beside {float_side.dtype}"


def pairs(model: ir.Model, form: Form) -> Iterator[str]:
    """Integers that only the DequantizeLinear behind them reads, and one pair a tensor."""
    for node in model.graph:
        if node.op_type != "QuantizeLinear":
            continue
        readers = [user.op_type for user in node.outputs[0].consumers()]
        if readers != ["DequantizeLinear"]:
            yield f"{node.name} is read by {', '.join(readers) or 'nothing'}"
        value = node.inputs[0]
        others = [u for u in value.consumers() if u.op_type == node.op_type] if value else []
        if len(others) > 1:
            yield f"{node.name} is one of {len(others)} for the same tensor"


def readers(model: ir.Model, form: Form) -> Iterator[str]:
    """Readers that an engine computes on integers: convolutions, sums, and what is between.

    In a form whose convolutions give integers, whoever reads those of a convolution is allowed.
    """
    allowed = {"Conv", "Add", *(BETWEEN if form.between else ())}
    for node in model.graph:
        if node.op_type == "DequantizeLinear" and not (form.between and closes(node)):
            for user in node.outputs[0].consumers():
                if user.op_type not in allowed:
                    yield f"{user.name} ({user.op_type}) reads integers"


def convolutions(model: ir.Model, form: Form) -> Iterator[str]:
    """Convolutions with both sides on integers or none, weights by channel, biases in float."""
    found = False
    for node in model.graph:
        if node.op_type != "Conv":
            continue
        made = [v.producer() if v is not None else None for v in node.inputs]
        sides = [p is not None and p.op_type == "DequantizeLinear" for p in made]
        if sides[0] != sides[1]:
            yield f"{node.name} has one side on integers"
        if len(sides) > 2 and sides[2]:
            yield f"{node.name} has its bias on integers, which no TensorRT parses"
        source = made[1]
        if sides[1] and source is not None:
            found = True
            if not _by_channel(source):
                yield f"{node.name} has weights without a scale for each channel"
    if not found:
        yield "no convolution is on integers"


RULES: tuple[FormRule, ...] = (constants, types, pairs, readers, convolutions)


def form_breaches(model: ir.Model, form: Form) -> list[str]:
    """All that is wrong with a graph on integers, a sentence each."""
    return breaches(model) + [text for rule in RULES for text in rule(model, form)]


def verify_form(model: ir.Model, form: Form) -> None:
    """Return nothing when the targets of a form take the graph.

    Raises:
        GraphRefused: Naming every rule that is broken, and the node.
    """
    if found := form_breaches(model, form):
        raise GraphRefused(
            f"the graph cannot run as {form.variant}",
            expected="what its engines compute on integers",
            found="; ".join(found),
            remedy="Keep these nodes in float, or calibrate again",
        )


def _by_channel(weights: ir.Node) -> bool:
    axis, scale, integers = weights.attributes.get("axis"), _constant(weights, 1), weights.inputs[0]
    if axis is None or scale is None or integers is None or integers.shape is None:
        return False
    return axis.as_int() == 0 and scale.shape == (integers.shape[0],)


def _pairs(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph if node.op_type in INTEGERS)


def _constant(node: ir.Node, index: int) -> npt.NDArray[Any] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None:
        return None
    numbers: npt.NDArray[Any] = value.const_value.numpy()
    return numbers
