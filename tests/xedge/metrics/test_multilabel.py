"""SIXray's protocol, by hand, against scikit-learn, and what must never change it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score

from xedge.errors import InputError
from xedge.metrics import (
    best_image_threshold,
    multilabel_average_precision,
    pointing_accuracy,
)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def marks(*values: int) -> np.ndarray:
    return np.array(values, np.int8)[:, None]


def test_the_mean_of_precision_at_positives_by_hand() -> None:
    # Ranks: hit, false, hit, false, hit: (1 + 2/3 + 3/5) / 3.
    result = multilabel_average_precision(column(0.9, 0.8, 0.7, 0.6, 0.5), marks(1, -1, 1, -1, 1))
    assert result.mean == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert result.positives_by_class == (3,)
    assert result.judged_by_class == (5,)


def test_nothing_is_interpolated() -> None:
    # False, hit, hit: 1/2 and 2/3. All-points AP would raise the first to 2/3.
    result = multilabel_average_precision(column(0.9, 0.8, 0.7), marks(-1, 1, 1))
    assert result.mean == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_difficult_images_are_left_out() -> None:
    # Without the first and third: hit, false, hit.
    result = multilabel_average_precision(column(0.95, 0.9, 0.85, 0.8, 0.7), marks(0, 1, 0, -1, 1))
    assert result.mean == pytest.approx((1 + 2 / 3) / 2)
    assert result.judged_by_class == (3,)


def test_a_class_that_no_image_holds_is_left_out_of_the_mean() -> None:
    scores = np.array([[0.9, 0.9], [0.1, 0.1]], np.float32)
    result = multilabel_average_precision(scores, np.array([[1, -1], [-1, 0]], np.int8))
    assert result.mean == 1.0
    assert math.isnan(result.by_class[1])
    assert result.positives_by_class == (1, 0)


def test_images_with_one_score_are_ranked_together() -> None:
    for rows in (marks(1, -1, -1, 1), marks(-1, 1, 1, -1)):
        result = multilabel_average_precision(column(0.5, 0.5, 0.5, 0.5), rows)
        assert result.mean == pytest.approx(2 / 4)


@pytest.mark.parametrize("levels", [None, 12])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed, levels) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 5, (200, 5)).astype(np.float32)
    if levels is not None:  # many ties
        scores = np.round(scores * levels / 20)
    presence = rng.choice(np.array([1, -1, 0], np.int8), (200, 5), p=[0.2, 0.7, 0.1])
    result = multilabel_average_precision(scores, presence)
    for c in range(5):
        judged = presence[:, c] != 0
        expected = average_precision_score(presence[judged, c] == 1, scores[judged, c])
        # At most 200 terms in 0..1, each rounded to a few 1e-16.
        assert result.by_class[c] == pytest.approx(expected, abs=1e-12)
    assert result.mean == pytest.approx(np.mean(result.by_class), abs=1e-12)


tables = st.tuples(st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.int32, shape, elements=st.integers(-6, 6)),
        arrays.arrays(np.int8, shape, elements=st.sampled_from([1, -1])),
        st.permutations(range(shape[0])),
    )
)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_only_the_order_of_scores_matters(table) -> None:
    ranks, presence, order = table
    result = multilabel_average_precision(ranks.astype(np.float64), presence)
    known = [value for value in result.by_class if not math.isnan(value)]
    assert all(0 < value <= 1 for value in known)
    grown = multilabel_average_precision(np.exp(ranks.astype(np.float64)), presence)
    np.testing.assert_equal(grown, result)
    mixed = multilabel_average_precision(ranks[order].astype(np.float64), presence[order])
    np.testing.assert_allclose(mixed.by_class, result.by_class, atol=1e-12)
    # One more image without the class, below all others, changes nothing; above all, it harms:
    # a precision of h / r becomes h / (r + 1), with r at most 12.
    rows = ranks.shape[1]
    for score, at_most in ((-7.0, 0.0), (7.0, -1e-3)):
        extra = multilabel_average_precision(
            np.vstack([ranks.astype(np.float64), np.full(rows, score)]),
            np.vstack([presence, np.full(rows, -1, np.int8)]),
        )
        for more, less in zip(extra.by_class, result.by_class, strict=True):
            assert math.isnan(less) or more <= less + at_most + 1e-12


@pytest.mark.parametrize(
    ("scores", "presence", "message"),
    [
        (np.zeros((2, 3), np.float32), np.ones((2, 2), np.int8), "do not fit together"),
        (np.zeros(2, np.float32), np.ones(2, np.int8), "do not fit together"),
        (column(0.5, math.nan), marks(1, -1), "cannot be ranked"),
        (column(0.5, 0.4), marks(1, 2), "cannot be read"),
        (column(0.5, 0.4), marks(1, 0), "Mark absence by -1"),
        (column(0.5, 0.4), np.array([[True], [False]]), "cannot be read"),
    ],
)
def test_scores_and_presence_that_mean_nothing_are_refused(scores, presence, message) -> None:
    with pytest.raises(InputError, match=message):
        multilabel_average_precision(scores, presence)


def points(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), 1, 2)


def test_pointing_by_hand(truth) -> None:
    # A hit in the second box of the class, a miss, a hit on the border, an image without the
    # class, a map without a maximum.
    truths = [
        truth((0, 0, 10, 10, 0), (20, 20, 30, 30, 0)),
        truth((0, 0, 10, 10, 0)),
        truth((0, 0, 10, 10, 0)),
        truth(),
        truth((0, 0, 10, 10, 0)),
    ]
    at = points((25, 21), (5, 11), (10, 0), (5, 5), (math.nan, math.nan))
    result = pointing_accuracy(at, truths)
    assert result.hits_by_class == (2,)
    assert result.images_by_class == (4,)
    assert result.by_class == (0.5,)


def test_a_box_of_another_class_is_no_hit_and_the_mean_is_over_classes(truth) -> None:
    truths = [truth((0, 0, 10, 10, 0), (20, 20, 30, 30, 1))] * 2
    at = np.array([[[5, 5], [5, 5], [5, 5]], [[5, 5], [25, 25], [5, 5]]], np.float32)
    result = pointing_accuracy(at, truths)
    assert result.by_class[:2] == (1.0, 0.5)
    assert math.isnan(result.by_class[2])  # no image holds it
    assert result.mean == pytest.approx(0.75)


def test_pointing_at_difficult_objects_counts_for_nothing(truth) -> None:
    rows = [(0, 0, 10, 10, 0), (20, 20, 30, 30, 0)]
    one = truth(*rows, difficult=[False, True])
    only = truth(*rows, difficult=[True, True])
    at = points((5, 5), (25, 25), (50, 50), (5, 5), (50, 50))
    result = pointing_accuracy(at, [one, one, one, only, only])
    assert result.hits_by_class == (1,)
    assert result.images_by_class == (2,)


def test_points_of_other_images_are_refused(truth) -> None:
    with pytest.raises(InputError, match="not of the same images"):
        pointing_accuracy(points((1, 1)), [truth(), truth()])
    with pytest.raises(InputError, match="not of the same images"):
        pointing_accuracy(np.zeros((1, 2), np.float32), [truth()])
    with pytest.raises(InputError, match="no class"):
        pointing_accuracy(points((1, 1)), [truth((0, 0, 9, 9, 1))])


def test_the_best_threshold_pools_images_and_classes_without_the_difficult_ones() -> None:
    # Judged pairs by falling score: hit .9, miss .8, hit .7, miss .2. F2 at .9: 5 / (1 + 8);
    # at .7: 10 / (3 + 8), the best; all: 10 / (4 + 8).
    scores = np.array([[0.9, 0.8], [0.7, 0.2], [0.95, 0.6]], np.float32)
    presence = np.array([[1, -1], [1, -1], [0, 0]], np.int8)
    assert best_image_threshold(scores, presence) == pytest.approx((0.7 + 0.2) / 2)
    # Precision is all that counts: the first hit alone is best.
    assert best_image_threshold(scores, presence, beta=0.0) == pytest.approx((0.9 + 0.8) / 2)


def test_there_is_no_best_threshold_where_nothing_is_held() -> None:
    assert math.isnan(best_image_threshold(column(0.5, 0.4), marks(-1, 0)))
    with pytest.raises(InputError, match="do not fit together"):
        best_image_threshold(column(0.5, 0.4), marks(1))
