"""The paired comparison, held against the plain metrics on images that are really repeated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import InputError
from xedge.metrics import average_precision, compare_paired, recall_at_false_alarm_rate
from xedge.metrics.paired import _Contender
from xedge.types import Detections


def repeated(images, drawn):
    """Each image as often as it was drawn."""
    return [list(itertools.chain(*([item] * n for item, n in zip(side, drawn, strict=True))))
            for side in images]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), draw=st.integers(0, 10_000), rate=st.floats(0, 1))
def test_a_weighted_image_counts_like_a_repeated_one(random_images, seed, draw, rate) -> None:
    images = random_images(seed, images=12)
    drawn = np.bincount(np.random.default_rng(draw).integers(12, size=12), minlength=12)
    contender = _Contender(*images, 3)
    found, truths = repeated(images, drawn)
    expected = average_precision(found, truths, 3)
    # Sums of the same terms in another order: a few roundings of 2^-53.
    np.testing.assert_allclose(
        contender.average_precisions(drawn), expected.ap50_by_class, rtol=0, atol=1e-12
    )
    recalls = contender.recalls(drawn, rate)
    if any(t.labels.size == 0 for t in truths):
        plain = recall_at_false_alarm_rate(found, truths, 3, rate)
        np.testing.assert_allclose(recalls[:3], [s.value for s in plain.objects_by_class])
        np.testing.assert_allclose(recalls[3], plain.objects.value)
    else:
        assert np.isnan(recalls).all()


def test_a_contender_does_not_differ_from_itself(random_images) -> None:
    found, truths = random_images(3)
    same = compare_paired(found, found, truths, 3, alarm_threshold=0.5, resamples=20)
    for difference in (same.ap50, *same.ap50_by_class, same.recall, *same.recall_by_class):
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert (same.flips.count, same.flips.total) == (0, 30)
    assert same.lost.total + same.gained.total == 30


def test_a_worse_contender_is_worse_for_certain(random_images) -> None:
    """The second finds nothing of class 0 and as much as the first of the others."""
    first, truths = random_images(4, images=60)
    second = [found[found.labels != 0] for found in first]
    ticks = []
    compared = compare_paired(
        first, second, truths, 3, alarm_threshold=0.9, resamples=100,
        advance=lambda: ticks.append(None),
    )  # fmt: skip
    assert len(ticks) == 100
    assert compared.ap50_by_class[0].high < 0
    assert compared.ap50_by_class[1].value == compared.ap50_by_class[2].value == 0
    assert compared.ap50.low <= compared.ap50.value <= compared.ap50.high < 0
    assert compared.ap50.value == pytest.approx(
        average_precision(second, truths, 3).ap50 - average_precision(first, truths, 3).ap50
    )
    before = np.array([(f.scores >= 0.9).any() for f in first])
    after = np.array([(f.scores >= 0.9).any() for f in second])
    clean = np.array([t.labels.size == 0 for t in truths])
    assert compared.flips.count == (before != after).sum() > 0
    assert compared.lost.count == (before & ~after & ~clean).sum()
    assert compared.gained.count == 0
    again = compare_paired(first, second, truths, 3, alarm_threshold=0.9, resamples=100)
    assert again == compared


def test_without_a_clean_image_there_is_no_recall(found, truth) -> None:
    rows = [found((0, 0, 9, 9, 0.8, 0))], [truth((0, 0, 9, 9, 0))]
    compared = compare_paired(rows[0], [Detections.empty()], rows[1], 2, alarm_threshold=0.5,
                              resamples=3)  # fmt: skip
    assert compared.recall is None
    assert compared.recall_by_class == ()
    assert compared.ap50.value == -1
    assert np.isnan(compared.ap50_by_class[1].value)
    assert compared.lost.count == 1


@pytest.mark.parametrize(
    "change", [{"resamples": 0}, {"rate": 1.5}, {"confidence": 1.0}], ids=lambda c: next(iter(c))
)
def test_arguments_out_of_range_are_refused(random_images, change) -> None:
    found, truths = random_images(5, images=4)
    with pytest.raises(InputError, match="cannot be compared"):
        compare_paired(found, found, truths, 3, alarm_threshold=0.5, **change)
    with pytest.raises(InputError, match="0 images"):
        compare_paired([], [], [], 3, alarm_threshold=0.5)
