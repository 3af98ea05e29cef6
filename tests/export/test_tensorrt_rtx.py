"""Every exported graph builds with TensorRT-RTX by our own adapter, which needs no GPU for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_export.contract import Stage
from xedge_export.fp16 import to_fp16
from xedge_export.to_onnx import Exported, export_model
from xedge_export.zoo import Entry, zoo

from xedge.bundle import open_bundle
from xedge.engines.tensorrt_api import Api, open_api
from xedge.engines.tensorrt_build import BuildOptions, Layer, build_plan
from xedge.errors import EngineLoadError

TARGETS = ("SM86", "SM89", "SM120")
ENTRIES = zoo(Path("no-such-folder"))


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


def test_a_graph_of_every_mechanism_builds(api: Api, any_small: Exported) -> None:
    assert layers_of(api, any_small.model, "SM86")


def test_a_detector_of_every_mechanism_builds_in_half(api: Api, each_small: Exported) -> None:
    single = ir.serde.deserialize_model(onnx.load_model_from_string(each_small.model))
    half = to_bytes(to_fp16(single))
    assert layers_of(api, half, "SM86")


@pytest.mark.full
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_tiny_model_builds_in_every_form(
    api: Api, entry: Entry, tiny: Callable[[Entry], Exported]
) -> None:
    exported = tiny(entry)
    single = ir.serde.deserialize_model(onnx.load_model_from_string(exported.model))
    spec = exported.spec
    shape = (2, 3, spec.height, spec.width)
    planes = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    half, (mixed, count) = to_bytes(to_fp16(single)), in_eight_bits(single, "int8-fp16", planes)
    signed, _ = in_eight_bits(single, "int8", planes)
    assert count > 0
    for data in (exported.model, half, mixed, signed):
        # Plans of all targets in one build.
        built = build_plan(api, data, BuildOptions(targets=TARGETS))
        assert len(built.plan) > 10_000
        assert built.layers


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


def to_bytes(model: ir.Model) -> bytes:
    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data


def convolving(layers: tuple[Layer, ...]) -> list[Layer]:
    return [layer for layer in layers if layer.kind == "correlation"]


def test_half_precision_builds_and_convolves_in_half(
    api: Api, tiny_graph: Callable[[Stage], ir.Model]
) -> None:
    built = layers_of(api, to_bytes(to_fp16(tiny_graph(Stage.REFINED))), "SM86")
    convolutions = convolving(built)
    assert len(convolutions) > 20
    for layer in convolutions:
        # First comes the image; a scalar of float32 may follow.
        assert layer.inputs[0] == "Half", layer
        assert layer.outputs == ("Half",), layer
    # A ReLU of the backbone has no kernel of its own, it is part of a convolution's.
    assert not any(layer.name.startswith("__myl_Relu_") for layer in built)


def test_float32_is_seen_by_the_gate(api: Api, tiny_graph: Callable[[Stage], ir.Model]) -> None:
    built = layers_of(api, to_bytes(tiny_graph(Stage.FIRST_PASS)), "SM86")
    assert {layer.outputs[0] for layer in convolving(built)} == {"Float"}


NOISE = np.random.default_rng(3).integers(0, 256, (2, 3, 96, 128), dtype=np.uint8)


def in_eight_bits(
    model: ir.Model, variant: str, planes: npt.NDArray[np.uint8] = NOISE
) -> tuple[bytes, int]:
    """The model's variant, and how many of its convolutions are in integers."""
    placement = place(model.graph, FORMS[variant])
    made = to_int8(model, observe(model, placement.tensors, planes), FORMS[variant])
    return to_bytes(made), len(placement.convolutions)


@pytest.mark.parametrize(
    "stage", [Stage.REFINED, pytest.param(Stage.FIRST_PASS, marks=pytest.mark.full)]
)
def test_eight_bits_build_and_convolve_in_integers(
    api: Api, tiny_graph: Callable[[Stage], ir.Model], stage: Stage
) -> None:
    data, count = in_eight_bits(tiny_graph(stage), "int8-fp16")
    convolutions = convolving(layers_of(api, data, "SM86"))
    integers = [layer for layer in convolutions if layer.inputs[0] == "Int8"]
    # One with a kernel of 1x1 may be computed as a matrix product.
    assert count - 4 <= len(integers) <= count
    others = [layer for layer in convolutions if layer.inputs[0] != "Int8"]
    assert {layer.inputs[0] for layer in others} == {"Half"}


@pytest.mark.full
def test_eight_bits_among_float32_build(api: Api, tiny_graph: Callable[[Stage], ir.Model]) -> None:
    data, count = in_eight_bits(tiny_graph(Stage.REFINED), "int8")
    built = convolving(layers_of(api, data, "SM86"))
    assert sum(layer.inputs[0] == "Int8" for layer in built) >= count - 4


@pytest.mark.full
def test_the_shipped_bundle_builds_in_half_precision(api: Api) -> None:
    model = ir.serde.deserialize_model(onnx.load_model_from_string(open_bundle().model()))
    plan = build_plan(api, to_bytes(to_fp16(model)), BuildOptions(targets=("SM86",))).plan
    # Weights of half the size: a float32 plan has 27 MB.
    assert 1_000_000 < len(plan) < 20_000_000
