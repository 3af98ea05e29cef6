"""What a convolution on integers costs: one that is exact on them, and one that is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.sensitivity import Cost, best_scores, costs, shares

from xedge.bundle import open_bundle
from xedge.errors import CalibrationError
from xedge.spec import ModelSpec

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
net (uint8[1, 3, 16, 16] planes) => (float[1, 2] scores, int32[1, 2] labels)
<int64[1] two = {2}, float size = {0.015625}>
{
    cast = Cast <to = 1> (planes)
    x = Mul (cast, size)
    a = Conv <pads = [1, 1, 1, 1]> (x, first_w)
    a_relu = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (a_relu, exact_w)
    b_relu = Relu (b)
    c = Conv <pads = [1, 1, 1, 1]> (b_relu, wide_w)
    c_relu = Relu (c)
    d = Conv <pads = [1, 1, 1, 1]> (c_relu, predict_w)
    mean = ReduceMean <keepdims = 0> (d, axes)
    y = Sigmoid (mean)
    scores, order = TopK (y, two)
    labels = Cast <to = 6> (order)
}
"""


@pytest.fixture(scope="module")
def spec(repository: object) -> ModelSpec:
    shipped = open_bundle(f"{repository}/xedge/bundles/default.xedge").spec
    return replace(shipped, classes=("a", "b"), height=16, width=16, candidates=2)


@pytest.fixture(scope="module")
def model() -> ir.Model:
    proto = onnx.parser.parse_model(GRAPH)
    rng = np.random.default_rng(0)
    weights = {
        "first_w": rng.uniform(-0.2, 0.2, (8, 3, 3, 3)),
        # One number a channel: the largest of its channel, so 127 steps exactly.
        "exact_w": np.zeros((8, 8, 3, 3)),
        # One large and many small: the small ones lie below half a step, and are lost.
        "wide_w": np.full((8, 8, 3, 3), 0.003),
        "predict_w": rng.uniform(-0.5, 0.5, (2, 8, 3, 3)),
    }
    weights["exact_w"][range(8), range(8), 1, 1] = 1.0
    weights["wide_w"][:, 0, 0, 0] = 1.0
    for name, array in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "axes"))
    for node in proto.graph.node:
        node.name = node.output[0]
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))


def windows(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (3, 16, 16), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize(("form", "engine"), [("int8", "openvino"), ("int8-u8s8", "onnxruntime")])
def test_the_dearest_convolution_comes_first(
    model: ir.Model, spec: ModelSpec, form: str, engine: str
) -> None:
    placement = place(model.graph, FORMS[form])
    assert placement.convolutions == ("b", "c")
    seen, steps = windows(4), []
    histograms = observe(model, placement.tensors, seen)

    def found(keep: tuple[str, ...] = ()) -> list[Cost]:
        return costs(model, spec, histograms, FORMS[form], engine, seen, keep=keep, threads=1,
                     advance=lambda: steps.append(1))  # fmt: skip

    wide, exact = found()
    assert (wide.convolution, exact.convolution) == ("c", "b")
    assert len(steps) == 2
    assert 0 < wide.mean <= wide.most
    # 71 of 72 weights of a channel, a sixth of what it sums, are lost; the other convolution
    # loses the rounding of its input alone, half of 1/127 or 1/255 of its range.
    assert wide.mean > 5 * exact.mean
    assert [cost.convolution for cost in found(("c",))] == ["b"]
    with pytest.raises(CalibrationError, match="no window"):
        costs(model, spec, histograms, FORMS[form], engine, [])


def test_the_best_score_of_each_class_counts(spec: ModelSpec) -> None:
    outputs = {"scores": np.array([[0.9, 0.5, 0.2]], np.float32),
               "labels": np.array([[1, 1, 1]], np.int32)}  # fmt: skip
    assert best_scores(outputs, spec).tolist() == [0.0, np.float32(0.9)]


@given(st.integers(0, 40))
def test_ever_more_stay_in_float_and_never_all(count: int) -> None:
    found = [Cost(str(k), 1.0 / (k + 1), 1.0) for k in range(count)]
    taken = list(shares(found))
    sizes = [len(names) for names in taken]
    assert sizes == sorted(set(sizes))
    assert all(0 < size < count for size in sizes)
    assert all(names == tuple(str(k) for k in range(len(names))) for names in taken)
    assert bool(taken) == (count > 1)
