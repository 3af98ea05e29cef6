"""Scaling the seed of the label-aware gradient changes no bit of a float32 answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from xedge_export.contract import Stage
from xedge_export.seed_scale import MOST, ScaleSeed, chains

from xedge.engines import load
from xedge.errors import ExportError


def copy(model: ir.Model) -> ir.Model:
    return ir.serde.deserialize_model(ir.serde.serialize_model(model))


def answer(model: ir.Model) -> dict[str, np.ndarray]:
    engine = load(ir.serde.serialize_model(model).SerializeToString(), "onnxruntime", threads=1)
    planes = np.random.default_rng(1).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)
    outputs = engine.run({"planes": planes})
    engine.close()
    return outputs


def test_the_answer_is_the_same_to_the_bit(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    model = tiny_graph(Stage.REFINED)
    scaled = copy(model)
    assert ScaleSeed(MOST)(scaled).modified
    assert {"P3/label_aware/scale/Mul", "P5/label_aware/unscale/Mul"} <= {
        n.name for n in scaled.graph
    }
    before, after = answer(model), answer(scaled)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    # Were only one end scaled, the answer would be another.
    for node in scaled.graph:
        if (node.name or "").endswith("/unscale/Mul"):
            node.inputs[1].const_value = ir.tensor(np.float32(1.0))  # type: ignore[union-attr]
    assert not np.array_equal(before["scores"], answer(scaled)["scores"])


def test_a_gradient_is_a_chain_a_level(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    found = dict(chains(tiny_graph(Stage.REFINED).graph))
    assert set(found) == {"P3/label_aware/", "P4/label_aware/", "P5/label_aware/"}
    assert [n.name for n in found["P3/label_aware/"]] == [
        "P3/label_aware/Conv",
        "P3/label_aware/backward/0/Conv",
        "P3/label_aware/backward/1/Conv",
    ]


def test_without_the_step_nothing_changes(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    model = copy(tiny_graph(Stage.FIRST_PASS))
    before = ir.serde.serialize_model(model).SerializeToString()
    assert not ScaleSeed(3)(model).modified
    assert ir.serde.serialize_model(model).SerializeToString() == before


@pytest.mark.parametrize("exponent", [-1, MOST + 1])
def test_an_exponent_that_overflows_is_refused(exponent: int) -> None:
    with pytest.raises(ExportError, match="exponent within"):
        ScaleSeed(exponent)


def test_a_gradient_in_pieces_is_refused(parse: Callable[[str], ir.Model]) -> None:
    model = parse("""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[1, 1, 2, 2] a) => (float[1, 1, 2, 2] y, float[1, 1, 2, 2] z)
    <float[1, 1, 1, 1] w = {1.0}> {
        y = Conv (a, w)
        z = Conv (a, w)
    }""")
    for node, name in zip(model.graph, ("label_aware/Conv", "label_aware/backward/0/Conv"),
                          strict=True):  # fmt: skip
        node.name = name
    with pytest.raises(ExportError, match="not one chain"):
        ScaleSeed(1)(model)
