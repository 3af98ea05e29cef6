"""Parts of ONNX files: the same numbers as the whole, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from xedge import engines
from xedge.engines.cut import Value, take_apart
from xedge.errors import BundleError

onnx = pytest.importorskip("onnx", reason="onnx judges what was cut")
pytest.importorskip("onnxruntime", reason="it runs the parts")

NOISE = np.random.default_rng(2).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)


def ran(model: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    return engines.load(model, "onnxruntime", 1).run(feeds)


def test_the_parts_compute_what_the_whole_does(label_aware_onnx: bytes) -> None:
    parts = take_apart(label_aware_onnx)
    first = parts.between(["planes"], ["x", "first"])
    second = parts.between(["x", "first"], parts.outputs)
    between = ran(first, {"planes": NOISE})
    assert list(between) == ["x", "first"]
    found, wanted = ran(second, between), ran(label_aware_onnx, {"planes": NOISE})
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert np.array_equal(found[name], array), name


def test_a_part_holds_what_it_uses_and_no_more(label_aware_onnx: bytes) -> None:
    parts = take_apart(label_aware_onnx)
    first = onnx.load_model_from_string(parts.between(["planes"], ["x"])).graph
    assert [node.output[0] for node in first.node] == ["value", "light", "dark", "x"]
    assert {weight.name for weight in first.initializer} == {"full", "one", "mix"}
    # Both parts use these, and each has them.
    for names in ((["planes"], ["first"]), (["x", "first"], ["scores"])):
        part = onnx.load_model_from_string(parts.between(*names)).graph
        assert {"predict", "bias"} <= {weight.name for weight in part.initializer}


def test_what_is_around_the_graph_stays(label_aware_onnx: bytes) -> None:
    model = onnx.load_model_from_string(label_aware_onnx)
    onnx.helper.set_model_props(model, {"xedge": "text"})
    part = take_apart(model.SerializeToString()).between(["planes"], ["x"])
    found = onnx.load_model_from_string(part)
    assert found.ir_version == model.ir_version
    assert found.opset_import == model.opset_import
    assert found.metadata_props == model.metadata_props


def test_types_and_shapes_are_read(label_aware_onnx: bytes) -> None:
    parts = take_apart(label_aware_onnx)
    assert parts.value("first") == Value("float32", (1, 2, 32, 32))
    assert parts.value("planes") == Value("uint8", (1, 3, 32, 32))
    assert parts.value("mean") == Value("float32", (1, 1, 1, 1))
    assert parts.value("above") == Value("bool", (1, 4, 32, 32))
    assert parts.value("nothing") is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (["first"], ["scores"], "'planes' is needed, and is neither given nor made"),
        (["planes"], ["nothing"], "'nothing' is needed"),
        (["nothing", "planes"], ["x"], "the type of 'nothing' is not in the file"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(
    label_aware_onnx: bytes, inputs: list[str], outputs: list[str], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        take_apart(label_aware_onnx).between(inputs, outputs)


def test_an_unknown_shape_and_a_side_without_a_number_are_refused() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[n, 2] a) => (float[1, 2] c)'
        " { b = Relu (a) c = Relu (b) }"
    )
    parts = take_apart(model.SerializeToString())
    assert parts.value("a") == Value("float32", (None, 2))
    assert parts.value("b") is None
    for name in ("a", "b"):
        with pytest.raises(BundleError, match=f"the type of '{name}' is not in the file"):
            parts.between([name], ["c"])


def test_a_node_with_a_graph_of_its_own_is_refused() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (bool[] q, float[2] a) => (float[2] c)'
        " { c = If (q) <then_branch = yes () => (float[2] y) { y = Relu (a) },"
        " else_branch = no () => (float[2] z) { z = Neg (a) }> }"
    )
    with pytest.raises(BundleError, match="holds a graph of its own"):
        take_apart(model.SerializeToString()).between(["q"], ["c"])


@pytest.mark.parametrize("cut", [0, 1, 10, 700])
def test_damage_ends_in_our_own_error(label_aware_onnx: bytes, cut: int) -> None:
    with pytest.raises(BundleError, match="the model cannot be read"):
        take_apart(label_aware_onnx[:cut])
