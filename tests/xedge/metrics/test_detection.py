"""Average precision, against cases worked by hand and against a second, naive implementation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.boxes import iou
from xedge.errors import InputError
from xedge.metrics import (
    COCO_THRESHOLDS,
    Truth,
    area_under_curve,
    average_precision,
    best_threshold,
    precision_recall,
)
from xedge.types import Detections


def test_perfect_detections_score_one_at_every_threshold(found, truth) -> None:
    boxes = [(0, 0, 10, 10), (20, 20, 40, 30)]
    result = average_precision(
        [found(*[(*b, 0.9 - k / 10, k) for k, b in enumerate(boxes)])],
        [truth(*[(*b, k) for k, b in enumerate(boxes)])],
        classes=2,
    )
    assert result.ap50 == result.ap == 1.0
    assert result.ap50_by_class == (1.0, 1.0)
    assert result.objects_by_class == (1, 1)


def test_worked_by_hand_over_two_images(found, truth) -> None:
    # Three objects; hits at ranks 1, 3, 4 of four detections: precisions 1, 2/3, 3/4, made
    # non-increasing from the right 1, 3/4, 3/4, each worth a third of recall.
    images = [
        found((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0)),
        found((0, 0, 10, 10, 0.7, 0), (20, 0, 30, 10, 0.6, 0)),
    ]
    truths = [truth((0, 0, 10, 10, 0)), truth((0, 0, 10, 10, 0), (20, 0, 30, 10, 0))]
    assert average_precision(images, truths, 1).ap50 == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)


def test_a_second_detection_of_one_object_is_false(found, truth) -> None:
    # Ranks: hit, double (false), hit: precisions 1 and 2/3.
    images = [found((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0), (20, 0, 30, 10, 0.7, 0))]
    truths = [truth((0, 0, 10, 10, 0), (20, 0, 30, 10, 0))]
    assert average_precision(images, truths, 1).ap50 == pytest.approx((1 + 2 / 3) / 2)


def test_localisation_enters_the_mean_over_thresholds(found, truth) -> None:
    # IoU of 8/10: right at 0.50 to 0.80, wrong at 0.85, 0.90, 0.95.
    result = average_precision([found((0, 0, 10, 8, 0.9, 0))], [truth((0, 0, 10, 10, 0))], 1)
    assert result.ap50 == 1.0
    assert result.ap == pytest.approx(7 / 10)


def test_a_class_without_objects_is_left_out_of_the_mean(found, truth) -> None:
    result = average_precision(
        [found((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.9, 1))], [truth((0, 0, 10, 10, 0))], 2
    )
    assert result.ap50 == 1.0
    assert math.isnan(result.ap50_by_class[1])
    assert result.objects_by_class == (1, 0)


def test_nothing_found_is_zero_and_nothing_to_find_is_nan(truth) -> None:
    assert average_precision([Detections.empty()], [truth((0, 0, 1, 1, 0))], 1).ap50 == 0.0
    assert math.isnan(average_precision([Detections.empty()], [truth()], 1).ap50)
    assert math.isnan(average_precision([], [], 3).ap50)


def test_other_levels_are_ignored_and_not_false(found, truth) -> None:
    images = [found((0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0), (60, 0, 70, 10, 0.7, 0))]
    truths = [truth((0, 0, 10, 10, 0), (20, 0, 30, 10, 0), levels=[1, 3])]
    # Level 3: the detection of level 1 is ignored, so its one object is found at rank 1.
    assert average_precision(images, truths, 1, level=3).ap50 == 1.0
    assert average_precision(images, truths, 1, level=3).objects_by_class == (1,)
    # A detection of nothing counts against every level: rank 1 false, rank 2 right.
    ghost = [found((60, 0, 70, 10, 0.99, 0), (20, 0, 30, 10, 0.8, 0))]
    assert average_precision(ghost, truths, 1, level=3).ap50 == pytest.approx(1 / 2)
    assert math.isnan(average_precision(images, truths, 1, level=2).ap50)


def test_an_object_that_counts_is_preferred_to_an_ignored_one(found, truth) -> None:
    # The detection overlaps both; the ignored one overlaps more.
    images = [found((0, 0, 10, 10, 0.9, 0))]
    truths = [truth((0, 0, 10, 10, 0), (0, 0, 10, 8, 0), levels=[2, 1])]
    assert average_precision(images, truths, 1, level=1).ap50 == 1.0


def test_bad_input_is_refused(found, truth) -> None:
    with pytest.raises(InputError, match="same images"):
        average_precision([], [truth()], 1)
    with pytest.raises(InputError, match="no levels"):
        average_precision([found()], [truth()], 1, level=1)
    with pytest.raises(InputError, match="no class"):
        best_threshold([found((0, 0, 1, 1, 0.5, 7))], [truth()], 2)
    with pytest.raises(InputError, match="IoU threshold"):
        precision_recall([found()], [truth()], 0, iou=0.0)


def test_difficult_objects_are_neither_hit_nor_miss(found, truth) -> None:
    images = [found((0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0), (20, 0, 30, 10, 0.7, 0))]
    rows = [(0, 0, 10, 10, 0), (20, 0, 30, 10, 0), (60, 0, 70, 10, 0)]
    # All count: hit, hit, double; the third object is missed: 2/3.
    assert average_precision(images, [truth(*rows)], 1).ap50 == pytest.approx(2 / 3)
    # The second and third need not be found, and the two detections of the second do no harm.
    easy = average_precision(images, [truth(*rows, difficult=[False, True, True])], 1)
    assert easy.ap50 == 1.0
    assert easy.objects_by_class == (1,)
    assert easy.recall50_by_class == (1.0,)
    # The first is difficult: hit, double, of two objects.
    hard = average_precision(images, [truth(*rows, difficult=[True, False, False])], 1)
    assert hard.ap50 == pytest.approx(1 / 2)


corner = st.integers(0, 6)
box = st.tuples(corner, corner, st.integers(1, 6), st.integers(1, 6)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
objects = st.lists(st.tuples(box, st.integers(0, 1)), max_size=4)
candidates = st.lists(st.tuples(box, st.integers(0, 20), st.integers(0, 1)), max_size=6)


def naive_ap(detections: list[Detections], truths: list[Truth], label: int, at: float) -> float:
    """One detection at a time with plain Python lists."""
    order = sorted(
        (
            (-float(d.scores[i]), image, i)
            for image, d in enumerate(detections)
            for i in range(len(d))
            if d.labels[i] == label
        ),
    )
    total = sum(int((t.labels == label).sum()) for t in truths)
    used: set[tuple[int, int]] = set()
    hits: list[bool] = []
    for _, image, i in order:
        t = truths[image]
        best, best_iou = -1, -1.0
        for j in range(len(t.labels)):
            overlap = float(iou(detections[image].boxes[i : i + 1], t.boxes[j : j + 1])[0, 0])
            if t.labels[j] == label and (image, j) not in used and overlap > best_iou:
                best, best_iou = j, overlap
        hits.append(best_iou >= float(np.float32(at)))
        if hits[-1]:
            used.add((image, best))
    if not total:
        return math.nan
    area = 0.0
    for rank, right in enumerate(hits):
        if right:
            area += max(sum(hits[: r + 1]) / (r + 1) for r in range(rank, len(hits))) / total
    return area


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(objects, candidates), min_size=1, max_size=3))
def test_agrees_with_the_naive_implementation(found, truth, images) -> None:
    truths = [truth(*[(*b, k) for b, k in things]) for things, _ in images]
    detections = [found(*[(*b, s / 20, k) for b, s, k in rows]) for _, rows in images]
    result = average_precision(detections, truths, 2)
    for label in (0, 1):
        expected = [naive_ap(detections, truths, label, at) for at in COCO_THRESHOLDS]
        assert result.ap50_by_class[label] == pytest.approx(expected[0], nan_ok=True)
        assert result.ap_by_class[label] == pytest.approx(float(np.mean(expected)), nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 40))
def test_the_area_lies_between_nothing_and_recall(hits, extra) -> None:
    total = sum(hits) + extra
    area = area_under_curve(np.array(hits, bool), total)
    assert 0.0 <= area <= sum(hits) / total + 1e-12
    # One more false detection at the end changes nothing.
    assert area_under_curve(np.array([*hits, False], bool), total) == pytest.approx(area)


def test_the_best_threshold_by_hand(found, truth) -> None:
    # Two objects. Kept one by one: hit, false, hit, false. F2 = 5 h / (kept + 4 * 2):
    # 5/9, 5/10, 10/11, 10/12; so three are kept, and the threshold lies below the third.
    images = [
        found((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0)),
        found((0, 0, 10, 10, 0.6, 0), (50, 50, 60, 60, 0.2, 0)),
    ]
    objects = [truth((0, 0, 10, 10, 0)), truth((0, 0, 10, 10, 0))]
    assert best_threshold(images, objects, 1) == pytest.approx(0.4)
    # With beta near 0 only precision counts: the first alone.
    assert best_threshold(images, objects, 1, beta=0.01) == pytest.approx(0.85)


def test_no_objects_or_no_detections_have_no_threshold(found, truth) -> None:
    assert math.isnan(best_threshold([found((0, 0, 9, 9, 0.9, 0))], [truth()], 1))
    assert math.isnan(best_threshold([found()], [truth((0, 0, 9, 9, 0))], 1))


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=1, max_size=30))
def test_no_other_threshold_is_better(found, truth, rows: list[tuple[float, bool]]) -> None:
    images = [found((0, 0, 10, 10, score, 0)) for score, _ in rows]
    objects = [truth((0, 0, 10, 10, 0) if hit else (50, 50, 60, 60, 0)) for _, hit in rows]
    best = best_threshold(images, objects, 1)

    def f2(threshold: float) -> float:
        kept = [hit for score, hit in rows if np.float32(score) >= threshold]
        return 5 * sum(kept) / (len(kept) + 4 * len(rows))

    assert all(f2(best) >= f2(score) - 1e-12 for score, _ in rows)


def test_tied_scores_stand_or_fall_together(found, truth) -> None:
    # 0.5 twice, one right and one false: no threshold keeps the right one alone.
    # F2 for 1 and 3 kept, of two objects: 5/9 and 10/11.
    images = [found((0, 0, 9, 9, 0.9, 0), (20, 0, 29, 9, 0.5, 0), (50, 50, 60, 60, 0.5, 0))]
    objects = [truth((0, 0, 9, 9, 0), (20, 0, 29, 9, 0))]
    assert best_threshold(images, objects, 1) == pytest.approx(0.25)


def test_difficult_objects_do_not_move_the_threshold(found, truth) -> None:
    # The detection at 0.8 is ignored: the threshold lies between 0.9 and 0.3.
    images = [found((0, 0, 9, 9, 0.9, 0), (20, 0, 29, 9, 0.8, 0), (50, 50, 60, 60, 0.3, 0))]
    objects = [truth((0, 0, 9, 9, 0), (20, 0, 29, 9, 0), difficult=[False, True])]
    assert best_threshold(images, objects, 1) == pytest.approx(0.6)


def test_the_curve_by_hand(found, truth) -> None:
    images = [found((0, 0, 9, 9, 0.9, 0), (50, 50, 60, 60, 0.8, 0)), found((0, 0, 9, 9, 0.7, 0))]
    objects = [truth((0, 0, 9, 9, 0)), truth((0, 0, 9, 9, 0), (20, 0, 29, 9, 0))]
    curve = precision_recall(images, objects, 0)
    np.testing.assert_array_equal(curve.scores, np.array([0.9, 0.8, 0.7], np.float32))
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3])
    assert curve.objects == 3
    # Of another class there is nothing; the same at a level, and without an ignored detection.
    assert precision_recall(images, objects, 1).scores.size == 0
    levelled = [truth((0, 0, 9, 9, 0), levels=[2]), truth((0, 0, 9, 9, 0), levels=[1])]
    at_one = precision_recall(images, levelled, 0, level=1)
    np.testing.assert_allclose(at_one.precision, [0, 1 / 2])
    # Precision without an object is 0, recall is unknown.
    assert np.isnan(precision_recall(images, [truth(), truth()], 0).recall).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_area_below_the_curve_is_the_average_precision(random_images, seed) -> None:
    detections, truths = random_images(seed)
    result = average_precision(detections, truths, 3)
    for label in range(3):
        areas = []
        for iou_threshold in COCO_THRESHOLDS:
            curve = precision_recall(detections, truths, label, iou_threshold)
            ceiling = np.maximum.accumulate(curve.precision[::-1])[::-1]
            areas.append(float(ceiling @ np.diff(curve.recall, prepend=0)))
        # Sums of at most a few hundred terms in 0..1, each rounded to 1e-16.
        assert areas[0] == pytest.approx(result.ap50_by_class[label], abs=1e-12)
        assert np.mean(areas) == pytest.approx(result.ap_by_class[label], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_images_says_nothing(random_images, seed) -> None:
    # Scores all differ; ties would be taken in the order of images.
    detections, truths = random_images(seed)
    order = np.random.default_rng(seed).permutation(len(truths))
    mixed = average_precision([detections[k] for k in order], [truths[k] for k in order], 3)
    assert mixed == average_precision(detections, truths, 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(objects, candidates), min_size=1, max_size=3), st.integers(0, 20))
def test_only_the_order_of_scores_matters_and_ghosts_never_help(found, truth, images, rank) -> None:
    truths = [truth(*[(*b, k) for b, k in things]) for things, _ in images]

    def judge(score, ghosts=()):
        detections = [found(*[(*b, score(s), k) for b, s, k in rows]) for _, rows in images]
        detections[0] = Detections.concatenate([detections[0], found(*ghosts)])
        return average_precision(detections, truths, 2)

    plain = judge(lambda s: s / 20)
    assert np.nan_to_num(plain.ap_by_class).max() <= 1
    assert np.nan_to_num(plain.ap_by_class).min() >= 0
    np.testing.assert_equal(judge(lambda s: (s / 20) ** 3), plain)
    # A false detection, far from every object, between two scores or below them all.
    ghost = judge(lambda s: s / 20, [(90, 90, 99, 99, (rank - 0.5) / 20, 0)])
    for with_ghost, without in zip(ghost.ap_by_class, plain.ap_by_class, strict=True):
        assert np.isnan(without) or with_ghost <= without + 1e-12
