"""Precisions of one model: which there are, and half precision proved before it is given out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from xedge_export.variants import half_precision, parse_precisions

from xedge.errors import ConfigError, ExportError

Parse = Callable[[str], ir.Model]

# conv(x) = x / 256, then 256 times that and back, and a score.
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 3, 2, 2] planes) => (float[1, 3, 2, 2] scores)
<float[3, 3, 1, 1] w = {%s, 0, 0, 0, %s, 0, 0, 0, %s}, float up = {%s}, float down = {%s}>
{
    x = Cast <to = 1> (planes)
    a = Conv (x, w)
    b = Mul (a, up)
    c = Mul (b, down)
    d = Conv (c, w)
    scores = Sigmoid (d)
}
"""


def data(parse: Parse, weight: float, up: float) -> bytes:
    model = parse(GRAPH % (weight, weight, weight, repr(up), repr(1 / up)))
    return ir.serde.serialize_model(model).SerializeToString()


def windows() -> list[np.ndarray]:
    return [np.full((3, 2, 2), count, np.uint8) for count in (0, 3, 255)]


def dtypes(model: bytes) -> dict[str, ir.DataType | None]:
    graph = ir.serde.deserialize_model(onnx.load_model_from_string(model)).graph
    return {str(node.name): node.outputs[0].dtype for node in graph}


@pytest.mark.parametrize(("text", "found"), [("fp32", ("fp32",)), ("fp16, fp32", ("fp32", "fp16"))])
def test_precisions_are_named_in_any_order(text: str, found: tuple[str, ...]) -> None:
    assert parse_precisions(text) == found


@pytest.mark.parametrize("text", ["", "fp8", "fp32;fp16", "FP32"])
def test_an_unknown_precision_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="one or more of fp32, fp16"):
        parse_precisions(text)


def test_what_would_overflow_on_the_windows_is_kept(parse: Parse) -> None:
    quiet, loud = (
        dtypes(half_precision(data(parse, 0.0625, up), windows())) for up in (2.0, 4096.0)
    )
    assert quiet["Mul_2"] is ir.DataType.FLOAT16
    # 255 / 16 * 4096 = 65,280: finite in half precision, but not with a factor of four.
    assert loud["Mul_2"] is ir.DataType.FLOAT
    assert loud["Conv_1"] is ir.DataType.FLOAT16


VANISHING = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 1, 2, 2] planes) => (float[1, 1, 2, 2] scores)
<float[1, 1, 1, 1] w = {1.4901161193847656e-08}, float up = {262144}>
{
    x = Cast <to = 1> (planes)
    a = Conv (x, w)
    b = Mul (a, up)
    scores = Sigmoid (b)
}
"""


def test_answers_that_differ_are_refused(parse: Parse) -> None:
    # A weight of 2^-26 is zero in half precision: sigmoid(0) instead of sigmoid(255 / 256).
    model = ir.serde.serialize_model(parse(VANISHING)).SerializeToString()
    with pytest.raises(ExportError, match=r"otherwise than in float32.*scores off by 0\.23"):
        half_precision(model, [np.full((1, 2, 2), 255, np.uint8)])
