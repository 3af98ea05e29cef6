"""Where a graph is cut: found by names, with as little between the stages as may be."""

from __future__ import annotations

import pytest

from xedge.engines.cut import take_apart
from xedge.engines.stages import first_scores, in_two
from xedge.errors import EngineLoadError

onnx = pytest.importorskip("onnx", reason="onnx changes the test's model")


def renamed(model: bytes, old: str, new: str) -> bytes:
    """The model with another text in its nodes' names."""
    loaded = onnx.load_model_from_string(model)
    for node in loaded.graph.node:
        node.name = node.name.replace(old, new)
    return bytes(loaded.SerializeToString())


def test_the_cut_is_at_the_first_pass(label_aware_onnx: bytes) -> None:
    stages = in_two(label_aware_onnx, 2)
    assert stages.scores == ("first",)
    # The mask is made again of x: it is no float, and would be a copy.
    assert stages.carried == ("x", "first")
    first, second = (onnx.load_model_from_string(m).graph for m in (stages.first, stages.second))
    assert [value.name for value in first.output] == ["first", "x"]
    assert [value.name for value in second.input] == ["x", "first"]
    assert [value.name for value in second.output] == ["boxes", "scores", "labels"]
    assert "Greater_above" in {node.name for node in second.node}
    assert "Greater_above" in {node.name for node in first.node}


def test_the_early_version_is_found_as_well(label_aware_onnx: bytes) -> None:
    assert in_two(renamed(label_aware_onnx, "label_aware", "early"), 2).scores == ("first",)


@pytest.mark.parametrize("classes", [1, 3, 8])
def test_scores_of_something_else_than_classes_are_no_first_pass(
    label_aware_onnx: bytes, classes: int
) -> None:
    for asked in (lambda: first_scores(take_apart(label_aware_onnx), classes),
                  lambda: in_two(label_aware_onnx, classes)):  # fmt: skip
        with pytest.raises(
            EngineLoadError, match=r"stop after.*\[1, 2, 32, 32\] in P3/label_aware"
        ):
            asked()


@pytest.mark.parametrize("shape", [None, 3])
def test_a_level_whose_scores_are_not_known_is_refused(
    label_aware_onnx: bytes, shape: int | None
) -> None:
    """Windows would stop for what the other levels say."""
    model = onnx.load_model_from_string(label_aware_onnx)
    (node,) = (n for n in model.graph.node if n.output[0] == "first")
    more = model.graph.node.add()
    more.CopyFrom(node)
    more.name, more.output[0] = "P4/label_aware/Sigmoid", "other"
    if shape is not None:
        (value,) = (v for v in model.graph.value_info if v.name == "first")
        said = model.graph.value_info.add()
        said.CopyFrom(value)
        said.name = "other"
        said.type.tensor_type.shape.dim[1].dim_value = shape
    said = "unknown shape" if shape is None else "1, 3, "
    with pytest.raises(EngineLoadError, match=f"no first pass.*{said}.*in P4/label_aware"):
        in_two(bytes(model.SerializeToString()), 2)


def test_a_model_without_the_step_has_no_first_pass(
    label_aware_onnx: bytes, tiny_onnx: bytes
) -> None:
    for model in (tiny_onnx, renamed(label_aware_onnx, "label_aware", "head")):
        with pytest.raises(EngineLoadError, match="Refine every window"):
            in_two(model, 2)


def test_a_value_that_engines_do_not_carry_is_refused(label_aware_onnx: bytes) -> None:
    model = onnx.load_model_from_string(label_aware_onnx)
    for node in model.graph.node:
        if node.output[0] == "above":  # not cheap, and a bool
            node.op_type = "GreaterOrEqual"
    with pytest.raises(EngineLoadError, match=r"in two stages.*above"):
        in_two(bytes(model.SerializeToString()), 2)
