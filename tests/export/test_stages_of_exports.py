"""Exported graphs in two stages: the cut is found in every precision, and answers stay."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_export.contract import Stage
from xedge_export.fp16 import to_fp16
from xedge_export.one_backward import merge, pairs
from xedge_export.to_onnx import Exported

from xedge import engines
from xedge.engines.stages import in_two
from xedge.engines.tensorrt_api import open_api
from xedge.engines.tensorrt_build import BuildOptions, build_plan
from xedge.engines.two_stage import TwoStage
from xedge.errors import EngineLoadError

LEVELS, CLASSES = 3, 3
WINDOWS = np.random.default_rng(3).integers(0, 256, (2, 1, 3, 96, 128), dtype=np.uint8)


def data_of(model: ir.Model) -> bytes:
    return bytes(ir.serde.serialize_model(model).SerializeToString())


def one_backward(model: ir.Model) -> ir.Model:
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    for scope, found in list(pairs(copy.graph)):
        merge(copy.graph, scope, found)
    return copy


def in_eight_bits(model: ir.Model, form: str) -> ir.Model:
    tensors = place(model.graph, FORMS[form]).tensors
    return to_int8(model, observe(model, tensors, WINDOWS[:, 0]), FORMS[form])


MADE: dict[str, Callable[[ir.Model], ir.Model]] = {
    "fp32": lambda model: model,
    "one-backward": one_backward,
    "fp16": to_fp16,
    "int8": lambda model: in_eight_bits(model, "int8"),
    "int8-fp16": lambda model: in_eight_bits(model, "int8-fp16"),
}


ROUNDED = {"fp16": 0.01, "int8": 0.05, "int8-fp16": 0.05}
"""How far scores may be apart, as in `xedge.golden.TOLERANCES`: a CPU computes half precision in
float32 and rounds at the cut alone, and eight bits round to another step after such a rounding."""


@pytest.fixture(scope="module")
def made(tiny_graph: Callable[[Stage], ir.Model]) -> Callable[[str], bytes]:
    """The small detector's refined graph in a form of `MADE`; each is made once."""
    return functools.cache(lambda form: data_of(MADE[form](tiny_graph(Stage.REFINED))))


def check_alike(model: bytes, name: str, classes: int = CLASSES, within: float = 1e-5) -> None:
    stages = in_two(model, classes)
    both = [engines.load(m, name, 1) for m in (stages.first, stages.second)]
    two, whole = TwoStage(both[0], both[1], stages, 0.0), engines.load(model, name, 1)
    for planes in WINDOWS:
        found, wanted = two.run({"planes": planes}), whole.run({"planes": planes})
        assert two.score > 0
        # The same operators in the same types; where a library fuses across the cut, sums of
        # some hundred products in another order: 1e-5 of a score.
        assert np.abs(found["scores"] - wanted["scores"]).max() < within
        if within > 1e-5:
            continue
        ties = np.abs(np.diff(wanted["scores"][0])) < 2e-5  # these may change places
        sure = ~np.concatenate([[False], ties]) & ~np.concatenate([ties, [False]])
        assert sure.sum() > 5
        assert np.array_equal(found["labels"][0][sure], wanted["labels"][0][sure])
        assert np.abs(found["boxes"] - wanted["boxes"])[0][sure].max() < 1e-2


@pytest.mark.parametrize("form", list(MADE))
def test_the_cut_is_found_in_every_precision(made: Callable[[str], bytes], form: str) -> None:
    stages = in_two(made(form), CLASSES)
    assert len(stages.scores) == LEVELS
    first, second = (onnx.load_model_from_string(m) for m in (stages.first, stages.second))
    for part in (first, second):
        onnx.checker.check_model(part, full_check=True)
    # The backbone is in the first stage alone, and what follows the scores in the second.
    assert not any(n.name.startswith("pyramid/backbone") for n in second.graph.node)
    assert not any("backward" in n.name or "tower" in n.name for n in first.graph.node)
    # Of every level x, its scores, and of each of two layers xhat and a statistic.
    assert len(stages.carried) == LEVELS * (2 + 2 * 2)


@pytest.mark.parametrize("form", list(MADE))
def test_two_stages_answer_as_the_whole(made: Callable[[str], bytes], form: str) -> None:
    check_alike(made(form), "onnxruntime", within=ROUNDED.get(form, 1e-5))


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_they_do_in_openvino(made: Callable[[str], bytes], form: str) -> None:
    if not (there := engines.available()["openvino"]).usable:
        pytest.skip(str(there))
    check_alike(made(form), "openvino", within=ROUNDED.get(form, 1e-5))


@pytest.mark.parametrize("name", ["fcos-lacls-doam", "atss-early", "paa-misleading-only"])
def test_every_step_that_asks_classes_has_a_first_pass(
    small: Callable[[str], Exported], name: str
) -> None:
    exported = small(name)
    check_alike(exported.model, "onnxruntime", len(exported.spec.classes))


def test_a_step_that_asks_bins_and_a_model_without_one_have_none(
    small: Callable[[str], Exported], tiny_graph: Callable[[Stage], ir.Model]
) -> None:
    for model in (small("atss-lareg-top4").model, data_of(tiny_graph(Stage.FIRST_PASS))):
        with pytest.raises(EngineLoadError, match="no first pass"):
            in_two(model, CLASSES)


@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=() if f == "fp32" else pytest.mark.full) for f in MADE]
)
def test_both_stages_build_with_tensorrt_rtx(made: Callable[[str], bytes], form: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    api = open_api("tensorrt_rtx", "TensorRT-RTX", "tensorrt-rtx")
    stages = in_two(made(form), CLASSES)
    for part in (stages.first, stages.second):
        built = build_plan(api, part, BuildOptions(targets=("SM86",)))
        assert len(built.plan) > 10_000
