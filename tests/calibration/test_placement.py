"""Placement: what is put on integers, who reads it, and what stays in float for which reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from xedge_calibration.kept import RULES
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_export.precision import kept

from xedge.engines.onnxruntime import OnnxRuntimeEngine
from xedge.errors import CalibrationError, ConfigError


def test_signed_integers_stand_before_convolutions_and_in_sums(net: Any) -> None:
    placement = place(net.model().graph, FORMS["int8"])
    assert placement.convolutions == ("b", "c", "d", "e", "f", "g", "h", "i")
    assert placement.floats == {"a": "first", "j": "gates"}
    assert placement.readers == {
        "p": ("b", "c_sum"),  # the shortcut of a residual block, with the scale of its convolution
        "b_relu": ("c",),
        "c_relu": ("d", "h"),
        "d_relu": ("e",),
        "q": ("f",),
        "f": ("e_sum",),  # of two convolutions that are added, one keeps its sum in float
        "e_relu": ("g",),
        "h_sum": ("i",),
    }
    assert all(len(group) == 1 for group in placement.groups)


def test_unsigned_integers_stand_between_convolutions_too(net: Any) -> None:
    placement = place(net.model().graph, FORMS["int8-u8s8"])
    readers = placement.readers
    assert readers["c"] == readers["p"][1:] == ("c_sum",)
    assert readers["e"] == readers["f"] == ("e_sum",)
    assert readers["g"] == ("g_up",)
    assert readers["g_up"] == readers["h"] == ("h_sum",)
    assert readers["c_relu"] == ("d", "q", "h")
    # The pool reads what a float convolution gave, so it stays in float.
    assert "a_relu" not in readers
    assert [group for group in placement.groups if len(group) > 1] == [("g", "g_up")]


NORMALISED = """
<ir_version: 10, opset_import: ["" : 20]>
net (uint8[1, 8, 4, 4] planes) => (float[1, 8, 4, 4] y)
<float[8, 8, 3, 3] v, float[8, 8, 3, 3] w, float[8] one, float[8] none>
{
    x = Cast <to = 1> (planes)
    a = Conv <pads = [1, 1, 1, 1]> (x, v)
    x1 = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (x1, w)
    n = InstanceNormalization (b, one, none)
    x2 = Relu (n)
    c = Conv <pads = [1, 1, 1, 1]> (x2, w)
    x3 = Relu (c)
    half = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x3)
    y = Sqrt (half)
}
"""


def normalised() -> ir.Model:
    model = onnx.parser.parse_model(NORMALISED)
    random = np.random.default_rng(0)
    del model.graph.initializer[:]
    for name in "vw":
        weights = random.normal(size=(8, 8, 3, 3)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    for name, number in (("one", 1), ("none", 0)):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.full(8, number, np.float32), name)
        )
    model = onnx.shape_inference.infer_shapes(model)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    return ir.serde.deserialize_model(model)


def test_what_a_normalisation_reads_is_on_integers_for_onnxruntime_alone() -> None:
    model = normalised()
    names = {str(node.outputs[0].name): str(node.name) for node in model.graph}
    form = FORMS["int8-u8s8"]
    readers = place(model.graph, form).readers
    assert readers["b"] == (names["n"],)
    assert "b" not in place(model.graph, FORMS["int8"]).readers
    # What a convolution in float reads stays unrounded: the predictor's.
    assert "x2" not in readers
    windows = [np.full((8, 4, 4), level, np.uint8) for level in (3, 250)]
    made = to_int8(model, observe(model, list(readers), windows), form)
    data = ir.serde.serialize_model(made).SerializeToString()
    assert OnnxRuntimeEngine.arithmetic(data, 1) == {"float32": 2, "int8": 1}


def test_what_is_kept_is_named(net: Any) -> None:
    placement = place(net.model().graph, FORMS["int8"], keep=["d"])
    assert "d" not in placement.convolutions
    assert placement.floats["d"] == "asked for"
    assert placement.readers["c_relu"] == ("h",)
    with pytest.raises(ConfigError, match=r"no such convolutions.*c_relu"):
        place(net.model().graph, FORMS["int8"], keep=["c_relu"])
    with pytest.raises(CalibrationError, match=r"no convolution .* asked for"):
        place(net.model().graph, FORMS["int8"], keep=list("bcdefghi"))


def reasons(body: str, weights: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Why convolutions of a graph between ``x`` (8 channels) and ``y`` stay in float."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g (uint8[1, 8, 4, 4] planes) => (float[1, 8, 4, 4] y)
        {{ cast = Cast <to = 1> (planes)  x = Relu (cast) {body} }}"""
    proto = onnx.parser.parse_model(text)
    for name, shape in weights.items():
        values = np.ones(shape, np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))
    for node in model.graph:
        node.name = str(node.outputs[0].name).replace("__", "/")
    return {str(n.name): why for n, why in kept(model.graph, RULES).items()}


W = (8, 8, 1, 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Conv (x, w) b = Conv (a, w) y = Relu (b)", {"b": "predictors"}),
        ("a = Conv (x, w) s = Sigmoid (a) m = Mul (s, x) y = Conv (m, w)",
         {"a": "gates", "y": "predictors"}),
        ("a = Conv (x, w) s = Sigmoid (a) m = Mul (s, a) y = Conv (m, w)", {"y": "predictors"}),
        ("g = GlobalAveragePool (x) a = Conv (g, w) m = Add (a, x) y = Conv (m, w)",
         {"a": "gates", "y": "predictors"}),
        ("a = Conv (x, w) b = Conv (x, w) e = MatMul (a, b) y = Conv (e, w)",
         {"a": "energies", "b": "energies", "y": "predictors"}),
        ("doam__0__Conv = Conv (x, w) doam__Mul = Mul (doam__0__Conv, x) y = Conv (doam__Mul, w)",
         {"doam/0/Conv": "doam", "y": "predictors"}),
        ("a = Conv (x, w) P3__label_aware__Mul = Mul (a, a) b = Conv (P3__label_aware__Mul, w)"
         " y = Conv (b, w)", {"b": "label-aware", "y": "label-aware"}),
    ],
)  # fmt: skip
def test_each_rule_finds_its_convolutions(body: str, expected: dict[str, str]) -> None:
    assert reasons(body, {"w": W}) == expected


def test_few_channels_and_weights_of_the_graph_stay() -> None:
    found = reasons(
        "n = Conv (x, narrow) b = Conv (n, wide) m = Relu (w) c = Conv (x, m) d = Add (b, c)"
        " y = Conv (d, w)",
        {"narrow": (4, 8, 1, 1), "wide": (8, 4, 1, 1), "w": W},
    )
    assert found == {"b": "first", "c": "weights", "y": "predictors"}
