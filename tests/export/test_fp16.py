"""Half precision: what the graph looks like, and what engines answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xedge_export.contract import Stage
from xedge_export.fp16 import FLOAT32_INPUTS, HALF, SINGLE, to_fp16
from xedge_export.verifier import breaches

from xedge.engines import load
from xedge.errors import ExportError

Parse = Callable[[str], ir.Model]


def to_bytes(model: ir.Model) -> bytes:
    return ir.serde.serialize_model(model).SerializeToString()


@pytest.fixture(scope="module")
def single(tiny_graph: Callable[[Stage], ir.Model]) -> ir.Model:
    return tiny_graph(Stage.REFINED)


@pytest.fixture(scope="module")
def half(single: ir.Model) -> ir.Model:
    return to_fp16(single)


def check_types(model: ir.Model) -> None:
    """Every node reads floats of one type, and each border has one cast."""
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
    for node in model.graph:
        skip = FLOAT32_INPUTS.get(node.op_type, ())
        read = [v.dtype for k, v in enumerate(node.inputs) if v is not None and k not in skip]
        assert not {HALF, SINGLE} <= set(read), node.name
    casts = [n for n in model.graph if n.op_type == "Cast"]
    borders = Counter((n.inputs[0], n.outputs[0].dtype) for n in casts)
    assert max(borders.values(), default=1) == 1
    for node in casts:
        source = node.inputs[0]
        assert source is not None
        assert source.dtype is not node.outputs[0].dtype, f"{node.name} casts nothing"
        back = source.producer()
        if back is not None and back.op_type == "Cast" and back.inputs[0] is not None:
            assert back.inputs[0].dtype is not node.outputs[0].dtype, f"{node.name} undoes"


def test_types_meet_at_casts_only(half: ir.Model) -> None:
    check_types(half)
    assert breaches(half) == []


def test_what_goes_in_and_out_keeps_its_type(single: ir.Model, half: ir.Model) -> None:
    for mine, before in ((half.graph.inputs, single.graph.inputs),
                         (half.graph.outputs, single.graph.outputs)):  # fmt: skip
        assert [(v.name, v.dtype, v.shape) for v in mine] == [
            (v.name, v.dtype, v.shape) for v in before
        ]


def test_the_graph_that_it_is_made_of_stays_as_it_was(single: ir.Model) -> None:
    before = to_bytes(single)
    to_fp16(single)
    assert to_bytes(single) == before


def test_convolutions_are_half_and_the_map_is_kept(half: ir.Model) -> None:
    of = {n.name: n.outputs[0].dtype for n in half.graph}
    convolutions = [n for n in half.graph if n.op_type == "Conv"]
    assert {n.outputs[0].dtype for n in convolutions} == {HALF}
    assert {n.inputs[1].dtype for n in convolutions if n.inputs[1]} == {HALF}
    kinds = {n.op_type for n in half.graph if n.outputs[0].dtype is SINGLE}
    assert {"InstanceNormalization", "ReduceMean", "Softmax", "Sigmoid", "TopK", "Tanh"} <= kinds
    assert of["P3/label_aware/Add"] is SINGLE
    assert of["P3/label_aware/unscale/Mul"] is SINGLE


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("stage", list(Stage))
def test_an_engine_answers_nearly_the_same(
    tiny_graph: Callable[[Stage], ir.Model], name: str, stage: Stage
) -> None:
    model = tiny_graph(stage)
    planes = np.random.default_rng(3).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)
    answers = []
    for graph in (model, to_fp16(model)):
        engine = load(to_bytes(graph), name, threads=1)
        answers.append(engine.run({"planes": planes}))
        engine.close()
    before, after = answers
    # Weights and activations of some 30 layers, each with a relative rounding of 2^-11 at most:
    # like a random walk, 2^-11 * sqrt(60) = 0.4 % of logits up to 4. A score's slope is 1/4.
    assert 0 < np.abs(before["scores"] - after["scores"]).max() < 0.004 * 4 / 4
    assert after["boxes"].dtype == np.float32


def test_a_node_can_be_kept(single: ir.Model) -> None:
    name = "P3/label_aware/forward/0/conv/Conv"
    model = to_fp16(single, keep=[name])
    check_types(model)
    (node,) = (n for n in model.graph if n.name == name)
    assert {v.dtype for v in (*node.inputs, *node.outputs) if v is not None} == {SINGLE}


CONV = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 1, 4, 4] planes) => (float[1, 1, 4, 4] y)
<float[1, 1, 1, 1] w = {%s}>
{
    x = Cast <to = 1> (planes)
    y = Conv (x, w)
}
"""


@pytest.mark.parametrize("weight", ["7e4", "-1e30", "nan", "inf"])
def test_a_weight_that_does_not_fit_is_named(parse: Parse, weight: str) -> None:
    model = parse(CONV % "1.0")
    value = model.graph.initializers["w"]
    value.const_value = ir.tensor(np.full((1, 1, 1, 1), float(weight), np.float32), name="w")
    with pytest.raises(ExportError, match="weight of Conv_1 does not fit"):
        to_fp16(model)
    to_fp16(model, keep=["Conv_1"])


def test_an_output_that_a_convolution_gives_is_cast_back(parse: Parse) -> None:
    model = to_fp16(parse(CONV % "0.5"))
    check_types(model)
    (output,) = model.graph.outputs
    assert (output.name, output.dtype) == ("y", SINGLE)
    engine = load(to_bytes(model), "onnxruntime", threads=1)
    planes = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    assert np.array_equal(engine.run({"planes": planes})["y"], planes * np.float32(0.5))


def test_what_cannot_be_cast_is_refused(single: ir.Model, half: ir.Model) -> None:
    with pytest.raises(ExportError, match=r"no such nodes.*nowhere"):
        to_fp16(single, keep=["nowhere"])
    with pytest.raises(ExportError, match="already"):
        to_fp16(half)


UNARY = ("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Identity", "Softmax", "Sqrt")
BINARY = ("Add", "Mul", "Sub", "Concat")


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """A random graph of values ``[1, 4]`` and wider, in ONNX's own text."""
    lines, known = ["v0 = Cast <to = 1> (planes)"], [("v0", 4)]
    for k in range(1, draw(st.integers(1, 12)) + 1):
        a, width = draw(st.sampled_from(known))
        kind = draw(st.sampled_from(["unary", "binary", "matmul", "reduce"]))
        if kind == "binary":
            b = draw(st.sampled_from([n for n, w in known if w == width]))
            op = draw(st.sampled_from(BINARY))
            lines.append(f"v{k} = {op}{' <axis = 1>' if op == 'Concat' else ''} ({a}, {b})")
            width *= 2 if op == "Concat" else 1
        elif kind == "unary":
            lines.append(f"v{k} = {draw(st.sampled_from(UNARY))} ({a})")
        elif kind == "reduce":
            lines.append(f"v{k} = ReduceMean ({a}, axes)")
            width = 1
        else:
            lines.append(f"w{k} = Constant <value = float[{width}, 2] "
                         f"{{{', '.join(['0.25'] * 2 * width)}}}> ()")  # fmt: skip
            lines.append(f"v{k} = MatMul ({a}, w{k})")
            width = 2
        known.append((f"v{k}", width))
    outputs = draw(st.lists(st.sampled_from(known[1:]), min_size=1, max_size=3, unique=True))
    declared = ", ".join(f"float[1, {w}] {n}" for n, w in outputs)
    body = "\n".join(lines)
    return (
        '<ir_version: 10, opset_import: ["" : 20]>\n'
        f"g (uint8[1, 4] planes) => ({declared})\n<int64[1] axes = {{1}}>\n{{\n{body}\n}}"
    )


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph_keeps_its_types_and_its_answers(parse: Parse, text: str) -> None:
    model = parse(text)
    half = to_fp16(model)
    check_types(half)
    assert [(v.name, v.dtype) for v in half.graph.outputs] == [
        (v.name, v.dtype) for v in model.graph.outputs
    ]
    again = to_bytes(to_fp16(model))
    assert again == to_bytes(half)
