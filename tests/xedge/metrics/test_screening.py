"""Recall at a capped false-alarm rate: by hand, its interval against SciPy, and the cap kept."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xedge.errors import InputError
from xedge.metrics import binomial_interval, recall_at_false_alarm_rate
from xedge.types import Detections

BOX = (0, 0, 10, 10)
ELSEWHERE = (50, 50, 60, 60)


@pytest.fixture
def belt(found, truth):
    """Four clean bags (one without a detection) and three with objects."""
    detections = [
        found((*BOX, 0.8, 0), (*BOX, 0.3, 1)),
        found((*BOX, 0.5, 1)),
        found((*BOX, 0.2, 0)),
        found(),
        found((*BOX, 0.9, 0)),
        found((*ELSEWHERE, 0.6, 0), (*BOX, 0.4, 1)),
        found((*BOX, 0.1, 0), (*BOX, 0.7, 1)),
    ]
    truths = [truth()] * 4 + [
        truth((*BOX, 0)),
        truth((*BOX, 1)),
        truth((*BOX, 0), (*ELSEWHERE, 1)),
    ]
    return detections, truths


def test_by_hand(belt) -> None:
    # One of four clean bags may alarm: the threshold lies between 0.5 and 0.6.
    result = recall_at_false_alarm_rate(*belt, classes=2, rate=0.25)
    assert result.threshold == pytest.approx(0.55)
    assert (result.false_alarms.count, result.false_alarms.total) == (1, 4)
    # Of four objects only the first is found: 0.6 lies elsewhere, 0.7 is of the wrong place.
    assert (result.objects.count, result.objects.total) == (1, 4)
    assert [(s.count, s.total) for s in result.objects_by_class] == [(1, 2), (0, 2)]
    # But all three bags alarm.
    assert result.bags.value == 1.0
    assert [(s.count, s.total) for s in result.bags_by_class] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("rate", "threshold", "alarms", "objects", "bags"),
    [
        (0.0, 0.85, 0, 1, 1),
        (0.24, 0.85, 0, 1, 1),
        (0.5, 0.25, 2, 2, 3),  # next above the barred 0.2 is the other detection of bag 0, 0.3
        (0.75, 0.0, 3, 3, 3),  # the fourth clean bag has no detection: everything may alarm
        (1.0, 0.0, 3, 3, 3),
    ],
)
def test_other_rates_by_hand(belt, rate, threshold, alarms, objects, bags) -> None:
    result = recall_at_false_alarm_rate(*belt, classes=2, rate=rate)
    assert result.threshold == pytest.approx(threshold)
    assert result.false_alarms.count == alarms
    assert result.objects.count == objects
    assert result.bags.count == bags


def test_a_rate_that_no_detection_can_keep_finds_nothing(found, truth) -> None:
    bags = [found((*BOX, 1.0, 0)), found((*BOX, 1.0, 0))]
    result = recall_at_false_alarm_rate(bags, [truth(), truth((*BOX, 0))], 1, rate=0.1)
    assert 1.0 < result.threshold < 1.000001
    assert result.false_alarms.count == result.objects.count == result.bags.count == 0


def test_tied_bags_are_let_through_together(found, truth) -> None:
    # Two of four may alarm, but three tie at 0.5.
    bags = [found((*BOX, score, 0)) for score in (0.5, 0.5, 0.5, 0.1, 0.9)]
    result = recall_at_false_alarm_rate(bags, [truth()] * 4 + [truth((*BOX, 0))], 1, rate=0.5)
    assert result.threshold == pytest.approx(0.7)
    assert result.false_alarms.count == 0
    assert result.objects.value == 1.0


def test_the_last_digit_of_the_rate_costs_no_bag(found, truth) -> None:
    # 0.29 * 100 is 28.999999999999996.
    bags = [found((*BOX, k / 200, 0)) for k in range(1, 101)]
    result = recall_at_false_alarm_rate(bags, [truth()] * 100, 1, rate=0.29)
    assert result.false_alarms.count == 29


def test_difficult_objects_neither_count_nor_make_a_bag_clean(found, truth) -> None:
    bags = [found((*BOX, 0.9, 0)), found((*BOX, 0.2, 0)), found((*BOX, 0.5, 0))]
    truths = [truth((*BOX, 0), difficult=[True]), truth(), truth((*BOX, 0))]
    result = recall_at_false_alarm_rate(bags, truths, 1, rate=0.0)
    assert (result.false_alarms.count, result.false_alarms.total) == (0, 1)
    assert (result.objects.count, result.objects.total) == (1, 1)
    assert (result.bags.count, result.bags.total) == (1, 1)


def test_only_clean_bags_have_a_threshold_and_no_recall(found, truth) -> None:
    result = recall_at_false_alarm_rate([found((*BOX, 0.4, 0))], [truth()], 2, rate=0.0)
    assert math.isnan(result.objects.value)
    assert (result.objects.low, result.objects.high) == (0.0, 1.0)


def test_bad_input_is_refused(found, truth) -> None:
    held = [truth((*BOX, 0))]
    with pytest.raises(InputError, match="Add bags that hold no labelled object"):
        recall_at_false_alarm_rate([found()], held, 1, rate=0.1)
    with pytest.raises(InputError, match="Add bags"):
        recall_at_false_alarm_rate([], [], 1, rate=0.1)
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="false-alarm rate cannot be used"):
            recall_at_false_alarm_rate([found()], [truth()], 1, rate=rate)
    with pytest.raises(InputError, match="same images"):
        recall_at_false_alarm_rate([found()], [], 1, rate=0.1)
    with pytest.raises(InputError, match="confidence"):
        recall_at_false_alarm_rate([found()], [truth()], 1, rate=0.1, confidence=1.0)


bag = st.tuples(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=3),  # score, in its place
    st.integers(0, 1),  # objects
)


@settings(max_examples=80, deadline=None)
@given(st.lists(bag, max_size=8), st.floats(0, 1))
def test_the_rate_is_kept_and_no_lower_threshold_keeps_it(found, truth, bags, rate) -> None:
    detections = [found()] + [
        found(*[(*(BOX if right else ELSEWHERE), s / 8, 0) for s, right in rows])
        for rows, _ in bags
    ]
    truths = [truth()] + [truth(*[(*BOX, 0)] * n) for _, n in bags]
    result = recall_at_false_alarm_rate(detections, truths, 1, rate)

    def alarms(threshold: float) -> float:
        clean = [d for d, t in zip(detections, truths, strict=True) if not t.labels.size]
        return sum(bool((d.scores >= threshold).any()) for d in clean) / len(clean)

    assert alarms(result.threshold) == result.false_alarms.value <= rate
    lower = [s / 8 for rows, _ in bags for s, _ in rows if s / 8 < result.threshold]
    assert all(alarms(s) > rate for s in lower)
    assert result.objects.count <= result.bags.count <= result.bags.total


@settings(max_examples=30, deadline=None)
@given(st.lists(bag, min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_a_looser_rate_never_finds_less(found, truth, bags, a, b) -> None:
    detections = [found()] + [found(*[(*BOX, s / 8, 0) for s, _ in rows]) for rows, _ in bags]
    truths = [truth()] + [truth(*[(*BOX, 0)] * n) for _, n in bags]
    tight, loose = (
        recall_at_false_alarm_rate(detections, truths, 1, rate) for rate in sorted((a, b))
    )
    assert tight.threshold >= loose.threshold
    assert tight.objects.count <= loose.objects.count
    # Scores matter by their order only.
    squared = [Detections(d.boxes, d.scores**2, d.labels) for d in detections]
    again = recall_at_false_alarm_rate(squared, truths, 1, max(a, b))
    assert again.objects == loose.objects
    assert again.bags == loose.bags


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("total", [1, 2, 7, 60, 2000])
def test_the_interval_agrees_with_the_beta_distribution(total, confidence) -> None:
    doubt = (1 - confidence) / 2
    for count in sorted({0, 1, total // 3, total - 1, total}):
        low, high = binomial_interval(count, total, confidence)
        expected_low = stats.beta.ppf(doubt, count, total - count + 1) if count else 0.0
        expected_high = (
            stats.beta.ppf(1 - doubt, count + 1, total - count) if count < total else 1.0
        )
        # log C(total, k) is a sum of up to 2000 terms that reaches 1400: an error of at most
        # 2000 * 1400 * 1e-16 < 1e-9 in the logarithm of the tail, so less in its root.
        assert low == pytest.approx(expected_low, abs=1e-9)
        assert high == pytest.approx(expected_high, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says() -> None:
    # For each true share, the probability of the counts whose interval holds it.
    counts = np.arange(21)
    intervals = np.array([binomial_interval(int(k), 20, 0.9) for k in counts])
    for share in np.linspace(0.01, 0.99, 25):
        holds = (intervals[:, 0] <= share) & (share <= intervals[:, 1])
        assert stats.binom.pmf(counts, 20, share)[holds].sum() >= 0.9


@pytest.mark.parametrize(("count", "total"), [(-1, 3), (4, 3)])
def test_a_count_that_is_none_is_refused(count, total) -> None:
    with pytest.raises(InputError, match="a count cannot be used"):
        binomial_interval(count, total)
