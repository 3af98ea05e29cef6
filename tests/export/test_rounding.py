"""The rounding reference shows what a CPU hides, and rounds to the bit as NumPy does."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xedge_export.contract import Stage
from xedge_export.fp16 import to_fp16
from xedge_export.rounding import rounded

from xedge.engines import load
from xedge.errors import ExportError

Parse = Callable[[str], ir.Model]

# Behind Mul_1, which overflows, Mul_2 brings the number back: float32 arithmetic never notices.
OVER_AND_BACK = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 1, 1, 4] planes) => (float[1, 1, 1, 4] y)
<float[1, 1, 1, 1] w = {1.0}, float up = {%s}, float down = {%s}>
{
    x = Cast <to = 1> (planes)
    c = Conv (x, w)
    a = Mul (c, up)
    b = Mul (a, down)
    y = Conv (b, w)
}
"""


def answer(model: ir.Model, planes: np.ndarray) -> np.ndarray:
    engine = load(ir.serde.serialize_model(model).SerializeToString(), "onnxruntime", threads=1)
    (outputs,) = engine.run({"planes": planes}).values()
    engine.close()
    return outputs


def test_an_overflow_shows(parse: Parse) -> None:
    half = to_fp16(parse(OVER_AND_BACK % ("512", "0.001953125")))
    planes = np.array([0, 1, 127, 255], np.uint8).reshape(1, 1, 1, 4)
    assert answer(rounded(half), planes).ravel().tolist() == [0, 1, 127, np.inf]
    # bfloat16 has float32's range.
    assert answer(rounded(half, ir.DataType.BFLOAT16), planes).ravel().tolist() == [0, 1, 127, 255]


@given(st.integers(0, 255), st.floats(2**-12, 64), st.sampled_from(["float16", "bfloat16"]))
def test_each_node_rounds_as_numpy_does(parse: Parse, count: int, factor: float, kind: str) -> None:
    dtype = np.dtype(np.float16 if kind == "float16" else ml_dtypes.bfloat16)
    up, down = np.float32(factor), np.float32(1 / 3)
    half = to_fp16(parse(OVER_AND_BACK % (repr(float(up)), repr(float(down)))))
    found = answer(rounded(half, ir.DataType[kind.upper()]), np.full((1, 1, 1, 4), count, np.uint8))

    def to_format(x: np.ndarray) -> np.ndarray:
        return x.astype(dtype).astype(np.float32)

    # Weights were put into half precision before.
    constants = [to_format(np.float32(np.float16(v))) for v in (up, down)]
    value = to_format(np.float32(count))
    for constant in constants:
        value = to_format(value * constant)
    assert np.array_equal(found.ravel(), np.full(4, value))


def test_what_is_kept_is_not_rounded(parse: Parse) -> None:
    half = to_fp16(parse(OVER_AND_BACK % ("512", "0.001953125")), keep=["Mul_2", "Mul_3"])
    planes = np.full((1, 1, 1, 4), 255, np.uint8)
    assert answer(rounded(half), planes).ravel().tolist() == [255] * 4


def test_a_detector_stays_close_to_its_float32_answer(
    tiny_graph: Callable[[Stage], ir.Model],
) -> None:
    model = tiny_graph(Stage.REFINED)
    planes = np.random.default_rng(3).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)
    answers = []
    for graph in (model, rounded(to_fp16(model))):
        engine = load(ir.serde.serialize_model(graph).SerializeToString(), "onnxruntime", threads=1)
        answers.append(engine.run({"planes": planes})["scores"])
        engine.close()
    # As in test_fp16; here every node rounds, of which there are some four a layer.
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.004 * 4 / 4 * 2


def test_what_has_nothing_to_round_is_refused(parse: Parse) -> None:
    model = parse(OVER_AND_BACK % ("1", "1"))
    with pytest.raises(ExportError, match="nothing to round"):
        rounded(model)
    with pytest.raises(ExportError, match="FLOAT16 or BFLOAT16"):
        rounded(to_fp16(model), ir.DataType.INT8)
