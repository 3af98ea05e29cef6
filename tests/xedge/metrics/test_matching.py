"""Which detection hits which object: objects that do not count, and the place of a threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.errors import InputError
from xedge.metrics.matching import Truth, match_all, pair_images, threshold_between
from xedge.types import Detections

BOX = (0, 0, 10, 10)


def test_a_difficult_object_takes_any_number_of_detections(found, truth) -> None:
    image = found((*BOX, 0.9, 0), (*BOX, 0.8, 0), (*BOX, 0.7, 1), (50, 50, 60, 60, 0.6, 0))
    matches = match_all([(image, truth((*BOX, 0), difficult=[True]))], 0)
    assert matches.objects == 0
    assert not matches.hit.any()
    # Class 1 has no part in it; the detection of nothing is false as ever.
    np.testing.assert_array_equal(matches.ignored[0], [True, True, False])


def test_an_object_of_another_level_takes_one_detection(found, truth) -> None:
    image = found((*BOX, 0.9, 0), (*BOX, 0.8, 0))
    matches = match_all([(image, truth((*BOX, 0), levels=[1]))], 0, level=2)
    np.testing.assert_array_equal(matches.ignored[0], [True, False])


def test_an_object_that_counts_is_preferred_to_a_difficult_one(found, truth) -> None:
    # Both detections lie upon the difficult object; the counted one overlaps them at 0.8.
    things = truth((*BOX, 0), (0, 0, 10, 8, 0), difficult=[True, False])
    matches = match_all([(found((*BOX, 0.9, 0), (*BOX, 0.8, 0)), things)], 0)
    np.testing.assert_array_equal(matches.hit[0], [True, False])
    np.testing.assert_array_equal(matches.ignored[0], [False, True])
    # At IoU 0.85 and above only the difficult one is in reach.
    assert not matches.hit[7:].any()
    assert matches.ignored[7:].all()


def test_what_counts(truth) -> None:
    rows = [(*BOX, 0), (*BOX, 0), (*BOX, 1), (*BOX, 0)]
    things = truth(*rows, levels=[1, 2, 1, 1], difficult=[False, False, False, True])
    np.testing.assert_array_equal(things.counted(), [True, True, True, False])
    np.testing.assert_array_equal(things.counted(label=0), [True, True, False, False])
    np.testing.assert_array_equal(things.counted(label=0, level=1), [True, False, False, False])


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": np.zeros(1, np.int32)},
        {"labels": np.zeros((2, 1), np.int32)},
        {"levels": np.zeros(3, np.int32)},
        {"difficult": np.zeros(1, bool)},
    ],
)
def test_truth_that_does_not_fit_together_is_refused(fields) -> None:
    sound = {"boxes": np.zeros((2, 4), np.float32), "labels": np.zeros(2, np.int32)}
    with pytest.raises(InputError, match="do not fit together"):
        Truth(**{**sound, **fields})


def test_difficult_marks_of_another_type_are_refused() -> None:
    # ~ of integers is not "not": 0 and 1 would both become true.
    with pytest.raises(InputError, match="expected bool, found int32"):
        Truth(np.zeros((1, 4), np.float32), np.zeros(1, np.int32), difficult=np.zeros(1, np.int32))


@pytest.mark.parametrize("iou", [0.0, -0.5, 1.01, float("nan")])
def test_an_iou_threshold_outside_its_range_is_refused(iou) -> None:
    with pytest.raises(InputError, match="IoU threshold"):
        match_all([], 0, thresholds=(iou,))


def test_images_that_do_not_pair_are_refused(found, truth) -> None:
    none = Detections.empty()
    for detections, truths, level, message in (
        ([], [truth()], None, "same images"),
        ([found((0, 0, 1, 1, 0.5, 7))], [truth()], None, "no class"),
        ([none], [truth((0, 0, 1, 1, -1))], None, "no class"),
        ([none], [truth()], 1, "no levels"),
    ):
        with pytest.raises(InputError, match=message):
            pair_images(detections, truths, classes=2, level=level)


score = st.floats(0, 1, width=32)


@given(score, score)
def test_a_threshold_parts_two_scores_in_either_width(a, b) -> None:
    below, kept = min(a, b), max(a, b)
    if below == kept:
        return
    threshold = threshold_between(kept, below)
    assert below < threshold <= kept
    assert np.float32(below) < np.float32(threshold) <= np.float32(kept)


def test_a_threshold_between_neighbours_is_the_upper_one() -> None:
    below = np.float32(0.5)
    kept = np.nextafter(below, np.float32(1))
    assert threshold_between(float(kept), float(below)) == float(kept)
