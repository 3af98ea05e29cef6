"""Every exported graph builds with TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from xedge_export.contract import Stage
from xedge_export.to_onnx import export_model

from xedge.bundle import open_bundle


def build(trt: ModuleType, model: bytes) -> tuple[int, list[str]]:
    """Size of the engine in bytes, 0 when it cannot be built, and what the parser refused."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse(model):
        return 0, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    plan = builder.build_serialized_network(network, config)
    return (plan.nbytes if plan else 0), []


@pytest.mark.parametrize("stage", list(Stage))
def test_an_exported_graph_builds(tiny_checkpoint: Path, stage: Stage) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    size, refused = build(trt, export_model(tiny_checkpoint, stage).model)
    assert refused == []
    assert size > 10_000


def test_a_graph_that_it_lacks_is_refused_so_the_gate_can_fail(tiny_checkpoint: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    model = export_model(tiny_checkpoint).model
    assert build(trt, model[: len(model) // 2])[0] == 0


def test_the_shipped_bundle_builds() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    size, refused = build(trt, open_bundle().model())
    assert refused == []
    assert size > 1_000_000
