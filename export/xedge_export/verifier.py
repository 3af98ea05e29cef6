"""What every target takes: the contract of a graph, checked node by node.

The rules are the intersection of ONNX Runtime, OpenVINO, TensorRT 10.3 to 11.4 and TensorRT-RTX;
each says which of them it is for. A graph that breaks one is refused, and the node is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from xedge.errors import GraphRefused
from xedge.spec import METADATA_KEY, ModelSpec
from xedge_export.contract import OUTPUTS

OPSET = 20
MAX_IR_VERSION = 10
MAX_CANDIDATES = 1000
"""The contract's K; TensorRT's own limit is 3840."""

FORBIDDEN = {
    "NonMaxSuppression": "TensorRT-RTX has no runner for it; suppression stays outside the graph",
    "NonZero": "TensorRT-RTX lacks it; its output has no fixed size",
    "GroupNormalization": "its scale means something else before TensorRT 10.9",
    "BatchNormalization": "it must be folded into the convolution before it",
    "Loop": "the graph must be static",
    "If": "the graph must be static",
    "Scan": "the graph must be static",
    "GridSample": "OpenVINO and TensorRT differ on it at the borders",
    "MaxUnpool": "no TensorRT parses it",
}

Rule = Callable[[ir.Model], Iterator[str]]


def _label(node: ir.Node) -> str:
    return f"{node.name or '(no name)'} ({node.op_type})"


def versions(model: ir.Model) -> Iterator[str]:
    """Opset and IR version that TensorRT 10.3's parser reads, and nothing but standard ops."""
    found = model.graph.opset_imports.get("")
    if found != OPSET:
        yield f"the opset is {found}, not {OPSET}"
    if model.ir_version > MAX_IR_VERSION:
        yield f"the IR version is {model.ir_version}, above {MAX_IR_VERSION}"
    for node in model.graph:
        if node.domain not in ("", "ai.onnx"):
            yield f"{_label(node)} is not an ONNX operator (domain {node.domain!r})"


def operators(model: ir.Model) -> Iterator[str]:
    """Operators that some target lacks."""
    for node in model.graph:
        if node.op_type in FORBIDDEN:
            yield f"{_label(node)}: {FORBIDDEN[node.op_type]}"
        reduction = node.attributes.get("reduction")
        if node.op_type.startswith("Scatter") and reduction and reduction.as_string() != "none":
            yield f"{_label(node)} scatters with a reduction, which TensorRT-RTX lacks"
        if node.op_type == "MaxPool" and len(node.outputs) > 1 and node.outputs[1].uses():
            yield f"{_label(node)} returns indices, which no TensorRT parses"


def candidates(model: ir.Model) -> Iterator[str]:
    """TopK with a constant K within the contract."""
    for node in model.graph:
        if node.op_type != "TopK":
            continue
        k = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] else None
        if k is None:
            yield f"{_label(node)} has a K that is not a constant"
        elif int(k.numpy().item()) > MAX_CANDIDATES:
            yield f"{_label(node)} keeps {int(k.numpy().item())} rows, above {MAX_CANDIDATES}"


def interface(model: ir.Model) -> Iterator[str]:
    """One uint8 input; static shapes; outputs that are float32 or int32."""
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    if [v.dtype for v in inputs] != [ir.DataType.UINT8]:
        yield f"the inputs are {[str(v.dtype) for v in inputs]}, not one of uint8"
    for value in (*inputs, *model.graph.outputs):
        shape = value.shape
        if shape is None or not shape.is_static():
            yield f"{value.name} has no static shape: {shape}"
    for value in model.graph.outputs:
        if value.dtype not in (ir.DataType.FLOAT, ir.DataType.INT32):
            yield f"output {value.name} is {value.dtype}; TensorRT 10.3 wants float32 or int32"


def outputs(model: ir.Model) -> Iterator[str]:
    """The outputs that a model of its kind gives, where the graph says what it is."""
    text = model.metadata_props.get(METADATA_KEY)
    if text is None:
        return
    kind = ModelSpec.from_json(text).kind
    found = tuple(value.name for value in model.graph.outputs)
    if found != OUTPUTS[kind]:
        yield f"the outputs of a {kind.value} are {found}, not {OUTPUTS[kind]}"


def names(model: ir.Model) -> Iterator[str]:
    """Every node has a name of its own, so that errors, profiles and kept-lists can point at it."""
    seen: set[str] = set()
    for node in model.graph:
        if not node.name or node.name in seen:
            yield f"{_label(node)} has no name of its own"
        seen.add(node.name or "")


RULES: tuple[Rule, ...] = (versions, operators, candidates, interface, outputs, names)


def breaches(model: ir.Model) -> list[str]:
    """All that is wrong with a graph, a sentence each; empty for one that every target takes."""
    return [text for rule in RULES for text in rule(model)]


def verify(model: ir.Model) -> None:
    """Return nothing when every target takes the graph.

    Raises:
        GraphRefused: Naming every rule that is broken, and the node.
    """
    found = breaches(model)
    if found:
        raise GraphRefused(
            "the graph cannot run on every engine",
            expected="what ONNX Runtime, OpenVINO and TensorRT 10.3 to 11.4 all take",
            found="; ".join(found),
            remedy="Lower these nodes to others in the model, or add a pass",
        )
