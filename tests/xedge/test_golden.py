"""Golden answers: engines that agree with the recorded one, and those that do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from xedge import engines
from xedge.bundle import Tolerance, Variant, open_bundle, write_bundle
from xedge.engines.base import TensorSpec
from xedge.engines.fake import FakeEngine
from xedge.errors import EngineRunError
from xedge.golden import compare_golden, golden_planes, verify_golden
from xedge.preprocess import pseudo_colour
from xedge.spec import Channels, Kind
from xedge.types import AIR_COUNTS, Detections


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_float32_engines_reproduce_the_golden_answer(tiny_bundle, name) -> None:
    if not (there := engines.available()[name]).usable:
        pytest.skip(str(there))
    opened = open_bundle(tiny_bundle)
    result = verify_golden(opened, engines.load(opened.model(), name, 1))
    assert result.objects == 8
    assert result.missing == 0
    assert result.score_error <= 2**-23


@pytest.mark.parametrize("what", ["scores", "boxes", "labels"])
def test_another_answer_is_refused(tiny_bundle, tiny_answer, what) -> None:
    def wrong(planes):
        right = tiny_answer(planes)
        parts = {n: getattr(right, n).copy() for n in ("boxes", "scores", "labels")}
        parts[what][3] = {"scores": 0.35, "boxes": [0, 0, 1, 1], "labels": 1}[what]
        if what == "labels":
            parts[what][:] = 1 - right.labels
        return Detections(**parts)

    engine = FakeEngine(wrong, height=32, width=32, candidates=8)
    with pytest.raises(EngineRunError, match=r"golden answer.*xedge doctor"):
        verify_golden(open_bundle(tiny_bundle), engine)


def test_a_wider_tolerance_forgives_small_differences(tiny_bundle, tiny_answer) -> None:
    def rounded(planes):
        right = tiny_answer(planes)
        return Detections(right.boxes.copy(), right.scores - np.float32(0.01), right.labels.copy())

    engine = FakeEngine(rounded, height=32, width=32, candidates=8)
    opened = open_bundle(tiny_bundle)
    with pytest.raises(EngineRunError):
        verify_golden(opened, engine)
    result = verify_golden(opened, engine, tolerance=Tolerance(score=0.02, iou=0.9))
    assert result.score_error == pytest.approx(0.01, abs=1e-6)


def test_swapped_rows_of_equal_rank_are_the_same_answer(tiny_bundle, tiny_answer) -> None:
    def swapped(planes):
        right = tiny_answer(planes)
        order = np.arange(8)[::-1]
        return Detections(right.boxes[order], right.scores[order], right.labels[order])

    engine = FakeEngine(swapped, height=32, width=32, candidates=8)
    assert verify_golden(open_bundle(tiny_bundle), engine).missing == 0


def test_differences_are_measured(tiny_bundle, tiny_answer) -> None:
    def moved(planes):
        right = tiny_answer(planes)
        return Detections(right.boxes + np.float32(0.25), right.scores.copy(), right.labels.copy())

    engine = FakeEngine(moved, height=32, width=32, candidates=8)
    result = compare_golden(open_bundle(tiny_bundle), engine)
    assert result.box_error == 0.25
    assert result.missing == 16  # an IoU of (5.75 / 6)^2 / (2 - that) = 0.85 is another box
    assert result.flips == 0  # and yet in its place
    assert result.score_error == 0
    none = FakeEngine(lambda _: Detections.empty(), height=32, width=32, candidates=8)
    lost = compare_golden(open_bundle(tiny_bundle), none)
    assert lost.flips == 1
    assert lost.box_error is None
    assert lost.missing == 8


@dataclasses.dataclass
class Pointing:
    """An engine of a classifier that answers the same whatever it sees."""

    answer: Mapping[str, Any]
    inputs = (TensorSpec("planes", np.dtype(np.uint8), (1, 3, 32, 32)),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(n, a.dtype, a.shape) for n, a in self.answer.items())

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        assert feeds["planes"].shape == (1, 3, 32, 32)
        return self.answer

    def close(self) -> None:
        pass


@pytest.fixture
def classifier(tiny_parts, tiny_spec):
    """Arguments of `write_bundle` for a classifier of two classes."""
    spec = dataclasses.replace(tiny_spec, kind=Kind.CLASSIFIER, candidates=0)
    golden = {
        "scores": np.array([[0.9, 0.2]], np.float32),
        "maps": np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4),
    }
    return {**tiny_parts, "spec": spec, "variants": {"fp32": Variant(b"graph", golden)}}


def test_a_classifier_is_held_against_its_scores_and_maps(classifier, tmp_path) -> None:
    write_bundle(tmp_path / "c.xedge", **classifier)
    bundle = open_bundle(tmp_path / "c.xedge")
    golden = bundle.variant().golden
    same = verify_golden(bundle, Pointing(golden))
    assert (same.score_error, same.map_error, same.flips, same.box_error) == (0, 0, 0, None)
    other = Pointing({**golden, "scores": np.array([[0.4, 0.2]], np.float32)})
    found = compare_golden(bundle, other)
    assert found.flips == 0.5  # the first class alarms at 0.5 no more
    assert found.score_error == pytest.approx(0.5)
    shifted = Pointing({**golden, "maps": golden["maps"] + np.float32(31 * 0.01)})
    assert compare_golden(bundle, shifted).map_error == pytest.approx(0.01, rel=1e-4)
    for wrong in (other, shifted):
        with pytest.raises(EngineRunError, match="golden answer"):
            verify_golden(bundle, wrong)
    with pytest.raises(EngineRunError, match="of another size"):
        compare_golden(bundle, Pointing({**golden, "maps": np.zeros((1, 2, 3, 3), np.float32)}))
    with pytest.raises(EngineRunError, match="not finite"):
        compare_golden(bundle, Pointing({**golden, "maps": golden["maps"] * np.nan}))


def test_a_model_of_pictures_sees_the_counts_in_pseudo_colour(tiny_parts, tiny_spec) -> None:
    spec = dataclasses.replace(tiny_spec, channels=Channels.PSEUDO_COLOUR, binning=1)
    low, high = (tiny_parts[f"golden_{name}"][:32, :30] for name in ("low", "high"))
    planes = golden_planes(low, high, spec)
    np.testing.assert_array_equal(planes[0, :, :, :30].transpose(1, 2, 0), pseudo_colour(low, high))
    assert (planes[0, :, :, 30:] == 255).all()
    air = np.full((2, 2), AIR_COUNTS, np.uint16)
    assert (golden_planes(air, air, spec) == 255).all()
