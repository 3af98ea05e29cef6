"""What the tensors of a graph hold on a calibration set, as histograms.

ONNX Runtime runs the float32 graph with the tensors as outputs beside its own; a window is counted
before the next one runs, so memory does not grow with the set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import onnx
import onnx_ir as ir

from xedge.engines import load
from xedge.errors import CalibrationError, ConfigError
from xedge.types import U8
from xedge_calibration.histogram import Histogram


def observe(
    model: ir.Model,
    tensors: Collection[str],
    windows: Iterable[U8],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Histogram]:
    """A histogram of each tensor over all windows, in the order of ``tensors``.

    Args:
        model: A finished float32 graph with one input of planes; it is left as it is.
        tensors: Names of float32 values of the graph.
        windows: Planes as they come in use, uint8 ``[3, H, W]`` each.
        advance: Called after each window.

    Raises:
        CalibrationError: When there is no window, or a number is not finite on one.
        ConfigError: When the graph has no such tensor.
    """
    known = {v.name: v for node in model.graph for v in node.outputs}
    if unknown := [name for name in tensors if name not in known]:
        raise ConfigError("the graph has no such tensors", found=", ".join(unknown))
    (planes,) = (v for v in model.graph.inputs if not v.is_initializer())
    found = {name: Histogram(name) for name in tensors}
    engine = load(_with_outputs(model, tensors), "onnxruntime")
    seen = 0
    try:
        for window in windows:
            answer = engine.run({str(planes.name): window[None]})
            for name, histogram in found.items():
                histogram.add(answer[name])
            seen += 1
            advance()
    finally:
        engine.close()
    if not seen:
        raise CalibrationError(
            "there is no window to calibrate on",
            expected="one or more, better some hundred",
            found="an empty set",
            remedy="Give simulated bags or a data set",
        )
    return found


def _with_outputs(model: ir.Model, tensors: Collection[str]) -> bytes:
    """The model with these values as its outputs, and no others."""
    proto = ir.serde.serialize_model(model)
    shapes = {
        v.name: [int(side) for side in v.shape or () if isinstance(side, int)]
        for node in model.graph
        for v in node.outputs
    }
    del proto.graph.output[:]
    for name in tensors:
        kind = onnx.TensorProto.FLOAT
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shapes[name]))
    data: bytes = proto.SerializeToString()
    return data
