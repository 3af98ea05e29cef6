"""Bags kept as counts: the same counts back, framed with their boxes, shown on any screen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.sim.display import Display, drawn_display
from xedge.train.counts import as_planes, counts_of, framed, shown
from xedge.train.sample import Sample
from xedge.types import AIR_COUNTS


def bag(box: tuple[int, int, int, int] = (12, 20, 34, 45)) -> Sample:
    """Thin matter within air of 50 x 70, and in it a thick object where the box is."""
    high = np.full((70, 50), AIR_COUNTS, np.uint16)
    high[10:60, 5:45] = AIR_COUNTS * 0.8
    x1, y1, x2, y2 = box
    high[y1:y2, x1:x2] = AIR_COUNTS * 0.3
    low = np.rint(AIR_COUNTS * (high / AIR_COUNTS) ** 1.3).astype(np.uint16)
    boxes = np.array([box], np.float32)
    return Sample(as_planes(low, high), boxes, np.zeros(1, np.int32), np.ones(1, np.int32))


def test_counts_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 65536, (2, 7, 5)).astype(np.uint16)
    kept = as_planes(low, high)
    assert kept.dtype == np.uint8
    none = np.zeros(0, np.int32)
    sample = Sample(kept, np.zeros((0, 4), np.float32), none, none)
    back = counts_of(sample)
    assert np.array_equal(back[0], low)
    assert np.array_equal(back[1], high)


@given(st.tuples(*[st.floats(0, 1)] * 4))
def test_a_frame_leaves_so_much_air_and_the_box_on_its_object(
    air: tuple[float, float, float, float],
) -> None:
    around = framed(bag(), air)
    _, high = counts_of(around)
    left, top, right, bottom = (round(a * side) for a, side in zip(air, (40, 50) * 2, strict=True))
    assert high.shape == (50 + top + bottom, 40 + left + right)
    matter = np.argwhere(high < 0.9 * AIR_COUNTS)
    assert matter.min(axis=0).tolist() == [top, left]
    x1, y1, x2, y2 = around.boxes[0].astype(int)
    assert (high[y1:y2, x1:x2] == round(AIR_COUNTS * 0.3)).all()
    assert np.count_nonzero(high == round(AIR_COUNTS * 0.3)) == (x2 - x1) * (y2 - y1)


def test_specks_of_noise_are_no_bag_and_air_alone_stays() -> None:
    whole = bag()
    low, high = counts_of(whole)
    noisy = high.copy()
    noisy[2, 3] = noisy[68, 48] = 0.9 * AIR_COUNTS
    alike = framed(Sample(as_planes(low, noisy), whole.boxes, whole.labels, whole.levels), (0,) * 4)
    assert counts_of(alike)[1].shape == (50, 40)
    air = np.full((70, 50), AIR_COUNTS, np.uint16)
    nothing = Sample(as_planes(air, air), whole.boxes, whole.labels, whole.levels)
    assert framed(nothing, (0.5,) * 4) is nothing


@pytest.mark.parametrize("display", [Display(), drawn_display(3)])
def test_a_bag_is_shown_as_the_screen_does(display: Display) -> None:
    kept = bag()
    picture = shown(kept, display)
    assert picture.planes.shape == (3, 70, 50)
    assert np.array_equal(picture.planes.transpose(1, 2, 0), display.show(*counts_of(kept)))
    assert np.array_equal(picture.boxes, kept.boxes)
