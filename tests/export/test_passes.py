from __future__ import annotations

from pathlib import Path

import onnx
from xedge_export.passes import NameNodes
from xedge_export.to_onnx import export_model


def test_nodes_are_named_after_their_modules(tiny_checkpoint: Path) -> None:
    model = onnx.load_model_from_string(export_model(tiny_checkpoint).model)
    names = [n.name for n in model.graph.node]
    assert len(set(names)) == len(names)
    for level in ("P3", "P4", "P5"):
        # Two layers: each one's convolution, and its adjoint in the backward pass.
        for part in ("forward/0/conv/Conv", "backward/0/Conv", "one_hot/ArgMax"):
            assert f"{level}/label_aware/{part}" in names
    assert not any("node_" in name for name in names)


def test_shared_weights_are_stored_once(tiny_checkpoint: Path) -> None:
    model = onnx.load_model_from_string(export_model(tiny_checkpoint).model)
    large = [i.raw_data for i in model.graph.initializer if len(i.raw_data) > 256]
    assert len(set(large)) == len(large)
    doc = [n.doc_string for n in model.graph.node] + [
        p.value for n in model.graph.node for p in n.metadata_props
    ]
    assert not any(doc), "the tracer's notes hold paths of the machine"


def test_a_scope_becomes_a_path() -> None:
    import onnx_ir as ir

    x = ir.val("x", ir.DataType.FLOAT, [1])
    nodes = [ir.node("Relu", [x]), ir.node("Relu", [x])]
    for node in nodes:
        node.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'levels.P3.a_layers.0', 'relu']"
    third = ir.node("Neg", [nodes[0].outputs[0]])
    graph = ir.Graph([x], [third.outputs[0]], nodes=[*nodes, third], opset_imports={"": 20})
    NameNodes()(ir.Model(graph, ir_version=10))
    assert [n.name for n in graph] == ["P3/a/0/Relu", "P3/a/0/Relu_1", "P3/a/0/Neg"]
