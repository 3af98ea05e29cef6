"""The reader of ONNX files, held against the package onnx."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge import engines
from xedge.bundle import open_bundle
from xedge.errors import BundleError
from xedge.graph import Graph, Node, Weight, read_graph, with_outputs


@pytest.fixture(scope="module")
def shipped() -> Graph:
    return read_graph(open_bundle().model())


def test_it_reads_what_onnx_reads(shipped) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx (extra `export`) is the oracle")
    model = onnx.load_model_from_string(open_bundle().model())
    assert [(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in model.graph.node] == [
        (n.name, n.operator, n.inputs, n.outputs) for n in shipped.nodes
    ]
    expected = {
        w.name: (str(onnx.helper.tensor_dtype_to_np_dtype(w.data_type)), int(np.prod(w.dims)))
        for w in model.graph.initializer
    }
    assert {n: (w.dtype, w.parameters) for n, w in shipped.weights.items()} == expected
    assert shipped.metadata == {p.key: p.value for p in model.metadata_props}
    assert (shipped.opset, shipped.ir_version) == (model.opset_import[0].version, model.ir_version)
    assert shipped.inputs == ("planes",)
    assert shipped.outputs == ("boxes", "scores", "labels")


def test_modules_share_out_all_nodes_and_weights(shipped) -> None:
    modules = shipped.modules()
    assert [m.name for m in modules][:4] == ["graph", "pyramid/backbone", "pyramid/fpn",
                                             "P3/label_aware"]  # fmt: skip
    assert sum(m.nodes for m in modules) == len(shipped.nodes)
    assert all(sum(m.operators.values()) == m.nodes for m in modules)
    assert sum(m.parameters for m in modules) == sum(w.parameters for w in shipped.weights.values())
    assert sum(shipped.parameters_by_type().values()) == sum(m.parameters for m in modules)


def test_the_label_aware_steps_are_found(shipped) -> None:
    steps = shipped.label_aware()
    assert list(steps) == ["P3/label_aware", "P4/label_aware", "P5/label_aware"]
    made = {output: node for node in shipped.nodes for output in node.outputs}
    for before, after in steps.values():
        assert made[after].operator == "Add"
        assert before in made[after].inputs
        assert made[before].name.startswith("pyramid/fpn")


def test_values_become_outputs(tiny_onnx) -> None:
    engine = engines.load(with_outputs(tiny_onnx, ["dark", "x"]), "onnxruntime", 1)
    planes = np.random.default_rng(1).integers(0, 256, (1, 3, 32, 32)).astype(np.uint8)
    answer = engine.run({"planes": planes})
    np.testing.assert_allclose(answer["dark"][0, 0], 1 - planes[0, 1] / np.float32(255), atol=1e-6)
    assert answer["x"].dtype == np.int32
    assert read_graph(with_outputs(tiny_onnx, [])) is not None
    assert with_outputs(tiny_onnx, []) == tiny_onnx


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_harmless(tiny_onnx, data) -> None:
    """Whatever is cut off or changed, nothing but `BundleError` comes out, and soon."""
    end = data.draw(st.integers(0, len(tiny_onnx)))
    content = bytearray(tiny_onnx[:end])
    for at in data.draw(st.lists(st.integers(0, max(end - 1, 0)), max_size=4)):
        if end:
            content[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BundleError):
        read_graph(bytes(content))


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04", b"\x08\x0a"])
def test_what_is_no_onnx_file_is_refused(content) -> None:
    with pytest.raises(BundleError, match="an ONNX file"):
        read_graph(content)


def test_casts_at_the_borders_of_a_step_are_looked_through() -> None:
    """As a half-precision graph has them: what others read of a step is what was cast."""
    rows = [
        ("fpn/Conv", "Conv", ["planes", "k"], ["x"]),
        ("P3/label_aware/Conv", "Conv", ["x", "k"], ["g"]),
        ("P3/label_aware/g32", "Cast", ["g"], ["g32"]),
        ("P3/label_aware/x32", "Cast", ["x"], ["x32"]),
        ("P3/label_aware/Add_1", "Add", ["g32", "k"], ["w"]),
        ("P3/label_aware/Mul", "Mul", ["w", "x32"], ["wx"]),
        ("P3/label_aware/Add", "Add", ["x32", "wx"], ["refined"]),
        ("P3/label_aware/half", "Cast", ["refined"], ["refined16"]),
        ("P3/head/Conv", "Conv", ["refined16", "k"], ["y"]),
    ]
    nodes = tuple(Node(name, kind, tuple(i), tuple(o)) for name, kind, i, o in rows)
    graph = Graph(20, 10, nodes, {"k": Weight("float16", 1)}, ("planes",), ("y",), {})
    assert graph.label_aware() == {"P3/label_aware": ("x", "refined16")}
    assert dataclasses.replace(graph, nodes=nodes[:1]).label_aware() == {}
