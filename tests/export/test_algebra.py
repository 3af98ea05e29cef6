"""Algebra on graphs: what must hold before, what holds after, and the same answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xedge_export.algebra import (
    ALGEBRA,
    CommuteUpsampling,
    SplitConcatenations,
    WholePools,
    WriteOutNorms,
)

from xedge.engines import load

Parse = Callable[[str], ir.Model]

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
LINEAR = 'mode = "linear", coordinate_transformation_mode = "half_pixel"'
NEAREST = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def answers(model: ir.Model, planes: np.ndarray) -> list[np.ndarray]:
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    engine = load(proto.SerializeToString(), "onnxruntime", threads=1)
    outputs = engine.run({"planes": planes})
    engine.close()
    return list(outputs.values())


def with_weights(model: ir.Model, seed: int) -> ir.Model:
    """The model with its float weights drawn."""
    random = np.random.default_rng(seed)
    for value in model.graph.initializers.values():
        if value.dtype is ir.DataType.FLOAT and value.name not in ("how", "none"):
            assert value.shape is not None
            drawn = random.normal(size=value.shape.numpy()).astype(np.float32)
            value.const_value = ir.tensor(np.abs(drawn) if "var" in str(value.name) else drawn)
    return model


def zeros(*shape: int) -> str:
    return f"{{{', '.join(['0'] * int(np.prod(shape)))}}}"


def refinement(
    coarse: tuple[int, int],
    fine: tuple[int, int],
    channels: tuple[int, int, int],
    *,
    mode: str = LINEAR,
    by_scales: bool = False,
    bias: bool = True,
    coarse_first: bool = True,
) -> str:
    """A coarse map, upsampled, joined to a finer one, and a 1x1 convolution of both."""
    a, b, c = channels
    (h, w), (y, x) = coarse, fine
    if by_scales:
        how = f"<float[4] how = {{1.0, 1.0, {y / h}, {x / w}}}"
        resize = "up = Resize <%s> (small, none, how)" % mode  # noqa: UP031
    else:
        how = f"<int64[4] how = {{1, {a}, {y}, {x}}}"
        resize = "up = Resize <%s> (small, none, none, how)" % mode  # noqa: UP031
    parts = "up, own" if coarse_first else "own, up"
    return (
        f"{HEAD}g (uint8[1, 1, {y}, {x}] planes) => (float[1, {c}, {y}, {x}] r)\n"
        f"{how}, float[0] none = {{}}, float[{a}, 1, 1, 1] wa = {zeros(a)}, "
        f"float[{b}, 1, 1, 1] wb = {zeros(b)}, "
        f"float[{c}, {a + b}, 1, 1] w = {zeros(c, a + b)}, float[{c}] bias = {zeros(c)}, "
        f"int64[2] start = {{0, 0}}, int64[2] stop = {{{h}, {w}}}, "
        "int64[2] axes = {2, 3}>\n{\n"
        "image = Cast <to = 1> (planes)\n"
        "corner = Slice (image, start, stop, axes)\n"
        f"small = Conv (corner, wa)\nown = Conv (image, wb)\n{resize}\n"
        f"joined = Concat <axis = 1> ({parts})\n"
        f"y = Conv (joined, w{', bias' if bias else ''})\nr = Relu (y)\n}}"
    )


@given(
    coarse=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    factor=st.tuples(st.integers(1, 3), st.integers(2, 3)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    mode=st.sampled_from([LINEAR, NEAREST]),
    by_scales=st.booleans(),
    bias=st.booleans(),
    coarse_first=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_refinement_runs_at_the_small_size(
    parse: Parse,
    coarse: tuple[int, int],
    factor: tuple[int, int],
    channels: tuple[int, int, int],
    mode: str,
    by_scales: bool,
    bias: bool,
    coarse_first: bool,
) -> None:
    fine = (coarse[0] * factor[0], coarse[1] * factor[1])
    text = refinement(coarse, fine, channels, mode=mode, by_scales=by_scales, bias=bias,
                      coarse_first=coarse_first)  # fmt: skip
    planes = np.random.default_rng(1).integers(0, 256, (1, 1, *fine), dtype=np.uint8)
    model = with_weights(parse(text), 2)
    before = answers(model, planes)
    for algebra in ALGEBRA:
        algebra(model)
    assert operators(model)["Concat"] == 0
    assert operators(model)["Resize"] == 1
    for node in model.graph:
        resize = node.inputs[0].producer() if node.inputs[0] is not None else None
        assert node.op_type != "Conv" or resize is None or resize.op_type != "Resize"
    # A dozen products of up to 255 * 3 * 3 * 3, each rounded to 2^-24: other sums, other roundings.
    assert np.abs(answers(model, planes)[0] - before[0]).max() < 12 * 255 * 27 * 2**-24 * 8


def test_sizes_that_no_whole_number_relates(parse: Parse) -> None:
    model = with_weights(parse(refinement((5, 7), (12, 16), (3, 2, 4))), 5)
    planes = np.random.default_rng(3).integers(0, 256, (1, 1, 12, 16), dtype=np.uint8)
    before = answers(model, planes)
    assert SplitConcatenations()(model).modified
    assert operators(model)["Conv"] == 4
    assert CommuteUpsampling()(model).modified
    (resize,) = (n for n in model.graph if n.op_type == "Resize")
    assert resize.outputs[0].shape == ir.Shape([1, 4, 12, 16])
    assert np.abs(answers(model, planes)[0] - before[0]).max() < 12 * 255 * 27 * 2**-24 * 8


LEFT_ALONE = {
    "a 3x3 convolution sees neighbours": (
        "float[2, 1, 3, 3] w = " + zeros(18),
        f"up = Resize <{LINEAR}> (x, none, none, large)\ny = Conv <pads = [1, 1, 1, 1]> (up, w)",
    ),
    "a convolution with a stride drops places": (
        "float[2, 1, 1, 1] w = " + zeros(2),
        f"up = Resize <{LINEAR}> (x, none, none, large)\nz = Conv <strides = [2, 2]> (up, w)\n"
        f"y = Resize <{LINEAR}> (z, none, none, two)",
    ),
    "a cubic resize is left, as it overshoots": (
        "float[2, 1, 1, 1] w = " + zeros(2),
        'up = Resize <mode = "cubic"> (x, none, none, large)\ny = Conv (up, w)',
    ),
    "another reader needs the large map": (
        "float[1, 1, 1, 1] w = " + zeros(1),
        f"up = Resize <{LINEAR}> (x, none, none, large)\nz = Conv (up, w)\nu = Add (z, up)\n"
        "y = Concat <axis = 1> (u, u)",
    ),
    "maps of one size are joined as they are": (
        "float[2, 2, 1, 1] w = " + zeros(4),
        f"up = Resize <{LINEAR}> (x, none, none, large)\na = Relu (up)\nb = Neg (a)\n"
        "j = Concat <axis = 1> (a, b)\ny = Conv (j, w)",
    ),
}


@pytest.mark.parametrize("case", list(LEFT_ALONE))
def test_what_does_not_commute_is_left_alone(parse: Parse, case: str) -> None:
    weight, body = LEFT_ALONE[case]
    model = parse(
        f"{HEAD}g (uint8[1, 1, 2, 2] planes) => (float[1, 2, 4, 4] y)\n"
        f"<{weight}, float[0] none = {{}}, int64[4] large = {{1, 1, 4, 4}}, "
        f"int64[4] two = {{1, 2, 4, 4}}>\n{{\nx = Cast <to = 1> (planes)\n{body}\n}}"
    )
    before = ir.serde.serialize_model(model).SerializeToString()
    for algebra in ALGEBRA:
        assert not algebra(model).modified
    assert ir.serde.serialize_model(model).SerializeToString() == before


def test_a_norm_becomes_a_product_and_a_sum(parse: Parse) -> None:
    model = with_weights(
        parse(
            HEAD
            + """
    g (uint8[1, 3, 4, 4] planes) => (float[1, 3, 4, 4] y)
    <float[3] gamma = {0, 0, 0}, float[3] beta = {0, 0, 0}, float[3] mean = {0, 0, 0},
     float[3] var = {0, 0, 0}> {
        x = Cast <to = 1> (planes)
        y = BatchNormalization <epsilon = 0.5> (x, gamma, beta, mean, var)
    }"""
        ),
        4,
    )
    planes = np.random.default_rng(3).integers(0, 256, (1, 3, 4, 4), dtype=np.uint8)
    before = answers(model, planes)
    assert WriteOutNorms()(model).modified
    assert operators(model) == {"Cast": 1, "Mul": 1, "Add": 1}
    # Numbers up to a thousand, three roundings each way.
    assert np.abs(answers(model, planes)[0] - before[0]).max() < 6 * 1000 * 2**-24


def test_a_norm_that_changes_with_its_input_stays(parse: Parse) -> None:
    model = parse(
        HEAD
        + """
    g (float[1, 1, 4, 4] x, float[1] gamma) => (float[1, 1, 4, 4] y)
    <float[1] one = {1}> { y = BatchNormalization (x, gamma, one, one, one) }"""
    )
    assert not WriteOutNorms()(model).modified


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pads", "whole"),
    [(8, 2, 2, 0, True), (7, 2, 2, 0, False), (7, 3, 2, 0, True), (8, 3, 2, 1, False),
     (9, 3, 2, 1, True), (7, 1, 3, 0, True), (8, 1, 3, 0, False)],
)  # fmt: skip
def test_a_pool_rounds_down_where_nothing_is_left_over(
    parse: Parse, side: int, kernel: int, stride: int, pads: int, whole: bool
) -> None:
    out = -(-(side + 2 * pads - kernel) // stride) + 1
    model = parse(
        f"{HEAD}g (uint8[1, 1, {side}, {side}] planes) => (float[1, 1, {out}, {out}] y) {{\n"
        "x = Cast <to = 1> (planes)\n"
        f"y = AveragePool <kernel_shape = [{kernel}, {kernel}], strides = [{stride}, {stride}], "
        f"pads = [{pads}, {pads}, {pads}, {pads}], ceil_mode = 1> (x)\n}}"
    )
    planes = np.random.default_rng(3).integers(0, 256, (1, 1, side, side), dtype=np.uint8)
    before = answers(model, planes)
    assert WholePools()(model).modified == whole
    assert np.array_equal(answers(model, planes)[0], before[0])
