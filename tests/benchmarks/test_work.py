"""Operations and bytes of graphs, counted by hand beside."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from xedge_benchmarks.work import Peak, Share, Work, share, work_of

from xedge.bundle import open_bundle

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[1, 6, 8, 12] x, float[4, 3, 3, 5] w, float[4, 2, 2, 2] t, float[70, 10] m, float[10, 7] b)
    => (float[1, 4, 12, 16] y, float[7, 7] z)
{
    a = Conv <group = 2> (x, w)
    y = ConvTranspose <group = 2, strides = [2, 2]> (a, t)
    l = Relu (b)
    z = Gemm <transA = 1> (l, b)
}
"""


def built(text: str) -> bytes:
    data: bytes = onnx.parser.parse_model(text).SerializeToString()
    return data


def test_by_hand() -> None:
    found = work_of(built(GRAPH))
    assert found is not None
    conv = 4 * 6 * 8 * (3 * 3 * 5)  # outputs, each of 3 of the 6 channels by 3 x 5
    transposed = 4 * 6 * 8 * (2 * 2 * 2)  # inputs, each to 2 of 4 outputs by 2 x 2
    gemm = 7 * 7 * 10
    assert found.operations == {"float32": 2 * (conv + transposed + gemm)}
    a = 4 * 6 * 8
    values = (6 * 8 * 12 + 4 * 3 * 3 * 5 + a) + (a + 32 + 4 * 12 * 16) + (70 + 70 + 49)
    assert found.bytes == 4 * values


def test_integers_are_told_apart() -> None:
    found = work_of(built("""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[4, 6] x, float s, uint8 zero, float[6, 5] f) => (float[4, 5] y)
    <float[6, 5] w, int8[6, 5] q, int8 z>
    {
        i = QuantizeLinear (x, s, zero)
        d = DequantizeLinear (i, s, zero)
        j = Cast <to = 3> (f)
        e = DequantizeLinear (j, s)
        y = MatMul (d, e)
        n = MatMul (x, f)
    }
    """))  # fmt: skip
    assert found is not None
    products = 2 * 4 * 5 * 6
    assert found.operations == {"int8": products, "float32": products}
    assert found.bytes == (4 * 6 + 6 * 5 + 4 * 5) * (1 + 4)
    lowered = found.in_arithmetic("bfloat16")
    assert lowered.operations == {"int8": products, "bfloat16": products}
    assert Work({"int8": 1}, 1).in_arithmetic("bfloat16").operations == {"int8": 1}


def test_a_shape_that_is_not_fixed() -> None:
    graph = GRAPH.replace("1, 6, 8, 12", "n, 6, 8, 12").replace("1, 4, 12, 16", "n, 4, 12, 16")
    assert work_of(built(graph)) is None


def test_the_shipped_model() -> None:
    found = work_of(open_bundle(None).model())
    assert found is not None
    assert set(found.operations) == {"float32"}
    # 3.2 million weights, each used at some hundred places of a map: no less, and no petabyte.
    assert 2e9 < found.operations["float32"] < 2e11
    assert found.bytes > 4 * 3_000_000


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        (Peak({"float32": 100.0}, None), Share(0.25, None)),
        (Peak({}, 50.0), Share(None, 0.1)),
    ],
)
def test_a_share_of_what_was_measured(peak: Peak, expected: Share) -> None:
    assert share(Work({"float32": 50}, 10), 2.0, peak) == expected


def test_a_constant_in_the_graph_is_a_weight() -> None:
    weights = onnx.numpy_helper.from_array(np.zeros((6, 5), np.float32))
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[4, 6] x) => (float[4, 5] y) { w = Constant <value_float = 1.0> () y = MatMul (x, w) }
    """)
    model.graph.node[0].CopyFrom(onnx.helper.make_node("Constant", [], ["w"], value=weights))
    found = work_of(model.SerializeToString())
    assert found == Work({"float32": 2 * 4 * 5 * 6}, 4 * (24 + 30 + 20))
