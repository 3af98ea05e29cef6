"""Equation 1 in integers against the formula in floats, and binning against a plain mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xedge.encode import AIR_PLANES, RATIO_TABLE, bin_counts, dual_energy_planes
from xedge.errors import ImageError
from xedge.types import AIR_COUNTS

counts = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=17))


def pair(low: int, high: int) -> np.ndarray:
    return dual_energy_planes(np.full((1, 1), low, np.uint16), np.full((1, 1), high, np.uint16))[
        :, 0, 0
    ]


def test_worked_by_hand() -> None:
    # R = 2: 510 / (1 + exp(-2)) - 255 = 194.2.
    assert pair(10_000, 20_000).tolist() == [20_000 // 256, 10_000 // 256, 194]
    # Nothing through: a low count of zero reads as one, and R is 0 or saturates.
    assert pair(0, 0).tolist() == [0, 0, 0]
    assert pair(0, 65535).tolist() == [255, 0, RATIO_TABLE[-1]]


def test_the_planes_of_air_are_those_of_air() -> None:
    assert AIR_PLANES.tolist() == pair(AIR_COUNTS, AIR_COUNTS).tolist()
    # R = 1: 510 / (1 + exp(-1)) - 255 = 117.8.
    assert AIR_PLANES.tolist() == [234, 234, 117]
    assert not AIR_PLANES.flags.writeable


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_the_integers_follow_the_formula(low, high) -> None:
    planes = pair(low, high)
    assert planes[0] == high // 256
    assert planes[1] == low // 256
    ratio = high / max(low, 1)
    exact = 510 / (1 + np.exp(-min(ratio, 700.0))) - 255
    # A step of R is 1/256 and the slope of channel 3 is at most 127.5: half a grey level, and the
    # floor takes up to one more. Beyond R = 8 the table stays where the formula has 254.8.
    assert exact - 1.5 <= planes[2] <= exact + 1e-6


@given(st.integers(0, 65535), st.integers(1, 2049), st.integers(-1, 1), st.integers(1, 40))
def test_the_ratio_is_the_integer_one_on_both_sides_of_every_step(low, step, off, lines) -> None:
    high = min(max(-(-step * max(low, 1) // 256) + off, 0), 65535)
    planes = dual_energy_planes(
        np.full((lines, 3), low, np.uint16), np.full((lines, 3), high, np.uint16)
    )
    wanted = RATIO_TABLE[min(high * 256 // max(low, 1), len(RATIO_TABLE) - 1)]
    assert (planes[2] == wanted).all()


@given(counts, st.integers(1, 8))
def test_planes_are_written_where_they_are_wanted(image, binning) -> None:
    wanted = dual_energy_planes(image, image[::-1], binning)
    room = np.full((3, wanted.shape[1] + 2, wanted.shape[2]), 7, np.uint8)
    dual_energy_planes(image, image[::-1], binning, room[:, 1:-1])
    np.testing.assert_array_equal(room[:, 1:-1], wanted)
    assert (room[:, [0, -1]] == 7).all()


@given(counts, st.integers(1, 8))
def test_a_bin_is_the_mean_of_its_block(image, binning) -> None:
    binned = bin_counts(image, binning)
    h, w = image.shape[0] // binning, image.shape[1] // binning
    assert binned.shape == (h, w)
    blocks = image[: h * binning, : w * binning].reshape(h, binning, w, binning).astype(np.float64)
    np.testing.assert_array_equal(binned, np.floor(blocks.mean(axis=(1, 3)) + 0.5))


@pytest.mark.parametrize("binning", [0, -1, 9])
def test_other_binnings_are_refused(binning) -> None:
    with pytest.raises(ImageError, match=r"1\.\.8"):
        bin_counts(np.zeros((4, 4), np.uint16), binning)


def test_planes_are_those_of_the_binned_counts() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (6, 8)).astype(np.uint16)
    other = image[::-1].copy()
    np.testing.assert_array_equal(
        dual_energy_planes(image, other, 2),
        dual_energy_planes(bin_counts(image, 2), bin_counts(other, 2)),
    )


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (np.zeros((2, 2), np.uint16), np.zeros((3, 2), np.uint16)),
        (np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)),
        (np.zeros(4, np.uint16), np.zeros(4, np.uint16)),
    ],
)
def test_what_is_no_pair_is_refused(low, high) -> None:
    with pytest.raises(ImageError, match="two uint16 images of one size"):
        dual_energy_planes(low, high)
