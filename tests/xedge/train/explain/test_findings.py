"""A model's answer, held against the truth, with its maps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from xedge.metrics import Truth
from xedge.train.checkpoint import Checkpoint
from xedge.train.explain.findings import KINDS, Map, explain, judge
from xedge.train.explain.maps import grad_cam
from xedge.train.explain.subjects import Subject, colours
from xedge.train.recipe import load_recipe
from xedge.train.systems import SYSTEMS
from xedge.types import Detections


def detections(*rows: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    labels, scores, boxes = zip(*rows, strict=True)
    return Detections(np.float32(boxes), np.float32(scores), np.int32(labels))


BOX = (10.0, 10.0, 30.0, 30.0)
NEAR = (12.0, 10.0, 32.0, 30.0)
FAR = (60.0, 60.0, 80.0, 80.0)


def test_reports_are_right_once_and_objects_without_one_are_missed() -> None:
    truth = Truth(np.float32([BOX, FAR]), np.int32([0, 1]))
    reports = detections((0, 0.9, NEAR), (0, 0.8, BOX), (2, 0.7, FAR))
    right, missed = judge(reports, truth)
    assert right.tolist() == [True, False, False]  # the second finds what is found already
    assert missed.tolist() == [False, True]  # a report of another class does not find it
    difficult = Truth(truth.boxes, truth.labels, difficult=np.ones(2, bool))
    right, missed = judge(reports, difficult)
    assert right.tolist() == [True, True, False]  # of difficult ones any number are no mistake
    assert not missed.any()
    right, missed = judge(reports, None)
    assert not right.any()
    assert missed.size == 0


def test_a_detector_explains_reports_and_missed_objects(recipe, build, spec, subject) -> None:
    model = build(recipe('[model.doam]\n', label_aware=True))  # fmt: skip
    truth = Truth(np.float32([FAR]), np.int32([2]))
    finding = explain(model, spec, dataclasses.replace(subject, truth=truth))
    reported = finding.found[finding.reports]
    assert len(reported) > 3
    assert (reported.scores >= np.float32(spec.alarm_threshold)).all()
    names = [one.name for one in finding.maps]
    assert len(set(names)) == len(names)
    assert {one.kind for one in finding.maps} == set(KINDS) - {"CAM", "SXMNet"}
    cams = [one for one in finding.maps if one.kind == "HiResCAM"]
    assert len(cams) == 3 + int(finding.missed[0])
    for row, one in enumerate(cams[:3]):
        assert one.box.tolist() == finding.found.boxes[row].tolist()
        assert f"{finding.found.scores[row]:.2f}" in one.title
        assert one.judged == ("found" if finding.right[row] else "false")
        assert one.values.max() > 0
        label = int(finding.found.labels[row])
        planes = torch.from_numpy(subject.planes)
        by_place = grad_cam(model, planes, label, one.box, by_place=True)
        np.testing.assert_array_equal(one.values, by_place)
        other = next(
            m for m in finding.maps if m.title == one.title.replace("HiResCAM", "Grad-CAM")
        )
        np.testing.assert_array_equal(other.values, grad_cam(model, planes, label, one.box))


def test_a_missed_object_is_explained_where_it_is(recipe, build, spec, subject) -> None:
    quiet = dataclasses.replace(spec, alarm_threshold=1.0)
    truth = Truth(np.float32([FAR]), np.int32([2]))
    finding = explain(build(recipe()), quiet, dataclasses.replace(subject, truth=truth))
    assert [one.name for one in finding.maps] == [
        "hirescam-1-missed-utility_knife", "grad-cam-1-missed-utility_knife",
    ]  # fmt: skip
    assert finding.maps[0].box.tolist() == list(FAR)
    assert finding.maps[0].judged == "missed"


def test_without_reports_the_best_guess_is_explained(recipe, build, spec, subject) -> None:
    finding = explain(build(recipe()), dataclasses.replace(spec, alarm_threshold=1.0), subject)
    assert not finding.reports.any()
    assert [one.kind for one in finding.maps] == ["HiResCAM", "Grad-CAM"]
    assert "best guess" in finding.maps[0].title
    assert f"{finding.found.scores[0]:.2f}" in finding.maps[0].title
    np.testing.assert_allclose(finding.maps[0].box, finding.found.boxes[0], rtol=1e-6)


def test_a_classifier_explains_what_is_there_and_what_it_thinks(classifier, spec, subject) -> None:
    finding = explain(classifier, spec, subject)
    assert finding.found is None
    best = max(finding.scores, key=lambda name: finding.scores[name])
    assert [one.name for one in finding.maps][:2] == [f"cam-{best}", f"grad-cam-{best}"]
    there = np.int8([-1, 0, 1])
    finding = explain(classifier, spec, dataclasses.replace(subject, presence=there))
    explained = [one.name for one in finding.maps if one.kind == "CAM"]
    assert explained[:2] == ["cam-knife", "cam-utility_knife"]


def test_a_peak_is_the_middle_of_the_largest_cell() -> None:
    values = np.zeros((3, 4), np.float32)
    values[2, 1] = 1
    assert Map("m", "m", "CAM", values).peak(96, 128) == pytest.approx((48.0, 80.0))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_can_be_explained(system: str) -> None:
    recipe, text = load_recipe(Path(f"{system}-tiny"))
    torch.manual_seed(0)
    model = SYSTEMS[system].build(recipe.model).eval()
    spec = Checkpoint(text, model.state_dict(), {}, "c" * 40).spec("a" * 64)
    size = (3, spec.height, spec.width)
    planes = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    finding = explain(model, spec, Subject("x", planes, colours(planes, spec.channels)))
    assert finding.maps
    for one in finding.maps:
        assert one.values.ndim == 2
        assert np.isfinite(one.values).all()
        if one.kind in ("Grad-CAM", "HiResCAM"):
            assert one.values.min() >= 0
        if one.kind == "HiResCAM":
            # Not what rounding leaves of a sum that is 0: float32 sums of 1e-2 err by 1e-8.
            assert one.values.max() > 1e-6
        if one.kind in ("SXMNet", "DOAM"):
            assert 0 <= one.values.min() < one.values.max() <= 1
    assert ("SXMNet" in {one.kind for one in finding.maps}) == (system == "sxmnet")
