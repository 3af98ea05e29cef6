"""Precision and recall of each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xedge.metrics import Curve, multilabel_average_precision
from xedge.models.base import Classifier, ModelConfig
from xedge.train.batch import Batch
from xedge.train.explain.curves import ClassCurve, class_curves
from xedge.train.explain.record import POINTS, points

PRESENCE = np.int8([[1, -1, -1], [-1, 1, -1], [1, 0, -1], [-1, -1, -1]])
SCORES = np.float32([[0.9, 0.6, 0.1], [0.8, 0.5, 0.2], [0.7, 0.9, 0.3], [0.2, 0.1, 0.4]])


class Told(Classifier):
    """Answers the scores above, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ModelConfig(classes=("a", "b", "c"))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(SCORES)[planes[:, 0, 0, 0].long()]

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs

    def locate(self, outputs: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        raise NotImplementedError


def batches() -> list[Batch]:
    planes = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    planes[:, 0, 0, 0] = torch.arange(4)
    none = [torch.zeros(0)] * 2
    return [
        Batch(["", ""], planes[k : k + 2], none, none, none, torch.from_numpy(PRESENCE[k : k + 2]))
        for k in (0, 2)
    ]


@pytest.fixture
def spec3(spec):
    import dataclasses

    return dataclasses.replace(spec, classes=("a", "b", "c"))


def test_a_classifier_has_the_curves_of_whole_pictures(spec3) -> None:
    a, b, c = class_curves(Told(), spec3, batches())
    np.testing.assert_array_equal(a.curve.scores, SCORES[[0, 1, 2, 3], 0])
    np.testing.assert_allclose(a.curve.precision, [1, 1 / 2, 2 / 3, 2 / 4])
    np.testing.assert_allclose(a.curve.recall, [1 / 2, 1 / 2, 1, 1])
    # The picture where b is difficult is left out, though it has the best score.
    np.testing.assert_array_equal(b.curve.scores, np.float32([0.6, 0.5, 0.1]))
    np.testing.assert_allclose(b.curve.precision, [0, 1 / 2, 1 / 3])
    assert c.curve.objects == 0
    expected = multilabel_average_precision(SCORES, PRESENCE).by_class
    np.testing.assert_array_equal([x.area for x in (a, b, c)], expected)


def test_a_threshold_lies_on_the_curve(spec3) -> None:
    a, _, c = class_curves(Told(), spec3, batches())
    assert a.at(0.75) == pytest.approx((0.5, 0.5))
    assert a.at(0.7) == pytest.approx((1.0, 2 / 3))
    assert a.at(0.95) is None
    assert c.at(0.1) is None


def test_a_detector_has_the_curves_of_its_boxes(recipe, build, spec, planes) -> None:
    from xedge.metrics import Truth, average_precision
    from xedge.train.explain.findings import detect
    from xedge.train.explain.subjects import Subject

    model = build(recipe())
    found = detect(model, spec, Subject("", planes.numpy(), np.zeros((1, 1, 3), np.uint8)))
    boxes, labels = found.boxes[:2], found.labels[:2]
    batch = Batch(
        ["x"], planes[None], [torch.tensor(boxes)], [torch.tensor(labels).long()],
        [torch.zeros(2, dtype=torch.long)], torch.ones(1, 3, dtype=torch.int8),
    )  # fmt: skip
    curves = class_curves(model, spec, [batch])
    assert sum(one.curve.objects for one in curves) == 2
    expected = average_precision([found], [Truth(boxes, labels)], 3).ap50_by_class
    np.testing.assert_array_equal([one.area for one in curves], expected)
    assert curves[labels[0]].area == 1.0


def test_points_are_the_corners_of_a_curve() -> None:
    hit = np.array([True, False, False, True, False, False])
    recall = np.cumsum(hit) / 2
    precision = np.cumsum(hit) / np.arange(1, 7)
    scores = np.linspace(0.9, 0.4, 6).astype(np.float32)
    found = points(ClassCurve("a", Curve(scores, precision, recall, 2), 0.75))
    assert [(r, p) for r, p, _ in found] == [(0.5, 1), (0.5, 0.3333), (1, 0.5), (1, 0.3333)]
    many = np.ones(1000)
    long = Curve(many.astype(np.float32), many, np.arange(1, 1001) / 1000, 1000)
    assert len(points(ClassCurve("a", long, 1.0))) == POINTS
    none = np.zeros(0)
    assert points(ClassCurve("a", Curve(none.astype(np.float32), none, none, 1), 0.0)) == []
