"""A pass that writes eight-bit arithmetic into a graph, as QuantizeLinear and DequantizeLinear.

TensorRT 11 has no calibrator and no precision flags, so the graph states every scale. Weights are
stored as int8 with a scale for each output channel, biases stay in float: TensorRT's parser refuses
them as int32, and every engine folds them itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from xedge_export.fp16 import to_fp16
from xedge_export.seed_scale import DEFAULT_EXPONENT

from xedge.errors import CalibrationError
from xedge.types import F32
from xedge_calibration.arithmetic import Grid, quantised_weights, rounded_up, weight_scales
from xedge_calibration.histogram import Histogram
from xedge_calibration.placement import Form, Placement, place
from xedge_calibration.thresholds import threshold
from xedge_calibration.verifier import verify_form


@dataclass(frozen=True)
class Scale:
    """How a tensor is put on integers.

    Attributes:
        step: Size of a step.
        grid: Which integers.
    """

    step: float
    grid: Grid


def scales_of(
    placement: Placement, histograms: Mapping[str, Histogram], form: Form, method: str
) -> dict[str, Scale]:
    """The scale of every tensor of a placement; a group has the widest of its members' ranges.

    Args:
        placement: What is put on integers.
        histograms: Of all its tensors, from `xedge_calibration.observe`.
        form: Which way.
        method: A name of `xedge_calibration.thresholds.METHODS`.

    Raises:
        CalibrationError: When a tensor has no range.
        ConfigError: When there is no such method.
    """
    found: dict[str, Scale] = {}
    for group in placement.groups:
        members = [histograms[name] for name in group]
        signed = any(h.signed for h in members)
        grid = Grid.SIGNED if not form.unsigned else Grid.SHIFTED if signed else Grid.UNSIGNED
        end = max(threshold(h, method, grid.steps) for h in members)
        step = float(rounded_up(end / grid.steps, half=form.half))
        found |= dict.fromkeys(group, Scale(step, grid))
    return found


@dataclass
class InsertQdq(ir.passes.InPlacePass):
    """Put convolutions on integers.

    Requires types on all values, a name a node, and weights as initializers. Afterwards every
    tensor of the placement has one QuantizeLinear and one DequantizeLinear behind it, shared by
    all its readers, and every convolution of it reads int8 weights through a DequantizeLinear.

    Attributes:
        placement: What is put on integers.
        scales: Of each of its tensors.
        half: Whether scales must be float16 numbers.
    """

    placement: Placement
    scales: Mapping[str, Scale]
    half: bool = False
    _weights: dict[ir.Value, ir.Value] = field(default_factory=dict, init=False)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model on integers."""
        graph = model.graph
        self._weights.clear()
        nodes = {str(node.name): node for node in graph}
        values = {str(v.name): v for node in graph for v in node.outputs}
        for name, readers in self.placement.readers.items():
            integers = self._on_integers(graph, values[name], self.scales[name])
            for reader in readers:
                node = nodes[reader]
                for index, value in enumerate(node.inputs):
                    if value is values[name]:
                        node.replace_input_with(index, integers)
        for name in self.placement.convolutions:
            node = nodes[name]
            weight = node.inputs[1]
            assert weight is not None
            if weight not in self._weights:
                self._weights[weight] = self._weight(graph, weight, node)
            node.replace_input_with(1, self._weights[weight])
        return ir.passes.PassResult(model, modified=True)

    def _on_integers(self, graph: ir.Graph, value: ir.Value, scale: Scale) -> ir.Value:
        producer = value.producer()
        assert producer is not None
        prefix = f"{producer.name}" + (f"/{value.index()}" if value.index() else "")
        kind = ir.DataType.from_numpy(scale.grid.dtype)
        step = _initializer(graph, f"{value.name}/scale", np.array(scale.step, np.float32))
        zero = _initializer(graph, f"{value.name}/zero",
                            np.array(scale.grid.zero, scale.grid.dtype))  # fmt: skip
        down = _node("QuantizeLinear", [value, step, zero], f"{prefix}/QuantizeLinear",
                     f"{value.name}/quantised", kind, value.shape)  # fmt: skip
        up = _node("DequantizeLinear", [down.outputs[0], step, zero], f"{prefix}/DequantizeLinear",
                   f"{value.name}/restored", ir.DataType.FLOAT, value.shape)  # fmt: skip
        graph.insert_after(producer, [down, up])
        return up.outputs[0]

    def _weight(self, graph: ir.Graph, value: ir.Value, reader: ir.Node) -> ir.Value:
        assert value.const_value is not None
        weights: F32 = value.const_value.numpy()
        if not np.isfinite(weights).all():
            raise CalibrationError(
                f"the weights of {reader.name} have no range",
                expected="finite numbers",
                found=f"{np.count_nonzero(~np.isfinite(weights))} others in {value.name}",
                remedy="Train the model anew",
            )
        steps = weight_scales(weights, half=self.half)
        integers = quantised_weights(weights, steps)
        stored = _initializer(graph, f"{value.name}/int8", integers)
        scale = _initializer(graph, f"{value.name}/scale", steps)
        zero = _initializer(graph, f"{value.name}/zero", np.zeros(len(steps), np.int8))
        up = _node("DequantizeLinear", [stored, scale, zero], f"{reader.name}/weight",
                   f"{value.name}/restored", ir.DataType.FLOAT, value.shape, axis=0)  # fmt: skip
        graph.insert_before(reader, up)
        return up.outputs[0]


def to_int8(
    model: ir.Model,
    histograms: Mapping[str, Histogram],
    form: Form,
    method: str = "mse",
    *,
    keep: Collection[str] = (),
    keep_single: Collection[str] = (),
    seed_exponent: int = DEFAULT_EXPONENT,
) -> ir.Model:
    """A copy of a finished float32 graph on integers, verified.

    Args:
        model: What `xedge_export.passes.finish` gave; it is left as it is.
        histograms: Of the tensors that `place` names for this form, and maybe others.
        form: Which way.
        method: How ranges are found.
        keep: Names of convolutions that stay in float.
        keep_single: Of a half-precision form, names of nodes that stay in float32; see
            `xedge_export.fp16.to_fp16`. Convolutions among them are not put on integers either.
        seed_exponent: Of a half-precision form; see `xedge_export.fp16.to_fp16`.

    Raises:
        CalibrationError: When a tensor or a weight has no range.
        ConfigError: When ``keep`` names no convolution, or the method is none.
        GraphRefused: When some target lacks a node of the result.
    """
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    names = {str(n.name) for n in copy.graph if n.op_type == "Conv"}
    floats = {*keep, *(names & set(keep_single))} if form.half else set(keep)
    placement = place(copy.graph, form, floats)
    scales = scales_of(placement, histograms, form, method)
    InsertQdq(placement, scales, form.half)(copy)
    RemoveUnusedNodesPass()(copy)
    if form.half:
        copy = to_fp16(copy, keep=keep_single, seed_exponent=seed_exponent)
    verify_form(copy, form)
    return copy


def _initializer(graph: ir.Graph, name: str, numbers: npt.NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(numbers, name=name)
    made = ir.val(name, tensor.dtype, list(numbers.shape), const_value=tensor)
    graph.register_initializer(made)
    return made


def _node(
    operator: str,
    inputs: list[ir.Value],
    name: str,
    output: str,
    kind: ir.DataType,
    shape: ir.Shape | None,
    **attributes: int,
) -> ir.Node:
    node = ir.node(operator, inputs, attributes)
    node.name = name
    (out,) = node.outputs
    out.name, out.dtype, out.shape = output, kind, shape
    return node
