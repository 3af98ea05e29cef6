"""Graphs on integers: NumPy as oracle, engines against each other, and the rules of each form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from xedge_calibration.arithmetic import Grid, quantised, restored
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import InsertQdq, Scale, scales_of, to_int8
from xedge_calibration.verifier import form_breaches

from xedge.engines import load
from xedge.engines.onnxruntime import OnnxRuntimeEngine
from xedge.engines.openvino import OpenVinoEngine
from xedge.errors import CalibrationError, ExportError, GraphRefused


def to_bytes(model: ir.Model) -> bytes:
    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data


def histograms(model: ir.Model, windows: list[np.ndarray]) -> dict[str, Any]:
    names = {name for form in FORMS.values() for name in place(model.graph, form).tensors}
    return observe(model, sorted(names), windows)


@pytest.fixture(scope="module")
def seen(net: Any, windows: list[np.ndarray]) -> dict[str, Any]:
    return histograms(net.model(), windows)


def with_logits(model: ir.Model) -> bytes:
    """The graph with its last layer's answer: a sigmoid hides what lies beyond its ends."""
    model.graph.outputs[0] = next(n for n in model.graph if n.name == "j").outputs[0]
    return to_bytes(model)


@pytest.mark.parametrize(
    ("engine", "variant"),
    # OpenVINO rounds between its unsigned kernels in ways of its own: that form is not for it.
    [("onnxruntime", "int8"), ("openvino", "int8"), ("onnxruntime", "int8-u8s8")],
)
def test_engines_answer_as_numpy_does(
    net: Any, windows: list[np.ndarray], seen: dict[str, Any], engine: str, variant: str
) -> None:
    pytest.importorskip(engine)
    model, form = net.model(), FORMS[variant]
    placement = place(model.graph, form)
    # Steps are powers of two, so that all sums are exact and no engine may differ by a rounding.
    scales = {
        name: Scale(2.0 ** np.ceil(np.log2(s.step)), s.grid)
        for name, s in scales_of(placement, seen, form, "minmax").items()
    }
    InsertQdq(placement, scales)(model)
    assert form_breaches(model, form) == []
    runner = load(with_logits(model), engine)
    touched = set()

    def put(name: str, reader: str, x: np.ndarray) -> np.ndarray:
        if reader not in placement.readers.get(name, ()):
            return x
        touched.add(name)
        step, grid = np.float32(scales[name].step), scales[name].grid
        return restored(quantised(x, step, grid), step, grid).astype(np.float64)

    for planes in windows:
        answer = runner.run({"planes": planes[None]})["j"][0]
        np.testing.assert_array_equal(answer, net.logits(planes, put))
    assert touched == set(placement.tensors)
    runner.close()


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_eight_bits_are_near_to_float(
    net: Any, windows: list[np.ndarray], seen: dict[str, Any], method: str
) -> None:
    engine = load(with_logits(to_int8(net.model(), seen, FORMS["int8"], method)), "onnxruntime")
    for planes in windows:
        exact = net.logits(planes)
        error = engine.run({"planes": planes[None]})["j"][0] - exact
        # Eight tensors, each off by a step of 1/127 of its range at most, adding up at random.
        assert 0 < np.sqrt((error**2).mean()) < np.sqrt(8) / 127 * np.abs(exact).max()
    engine.close()


def test_engines_compute_in_integers(net: Any, seen: dict[str, Any]) -> None:
    forms = {v: to_bytes(to_int8(net.model(), seen, FORMS[v])) for v in ("int8", "int8-u8s8")}
    assert OnnxRuntimeEngine.arithmetic(forms["int8-u8s8"], 1)["int8"] >= 7
    pytest.importorskip("openvino")
    assert OpenVinoEngine.arithmetic(forms["int8"], 1)["int8"] == 8


def test_the_graph_has_one_pair_a_tensor_and_small_weights(net: Any, seen: dict[str, Any]) -> None:
    model = to_int8(net.model(), seen, FORMS["int8"])
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
    kinds = [n.op_type for n in model.graph]
    assert kinds.count("QuantizeLinear") == 8
    assert kinds.count("DequantizeLinear") == 8 + 8
    floats = [v for v in model.graph.initializers.values() if v.name in ("c1_w", "c4_w")]
    assert floats == []
    assert to_bytes(model) == to_bytes(to_int8(net.model(), seen, FORMS["int8"]))


def test_half_precision_has_scales_of_its_own_type(net: Any, seen: dict[str, Any]) -> None:
    model = to_int8(net.model(), seen, FORMS["int8-fp16"])
    down = [n for n in model.graph if n.op_type == "QuantizeLinear"]
    assert {v.dtype for n in down for v in n.inputs[:2] if v} == {ir.DataType.FLOAT16}
    convolutions = place(net.model().graph, FORMS["int8-fp16"]).convolutions
    given = {n.outputs[0].dtype for n in model.graph if n.name in convolutions}
    assert given == {ir.DataType.FLOAT16}


def test_very_small_weights_fit_into_half_precision(net: Any, seen: dict[str, Any]) -> None:
    small = net.weights["c2_w"].copy()
    small[0] *= 1e-6
    model = net.model({"c2_w": small})
    to_int8(model, seen, FORMS["int8-fp16"])  # verified within
    scale = to_int8(model, seen, FORMS["int8"]).graph.initializers["c2_w/scale"]
    assert scale.const_value is not None
    assert scale.const_value.numpy().min() == pytest.approx(127 / 64 * 1e-6 / 127)


def test_grids_follow_the_sign(net: Any, seen: dict[str, Any]) -> None:
    placement = place(net.model().graph, FORMS["int8-u8s8"])
    scales = scales_of(placement, seen, FORMS["int8-u8s8"], "minmax")
    assert {n: s.grid for n, s in scales.items() if n in ("c_relu", "c")} == {
        "c_relu": Grid.UNSIGNED, "c": Grid.SHIFTED
    }  # fmt: skip
    assert scales["g"] == scales["g_up"]
    assert scales["c_relu"].step == pytest.approx(seen["c_relu"].peak / 255)


def test_what_has_no_range_is_named(net: Any, windows: list[np.ndarray]) -> None:
    dead = {"c3_w": np.zeros_like(net.weights["c3_w"]), "c3_b": np.full(16, -1, np.float32)}
    model = net.model(dead)
    with pytest.raises(CalibrationError, match=r"tensor d_relu has no range.*0 everywhere"):
        to_int8(model, histograms(model, windows), FORMS["int8"])


def test_weights_that_are_not_finite_are_named(net: Any, seen: dict[str, Any]) -> None:
    bad = net.weights["c4_w"].copy()
    bad[1, 2] = np.inf
    with pytest.raises(CalibrationError, match=r"weights of e .*9 others in c4_w"):
        to_int8(net.model({"c4_w": bad}), seen, FORMS["int8"])


def broken(model: ir.Model, change: Callable[[ir.Model], None], variant: str) -> str:
    change(model)
    return "; ".join(form_breaches(model, FORMS[variant]))


def _first(model: ir.Model, operator: str) -> ir.Node:
    return next(n for n in model.graph if n.op_type == operator)


def _exchange(index: int, numbers: np.ndarray) -> Callable[[ir.Model], None]:
    def change(model: ir.Model) -> None:
        node = _first(model, "QuantizeLinear")
        value = node.inputs[index]
        assert value is not None
        value.const_value = ir.tensor(numbers, name=value.name)

    return change


def _doubled(model: ir.Model) -> None:
    node = _first(model, "QuantizeLinear")
    copy = ir.node("QuantizeLinear", list(node.inputs))
    copy.name = "again"
    model.graph.insert_after(node, copy)


def _read(model: ir.Model) -> None:
    relu = next(n for n in model.graph if n.name == "d_relu")
    relu.replace_input_with(0, _first(model, "DequantizeLinear").outputs[0])


def _half_done(model: ir.Model) -> None:
    node = next(n for n in model.graph if n.name == "d")
    node.replace_input_with(0, next(n for n in model.graph if n.name == "c_relu").outputs[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_exchange(1, np.array(0.0, np.float32)), "scale of 0"),
        (_exchange(1, np.array(np.nan, np.float32)), "scale of nan"),
        (_exchange(2, np.array(3, np.int8)), "zero at 3"),
        (_doubled, "one of 2 for the same tensor"),
        (_read, r"d_relu (Relu) reads integers"),
        (_half_done, "d has one side on integers"),
    ],
)
def test_the_verifier_names_what_is_wrong(
    net: Any, seen: dict[str, Any], change: Callable[[ir.Model], None], said: str
) -> None:
    assert said in broken(to_int8(net.model(), seen, FORMS["int8"]), change, "int8")


def test_a_form_is_not_another(net: Any, seen: dict[str, Any]) -> None:
    unsigned = to_int8(net.model(), seen, FORMS["int8-u8s8"])
    assert "not INT8" in "; ".join(form_breaches(unsigned, FORMS["int8"]))
    assert "no convolution is on integers" in form_breaches(net.model(), FORMS["int8"])
    with pytest.raises((GraphRefused, ExportError)):
        to_int8(unsigned, seen, FORMS["int8"])
