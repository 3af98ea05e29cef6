"""Two backward passes as one: the bound, what is kept, and the answer before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xedge_export.contract import Stage
from xedge_export.one_backward import (
    ROUNDING,
    OneBackward,
    largest_gradient,
    merge,
    pairs,
    with_one_backward,
)
from xedge_export.ranges import Range
from xedge_export.seed_scale import chains
from xedge_export.to_onnx import Exported
from xedge_export.verifier import verify

from xedge.engines import load
from xedge.errors import ExportError

LEVELS = ("P3", "P4", "P5")


def copy(model: ir.Model) -> ir.Model:
    return ir.serde.deserialize_model(ir.serde.serialize_model(model))


def seen(largest: float, levels: tuple[str, ...] = LEVELS) -> list[Range]:
    """Gradients of so much at these levels of the small detector, of depth 2."""
    names = [f"{level}/label_aware/backward/1/Conv" for level in levels]
    return [Range(name, "Conv", largest, 0.0, 0.0) for name in names]


def refined(model: ir.Model) -> list[np.ndarray]:
    """x and x' of every level on noise, in turn."""
    shown = copy(model)
    adds = [n for n in shown.graph if (n.name or "").endswith("label_aware/Add_1")]
    shown.graph.outputs.clear()
    shown.graph.outputs.extend(v for n in adds for v in (n.inputs[0], n.outputs[0]))
    engine = load(ir.serde.serialize_model(shown).SerializeToString(), "onnxruntime", threads=1)
    planes = np.random.default_rng(1).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)
    answer = engine.run({"planes": planes})
    engine.close()
    return list(answer.values())


@given(g=st.floats(-50, 50))
def test_the_bound_holds(g: float) -> None:
    # 1e-15: rounding of float64 where both sides are tiny.
    assert abs(np.tanh(g / 2) / 2 - g / 4) <= abs(g) ** 3 / 48 + 1e-15


@pytest.mark.parametrize("number_format", list(ROUNDING))
def test_at_the_limit_the_bound_is_what_rounding_changes(number_format: str) -> None:
    limit = largest_gradient(2.0, number_format)
    assert 2 * limit**3 / 48 == pytest.approx(ROUNDING[number_format])


def test_small_gradients_take_one_pass(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    before = tiny_graph(Stage.REFINED)
    after = copy(before)
    shorten = OneBackward(seen(largest_gradient(2.0) / 4))
    assert shorten(after).modified
    assert [d.one for d in shorten.decisions] == [True] * 3
    verify(after)
    for (scope, long), (same, short) in zip(chains(before.graph), chains(after.graph), strict=True):
        assert scope == same
        assert [n.outputs[0].shape[0] for n in long] == [2, 2, 2]  # type: ignore[index]
        assert [n.outputs[0].shape[0] for n in short] == [1, 1, 1]  # type: ignore[index]
    assert not any(n.op_type in ("Tanh", "Split") for n in after.graph if "label_aware" in n.name)  # type: ignore[operator]
    assert not list(pairs(after.graph))  # a second time nothing is left to do


def test_what_it_changes_is_within_the_bound(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    before = tiny_graph(Stage.REFINED)
    gradients = copy(before)
    ends = [chain[-1].outputs[0] for _, chain in chains(before.graph)]
    names = {v.name for v in ends}
    gradients.graph.outputs.clear()
    gradients.graph.outputs.extend(v for n in gradients.graph for v in n.outputs if v.name in names)
    engine = load(ir.serde.serialize_model(gradients).SerializeToString(), "onnxruntime", threads=1)
    planes = np.random.default_rng(1).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)
    largest = [float(np.abs(g).max()) for g in engine.run({"planes": planes}).values()]
    after = copy(before)
    for scope, found in list(pairs(after.graph)):
        merge(after.graph, scope, found)
    a, b = refined(before), refined(after)
    for x, long, short, g in zip(a[0::2], a[1::2], b[1::2], largest, strict=True):
        # Beside the bound: rounding of a gradient through three convolutions of 144 terms, and of
        # the sum, some 1e-6 of the largest; the update itself is larger, or nothing is shown.
        room = (2 * g**3 / 48 + 1e-6 * (1 + g)) * np.abs(x).max()
        assert np.abs(long - short).max() <= room
        assert np.abs(long - x).max() > 3 * np.abs(long - short).max()


def test_large_or_unknown_gradients_keep_two(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    model = copy(tiny_graph(Stage.REFINED))
    untouched = ir.serde.serialize_model(model).SerializeToString()
    too_large = OneBackward(seen(1.01 * largest_gradient(2.0) / 4))
    assert not too_large(model).modified
    assert not OneBackward([])(model).modified
    assert not OneBackward(seen(float("nan")))(model).modified
    assert ir.serde.serialize_model(model).SerializeToString() == untouched
    # In half precision the same gradients are small.
    assert OneBackward(too_large.ranges, "float16")(model).modified


def test_each_level_is_judged_by_itself(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    model = copy(tiny_graph(Stage.REFINED))
    shorten = OneBackward(seen(1e-4, ("P4",)) + seen(1.0, ("P3", "P5")))
    assert shorten(model).modified
    assert [d.one for d in shorten.decisions] == [False, True, False]
    verify(model)
    assert [scope for scope, _ in pairs(model.graph)] == ["P3/label_aware/", "P5/label_aware/"]


def test_coefficients_are_read_from_the_graph(small: Callable[[str], Exported]) -> None:
    # a = 1, b = c = 5: the limit is a cube root of five smaller.
    model = ir.serde.deserialize_model(onnx.load_model_from_string(small("fcos-lacls-doam").model))
    shares = [found.share for _, found in pairs(model.graph)]
    assert shares == pytest.approx([10.0] * len(shares))
    assert shares


@pytest.mark.parametrize("name", ["atss-lareg-top4", "ssd-doam-paper"])
def test_a_model_with_one_pass_or_none_is_refused(
    small: Callable[[str], Exported], name: str
) -> None:
    with pytest.raises(ExportError, match="no two backward passes"):
        with_one_backward(small(name), [])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ExportError, match="float32, float16, bfloat16"):
        OneBackward([], "int8")
    with pytest.raises(ExportError, match="headroom"):
        OneBackward([], headroom=0.5)
