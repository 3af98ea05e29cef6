from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from xedge_export.verifier import breaches, verify

from xedge.errors import GraphRefused
from xedge.spec import METADATA_KEY, Channels, Kind, ModelSpec


def graph_of(
    *ops: tuple[str, dict[str, object]],
    opset: int = 20,
    dtype: ir.DataType = ir.DataType.UINT8,
    shape: tuple[int | str, ...] = (1, 3, 8, 8),
) -> ir.Model:
    """A chain of operators from a uint8 input, each named after its place."""
    x = ir.val("planes", dtype, list(shape))
    cast = ir.node("Cast", [x], attributes={"to": ir.DataType.FLOAT.value}, name="cast")
    nodes, value = [cast], cast.outputs[0]
    for k, (op, attributes) in enumerate(ops):
        node = ir.node(op, [value], attributes=attributes, name=f"n{k}")  # type: ignore[arg-type]
        nodes.append(node)
        value = node.outputs[0]
    value.name, value.dtype, value.shape = "scores", ir.DataType.FLOAT, ir.Shape([1])
    graph = ir.Graph([x], [value], nodes=nodes, opset_imports={"": opset})
    return ir.Model(graph, ir_version=10)


def test_a_plain_graph_passes() -> None:
    assert breaches(graph_of(("Relu", {}))) == []
    verify(graph_of(("Relu", {})))


@pytest.mark.parametrize(
    "op", ["NonMaxSuppression", "NonZero", "GroupNormalization", "BatchNormalization", "Loop"]
)
def test_an_operator_that_some_target_lacks_is_named(op: str) -> None:
    with pytest.raises(GraphRefused, match=rf"n0 \({op}\)"):
        verify(graph_of((op, {})))


def test_scatter_with_a_reduction_is_refused_and_without_is_not() -> None:
    assert breaches(graph_of(("ScatterElements", {"reduction": "none"}))) == []
    assert (
        "n0 (ScatterElements)" in breaches(graph_of(("ScatterElements", {"reduction": "add"})))[0]
    )


def test_versions_types_shapes_and_names_are_checked() -> None:
    assert "opset is 21" in breaches(graph_of(opset=21))[0]
    assert "not one of uint8" in breaches(graph_of(dtype=ir.DataType.FLOAT))[0]
    assert "no static shape" in breaches(graph_of(shape=("batch", 3, 8, 8)))[0]
    model = graph_of(("Relu", {}))
    model.ir_version = 11
    model.graph.outputs[0].dtype = ir.DataType.INT64
    for node in model.graph:
        node.name = "same"
    found = breaches(model)
    assert [("IR version" in f, "output scores" in f, "no name" in f) for f in found] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


@pytest.mark.parametrize(("k", "refused"), [(1000, False), (1001, True)])
def test_top_k_must_be_constant_and_small(k: int, refused: bool) -> None:
    model = graph_of(("Relu", {}))
    count = ir.val("k", const_value=ir.tensor(np.array([k], np.int64), name="k"))
    model.graph.register_initializer(count)
    relu = model.graph.node("n0")
    model.graph.append(ir.node("TopK", [relu.outputs[0], count], num_outputs=2, name="top"))
    assert bool(breaches(model)) is refused
    unknown = ir.node("TopK", [relu.outputs[0], relu.outputs[0]], num_outputs=2, name="open")
    model.graph.append(unknown)
    assert any("open (TopK) has a K that is not a constant" in b for b in breaches(model))


def test_foreign_operators_are_refused() -> None:
    model = graph_of(("Relu", {}))
    model.graph.append(ir.Node("com.example", "Magic", [], num_outputs=1, name="spell"))
    assert "spell (Magic) is not an ONNX operator" in breaches(model)[0]


@pytest.mark.parametrize(("kind", "names"), [("detector", "'labels'"), ("classifier", "'maps'")])
def test_the_outputs_are_those_of_the_kind(kind: str, names: str) -> None:
    model = graph_of(("Relu", {}))
    spec = ModelSpec(
        name="m", classes=("gun",), height=8, width=8, channels=Channels.DUAL_ENERGY, binning=1,
        pixel_mm=1.0, candidates=9 if kind == "detector" else 0, kind=Kind(kind),
    )  # fmt: skip
    model.metadata_props[METADATA_KEY] = spec.to_json()
    (found,) = breaches(model)
    assert f"of a {kind} are ('scores',)" in found
    assert names in found
