from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.encode import AIR
from xedge.spec import Channels
from xedge.train.sample import Sample, augment, fit

BOTH = pytest.mark.parametrize("channels", list(Channels))


def with_rectangle(
    channels: Channels, height: int = 80, width: int = 60, box: tuple[int, ...] = (12, 8, 33, 51)
) -> Sample:
    """Air with one dark rectangle, exactly where the box says."""
    planes = np.empty((3, height, width), np.uint8)
    planes[:] = AIR[channels][:, None, None]
    x1, y1, x2, y2 = box
    planes[:, y1:y2, x1:x2] = 20
    boxes = np.array([box], np.float32)
    return Sample(planes, boxes, np.zeros(1, np.int32), np.ones(1, np.int32))


def dark_box(planes: np.ndarray, below: int = 128) -> list[int]:
    """The bounding box of what is not air."""
    y, x = np.nonzero(planes[1] < below)
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


@BOTH
@given(seed=st.integers(0, 2**31 - 1))
def test_mirrors_keep_boxes_on_their_objects(channels: Channels, seed: int) -> None:
    turned = augment(with_rectangle(channels), np.random.default_rng(seed), 0.15, channels)
    assert turned.boxes[0].tolist() == dark_box(turned.planes)


@BOTH
def test_tone_leaves_air_and_bends_matter(channels: Channels) -> None:
    sample = with_rectangle(channels)
    tones = set()
    for seed in range(20):
        planes = augment(sample, np.random.default_rng(seed), 0.3, channels).planes
        tones.add(int(planes[1].min()))
        assert planes[0].max() == AIR[channels][0]
        last = sorted(np.unique(planes[2]))
        ratio = channels is Channels.DUAL_ENERGY
        assert last == [20, AIR[channels][2]] if ratio else len(last) == 2
    assert len(tones) > 5


def test_tone_keeps_the_hue_of_matter() -> None:
    """Twice as thick is the square of each transmission: no channel overtakes another."""
    sample = with_rectangle(Channels.PSEUDO_COLOUR)
    sample.planes[:, 8:51, 12:33] = np.array([220, 150, 60], np.uint8)[:, None, None]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        red, green, blue = augment(sample, rng, 0.5, Channels.PSEUDO_COLOUR).planes[:, 40, 30]
        assert red > green > blue


def test_without_tone_and_mirror_nothing_changes() -> None:
    sample = with_rectangle(Channels.PSEUDO_COLOUR)
    seeds = (s for s in range(100) if (np.random.default_rng(s).random(2) >= 0.5).all())
    same = augment(sample, np.random.default_rng(next(seeds)), 0.0, Channels.PSEUDO_COLOUR)
    assert np.array_equal(same.planes, sample.planes)


@given(
    height=st.integers(20, 150),
    width=st.integers(20, 150),
    keep_ratio=st.booleans(),
)
def test_boxes_follow_the_picture_to_its_new_size(
    height: int, width: int, keep_ratio: bool
) -> None:
    sample = with_rectangle(Channels.PSEUDO_COLOUR)
    fitted = fit(sample, height, width, Channels.PSEUDO_COLOUR, keep_ratio=keep_ratio)
    assert fitted.planes.shape == (3, height, width)
    x1, y1, x2, y2 = fitted.boxes[0]
    if keep_ratio:  # whole pixels round each side's scale by half a pixel of its length
        assert abs((x2 - x1) / 21 - (y2 - y1) / 43) <= 0.5 / 60 + 0.5 / 80
    else:
        scale = np.array([width / 60, height / 80] * 2)
        assert np.allclose(fitted.boxes[0], np.array([12, 8, 33, 51]) * scale, rtol=1e-5)
    # Resampling blurs an edge over one pixel of the coarser picture.
    found = np.array(dark_box(fitted.planes, 250))
    slack = 1 + np.array([width / 60, height / 80] * 2)
    assert (np.abs(found - fitted.boxes[0]) <= slack).all()


def test_what_the_ratio_leaves_free_is_air() -> None:
    fitted = fit(
        with_rectangle(Channels.DUAL_ENERGY), 40, 60, Channels.DUAL_ENERGY, keep_ratio=True
    )
    assert (fitted.planes[:, :, 30:] == AIR[Channels.DUAL_ENERGY][:, None, None]).all()
