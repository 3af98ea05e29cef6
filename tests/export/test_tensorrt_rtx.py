"""Every exported graph builds with TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import onnx
import onnx_ir as ir
import pytest
from xedge_export.contract import Stage
from xedge_export.fp16 import to_fp16
from xedge_export.to_onnx import export_model

from xedge.bundle import open_bundle


def build(trt: ModuleType, model: bytes, log: Any = None) -> tuple[int, list[str]]:
    """Size of the engine in bytes, 0 when it cannot be built, and what the parser refused."""
    log = log or trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        return 0, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    return (plan.nbytes if plan else 0), []


class Layer(NamedTuple):
    """A kernel of an engine, as the builder's log tells it."""

    name: str
    kind: str
    reads: list[str]
    writes: list[str]


def layers(trt: ModuleType, model: bytes) -> list[Layer]:
    """The kernels that a graph becomes, with the types that each reads and writes."""
    lines: list[str] = []

    class Log(trt.ILogger):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: object, text: str) -> None:
            lines.extend(text.splitlines())

    assert build(trt, model, Log())[0] > 0
    found = []
    for line in lines[lines.index("Layers:") + 1 :]:
        if match := re.match(r"Name: (\S+), LayerType: (\w+)", line):
            parts = (re.findall(r"Datatype: (\w+)", part) for part in line.split("Outputs:"))
            found.append(Layer(*match.groups(), *parts))
    return found


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


def to_bytes(model: ir.Model) -> bytes:
    return ir.serde.serialize_model(model).SerializeToString()


def test_half_precision_builds_and_convolves_in_half(
    tiny_graph: Callable[[Stage], ir.Model],
) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    built = layers(trt, to_bytes(to_fp16(tiny_graph(Stage.REFINED))))
    convolutions = [layer for layer in built if layer.kind == "correlation"]
    assert len(convolutions) > 20
    for layer in convolutions:
        # Behind the image come the weights; a scalar of float32 may follow.
        assert layer.reads[:2] == ["Half", "Half"], layer
        assert layer.writes == ["Half"], layer
    # A ReLU of the backbone has no kernel of its own, it is part of a convolution's.
    assert not any(layer.name.startswith("__myl_Relu_") for layer in built)


def test_float32_is_seen_by_the_gate(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    built = layers(trt, to_bytes(tiny_graph(Stage.FIRST_PASS)))
    assert {layer.writes[0] for layer in built if layer.kind == "correlation"} == {"Float"}


@pytest.mark.full
def test_the_shipped_bundle_builds_in_half_precision() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="extra tensorrt-rtx is not installed")
    model = ir.serde.deserialize_model(onnx.load_model_from_string(open_bundle().model()))
    size, refused = build(trt, to_bytes(to_fp16(model)))
    assert refused == []
    # Weights of half the size: a float32 plan has 27 MB.
    assert 1_000_000 < size < 20_000_000
