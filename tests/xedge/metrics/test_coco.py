"""COCO's average precision: by hand, and against the project's own matching."""

import math
import sys

import numpy as np
import pytest

from xedge.errors import ConfigError, InputError
from xedge.metrics import (
    COCO_THRESHOLDS,
    average_precision,
    coco_average_precision,
    precision_recall,
)

SMALL, MEDIUM, LARGE = (0, 0, 20, 20), (0, 0, 50, 50), (0, 0, 100, 100)


@pytest.fixture(autouse=True)
def _library() -> None:
    pytest.importorskip("faster_coco_eval", reason="the extra `train` brings it")


def test_sizes_and_classes_by_hand(found, truth) -> None:
    # Class 0: small found, medium missed (another class's name), large found at IoU 0.8.
    truths = [truth((*SMALL, 0)), truth((*MEDIUM, 0)), truth((*LARGE, 0)), truth((*SMALL, 1))]
    detections = [
        found((*SMALL, 0.9, 0)),
        found((*MEDIUM, 0.8, 2)),
        found((0, 0, 100, 80, 0.7, 0)),
        found((*SMALL, 0.6, 1)),
    ]
    result = coco_average_precision(detections, truths, 3)
    # Two of three found: recalls 0 to 0.66 have precision 1, so 67 of 101; and at IoU above
    # 0.8, one of three: 34 of 101. The large one passes 7 of 10 thresholds.
    assert result.ap50_by_class[0] == pytest.approx(67 / 101)
    assert result.ap_by_class[0] == pytest.approx((7 * 67 + 3 * 34) / 10 / 101)
    assert result.ap_by_class[1] == pytest.approx(1.0)
    assert math.isnan(result.ap_by_class[2])
    assert result.ap50 == result.ap75 == pytest.approx((67 / 101 + 1) / 2)
    assert result.ap == pytest.approx((result.ap_by_class[0] + 1) / 2)
    assert result.ap_small == pytest.approx(1.0)
    assert result.ap_medium == 0.0
    assert result.ap_large == pytest.approx(0.7)


def test_a_difficult_object_is_a_crowd(found, truth) -> None:
    rows = [(*SMALL, 0), (50, 50, 90, 90, 0)]
    detections = [found((50, 50, 90, 90, 0.9, 0), (50, 50, 90, 90, 0.8, 0), (*SMALL, 0.7, 0))]
    easy = coco_average_precision(detections, [truth(*rows, difficult=[False, True])], 1)
    assert easy.ap50 == pytest.approx(1.0)
    # As an object like any other: hit, double, hit: precision 1 up to recall 0.5, then 2/3.
    hard = coco_average_precision(detections, [truth(*rows)], 1)
    assert hard.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nothing_to_find_is_nan_and_nothing_found_is_zero(found, truth) -> None:
    for detections, truths in (([], []), ([found()], [truth()]), ([found((*SMALL, 0.9, 1))],
                                                                 [truth()])):  # fmt: skip
        result = coco_average_precision(detections, truths, 2)
        assert math.isnan(result.ap)
        assert math.isnan(result.ap_large)
        assert all(math.isnan(value) for value in result.ap50_by_class)
    nothing = coco_average_precision([found()], [truth((*SMALL, 0))], 1)
    assert nothing.ap == nothing.ap50_by_class[0] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_our_curve_at_coco_s_recalls_is_coco_s_precision(random_images, seed) -> None:
    # The same matches: where scores and overlaps differ, COCO's rule is ours.
    detections, truths = random_images(seed)
    theirs = coco_average_precision(detections, truths, 3)
    for label in range(3):
        means = []
        for iou in COCO_THRESHOLDS:
            curve = precision_recall(detections, truths, label, iou)
            ceiling = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], 0)
            first = np.searchsorted(curve.recall, np.linspace(0, 1, 101), side="left")
            means.append(ceiling[first].mean())
        # Means of at most 1010 terms in 0..1, each rounded to a few 1e-16.
        assert theirs.ap50_by_class[label] == pytest.approx(means[0], abs=1e-12)
        assert theirs.ap_by_class[label] == pytest.approx(np.mean(means), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_all_points_and_101_points_differ_by_at_most_a_hundredth(random_images, seed) -> None:
    # Precision f over recall falls. With S the sum of f(0), f(0.01), ... f(1), COCO's AP is
    # S / 101, and the area lies between the lower sum (S - f(0)) / 100 and the upper sum
    # (S - f(1)) / 100. So area - AP lies between (AP - f(0)) / 100 and (AP - f(1)) / 100, which
    # is within 0.01.
    detections, truths = random_images(seed)
    ours = average_precision(detections, truths, 3)
    theirs = coco_average_precision(detections, truths, 3)
    pairs = [
        *zip(ours.ap50_by_class, theirs.ap50_by_class, strict=True),
        *zip(ours.ap_by_class, theirs.ap_by_class, strict=True),
        (ours.ap50, theirs.ap50),
        (ours.ap, theirs.ap),
    ]
    assert all(abs(a - b) <= 0.01 for a, b in pairs)
    assert any(a != b for a, b in pairs)


def test_without_the_library_the_remedy_is_named(found, truth, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ConfigError, match=r"faster-coco-eval.*pip install 'xedge\[train\]'"):
        coco_average_precision([found()], [truth()], 1)


def test_bad_input_is_refused(found, truth) -> None:
    with pytest.raises(InputError, match="same images"):
        coco_average_precision([found()], [], 1)
    with pytest.raises(InputError, match="no class"):
        coco_average_precision([found()], [truth((*SMALL, 1))], 1)
