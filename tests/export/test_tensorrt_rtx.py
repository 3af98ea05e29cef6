"""Every exported graph builds with TensorRT-RTX by our own adapter, which needs no GPU for it."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from xedge_export.deployed import Stage
from xedge_export.to_onnx import export_model

from xedge.bundle import open_bundle
from xedge.engines.tensorrt_api import Api, open_api
from xedge.engines.tensorrt_build import BuildOptions, Layer, build_plan
from xedge.errors import EngineLoadError

TARGETS = ("SM86", "SM89", "SM120")


@pytest.fixture(scope="module")
def api() -> Api:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    return open_api("tensorrt_rtx", "TensorRT-RTX", "tensorrt-rtx")


def layers_of(api: Api, model: bytes, target: str) -> tuple[Layer, ...]:
    built = build_plan(api, model, BuildOptions(targets=(target,)))
    assert len(built.plan) > 10_000
    return built.layers


def check_fusion(layers: tuple[Layer, ...], model: bytes) -> None:
    nodes = [node.op_type for node in onnx.load_from_string(model).graph.node]
    convolutions = [
        layer for layer in layers if layer.kind == "correlation" or "Corr" in layer.name
    ]
    # None is computed twice, and none is taken apart.
    assert len(convolutions) == nodes.count("Conv") + nodes.count("ConvTranspose")
    # A ReLU, a sum or a product alone would read and write a whole map for one operation.
    alone = [layer.name for layer in layers if re.match(r"__myl_(Relu|Add|Mul)_myl", layer.name)]
    assert alone == []
    work = [layer for layer in layers if layer.kind not in {"signal", "wait"}]
    assert len(work) < len(nodes) / 2


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stage", list(Stage))
def test_an_exported_graph_builds_and_is_fused(
    api: Api, tiny_checkpoint: Path, stage: Stage, target: str
) -> None:
    model = export_model(tiny_checkpoint, stage).model
    check_fusion(layers_of(api, model, target), model)


def test_a_graph_that_it_lacks_is_refused_so_the_gate_can_fail(
    api: Api, tiny_checkpoint: Path
) -> None:
    model = export_model(tiny_checkpoint).model
    with pytest.raises(EngineLoadError, match="refused the model"):
        build_plan(api, model[: len(model) // 2])


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=pytest.mark.full if t != "SM86" else ()) for t in TARGETS]
)
def test_the_shipped_bundle_builds_and_is_fused(api: Api, target: str) -> None:
    for variant in open_bundle().variants.values():
        check_fusion(layers_of(api, variant.model, target), variant.model)
