"""Threat image projection: physics that must hold, and an object that comes through whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.data import load_picture, open_set
from xedge.data.tip import CutOut, cut_out, insert, turn
from xedge.encode import AIR_PLANES, RATIO_TABLE, dual_energy_planes
from xedge.errors import DataError, ImageError
from xedge.spec import Channels
from xedge.types import AIR_COUNTS

WHITE = np.full(3, 255, np.uint8)
AIRS = {Channels.PSEUDO_COLOUR: WHITE, Channels.DUAL_ENERGY: AIR_PLANES}


def colour_scan(background, transmission) -> np.ndarray:
    """A scan of 60 x 80 on a background, with an L of a transmission in x 20..50, y 15..45."""
    planes = np.empty((3, 60, 80), np.uint8)
    planes[:] = np.asarray(background, np.uint8)[:, None, None]
    thing = np.rint(np.asarray(background) * transmission).astype(np.uint8)[:, None]
    planes[:, 15:45, 20:28] = thing[..., None]
    planes[:, 37:45, 20:50] = thing[..., None]
    return planes


L_BOX = (20, 15, 50, 45)


def dual_scan(low_t: float, high_t: float) -> np.ndarray:
    """The same L in counts of two energies, in air."""
    counts = np.full((2, 60, 80), AIR_COUNTS, np.float64)
    for k, t in enumerate((low_t, high_t)):
        counts[k, 15:45, 20:28] *= t
        counts[k, 37:45, 20:28] = counts[k, 15, 20]
        counts[k, 37:45, 20:50] = AIR_COUNTS * t
    low, high = np.rint(counts).astype(np.uint16)
    return dual_energy_planes(low, high)


def test_an_object_over_lining_comes_out_with_its_own_transmission() -> None:
    wanted = np.array([0.5, 0.6, 0.4])
    thing = cut_out(colour_scan((220, 200, 180), wanted), L_BOX, WHITE)
    assert thing.shape == (30, 30)
    assert (thing.depth[:, :20, 10:] == 0).all()  # beside the L is nothing
    # The lining is a constant; object and lining are rounded to one of 72 values or more, half
    # a step each: 0.5 / 72 + 0.5 / 180 < 0.0098 in the logarithm.
    np.testing.assert_allclose(thing.depth[:, 2:, 2:6].mean((1, 2)), -np.log(wanted), atol=0.0098)


def test_on_air_the_object_looks_as_it_was() -> None:
    scan = colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4]))
    thing = cut_out(scan, L_BOX, WHITE)
    air = np.full_like(scan, 255)
    result, box = insert(air, thing, 35, 30, None, WHITE)
    np.testing.assert_array_equal(result, scan)
    assert box.tolist() == list(L_BOX)
    assert (air == 255).all()


def test_two_objects_multiply() -> None:
    thing = cut_out(colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4])), L_BOX, WHITE)
    board = np.full((3, 60, 80), 100, np.uint8)
    result, _ = insert(board, thing, 35, 30, None, WHITE)
    # 128 / 255, 153 / 255 and 102 / 255 of 100.
    assert result[:, 20, 22].tolist() == [50, 60, 40]
    assert result[:, 20, 40].tolist() == [100, 100, 100]


def test_dual_energy_multiplies_in_each_energy_and_keeps_the_material() -> None:
    """Two layers of one material: each energy squared, and the ratio as well."""
    thing = cut_out(dual_scan(0.5, 0.7), L_BOX, AIR_PLANES, Channels.DUAL_ENERGY)
    once = dual_scan(0.5, 0.7)
    twice, box = insert(once, thing, 35, 30, None, AIR_PLANES)
    assert box.tolist() == list(L_BOX)
    expected = dual_scan(0.25, 0.49)
    # Counts / 256 are floors: up to a step in each factor.
    difference = np.abs(twice.astype(int) - expected.astype(int)).max(axis=(1, 2))
    assert difference[0] <= 2
    assert difference[1] <= 2
    assert difference[2] <= 3
    alone, _ = insert(dual_scan(1, 1), thing, 35, 30, None, AIR_PLANES)
    assert np.abs(alone.astype(int) - once.astype(int)).max() <= 1


def test_each_value_of_the_ratio_plane_stands_for_itself() -> None:
    """An object without a ratio of its own changes no ratio."""
    values = np.unique(RATIO_TABLE)
    planes = np.stack([np.full((1, len(values)), 200, np.uint8)] * 2 + [values[None]])
    depth = np.full((3, 1, len(values)), 0.1, np.float32)
    depth[2] = 0
    thing = CutOut(depth, Channels.DUAL_ENERGY)
    result, _ = insert(planes, thing, 0, 0, None, AIR_PLANES)
    # The value 0 stands for a ratio of a step at least: 1 / 256 is still floor(0.5) = 0.
    np.testing.assert_array_equal(result[2], planes[2])
    assert (result[:2] < 200).all()


pictures = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (3, 40, 50)).astype(np.uint8)
)


@given(pictures, st.sampled_from(list(Channels)), st.floats(-20, 70), st.floats(-20, 70),
       st.integers(0, 1000) | st.none())  # fmt: skip
def test_never_brighter_and_nothing_outside_the_box(planes, channels, x, y, seed) -> None:
    air = AIRS[channels]
    scan = colour_scan(air, np.array([0.5, 0.6, 0.4]))
    scan[2] = colour_scan(air, np.array([0.5, 0.6, 1.2 if channels is Channels.DUAL_ENERGY
                                         else 0.4]))[2]  # fmt: skip
    thing = cut_out(scan, L_BOX, air, channels)
    draws = None if seed is None else np.random.default_rng(seed)
    result, box = insert(planes, thing, x, y, draws, air)
    x1, y1, x2, y2 = box.astype(int)
    assert 0 <= x1 < x2 <= 50
    assert 0 <= y1 < y2 <= 40
    outside = np.ones((40, 50), np.bool_)
    outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(result[:, outside], planes[:, outside])
    bright = slice(2) if channels is Channels.DUAL_ENERGY else slice(3)
    assert (result[bright] <= planes[bright]).all()
    empty = np.broadcast_to(air[:, None, None], planes.shape).copy()
    again = None if seed is None else np.random.default_rng(seed)
    alone, _ = insert(empty, thing, x, y, again, air)
    inserted = (alone != empty).any(axis=0)
    assert (result[bright][:, inserted] <= alone[bright][:, inserted]).all()
    assert np.array_equal(result[:, ~inserted], planes[:, ~inserted])


def test_air_has_no_object_in_it() -> None:
    noisy = np.random.default_rng(0).normal(250, 2, (3, 60, 80)).round().clip(0, 255)
    for planes in (np.full((3, 60, 80), 255, np.uint8), noisy.astype(np.uint8)):
        with pytest.raises(DataError, match="darker than what is around"):
            cut_out(planes, L_BOX, WHITE)


def test_noise_around_the_object_is_left_behind() -> None:
    scan = colour_scan((250, 250, 250), np.array([0.5, 0.6, 0.4])).astype(float)
    scan += np.random.default_rng(1).normal(0, 2, scan.shape)
    thing = cut_out(scan.round().clip(0, 255).astype(np.uint8), L_BOX, WHITE)
    stray = (thing.depth.max(axis=0) > 0)[:20, 10:]
    # Beyond 4 deviations lies one pixel in 10,000; nearly all of them alone.
    assert stray.mean() < 0.01


def test_specks_stay_behind_and_what_is_only_specks_is_refused() -> None:
    scan = colour_scan((250, 250, 250), np.array([0.5, 0.6, 0.4]))
    scan[:, 18:34:4, 32:48:4] = 50
    thing = cut_out(scan, L_BOX, WHITE)
    assert (thing.depth[:, :20, 10:] == 0).all()
    scan[:, 15:45, 20:28], scan[:, 37:45, 20:50] = 250, 250
    with pytest.raises(DataError, match="darker than what is around"):
        cut_out(scan, L_BOX, WHITE)


def test_what_is_brighter_than_air_is_air() -> None:
    """A detector's gain drifts: without a limit its air would lend the object depth."""
    scan = colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4]))
    thing = cut_out(scan, L_BOX, np.full(3, 240, np.uint8))
    np.testing.assert_allclose(
        thing.depth[:, 10, 3], -np.log(np.array([128, 153, 102]) / 240), rtol=1e-5
    )


def test_a_turned_object_keeps_its_amount_of_matter() -> None:
    thing = cut_out(colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4])), L_BOX, WHITE)
    turned = turn(thing, np.random.default_rng(2), scales=(1, 1))
    assert turned.shape != thing.shape
    # Bilinear weights add up to one but for the rim, which is cut at half the least depth.
    assert turned.depth.sum() == pytest.approx(thing.depth.sum(), rel=0.03)
    assert turned.depth.min() >= 0
    smaller = turn(thing, np.random.default_rng(2), scales=(0.5, 0.5))
    assert smaller.depth.sum() == pytest.approx(thing.depth.sum() / 4, rel=0.06)


def test_an_object_larger_than_the_scan_is_cut() -> None:
    thing = cut_out(colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4])), L_BOX, WHITE)
    result, box = insert(np.full((3, 10, 12), 200, np.uint8), thing, 5, 5, None, WHITE)
    assert box.tolist() == [0, 0, 12, 10]
    assert (result[0, :, :8] == 100).all()


@pytest.mark.parametrize("box", [(90, 5, 99, 20), (5, 5, 5, 20), (30, 30, 20, 20)])
def test_boxes_and_planes_that_cannot_be_used_are_refused(box) -> None:
    scan = colour_scan((255, 255, 255), np.array([0.5, 0.6, 0.4]))
    with pytest.raises(DataError, match="a box of 2 x 2 pixels"):
        cut_out(scan, box, WHITE)
    thing = cut_out(scan, L_BOX, WHITE)
    for planes in (scan[0], scan[:2], scan.astype(np.float32)):
        with pytest.raises(ImageError, match=r"uint8 \[3, height, width\]"):
            insert(planes, thing, 5, 5, None, WHITE)


def test_real_threats_can_be_cut_out_and_inserted(real_data) -> None:
    images = open_set("sixray", real_data / "sixray-real")
    clean = load_picture(next(r for r in images.records if not len(r.boxes)))
    done = 0
    for record in [r for r in images.records if len(r.boxes)][::100]:
        try:
            thing = cut_out(load_picture(record), record.boxes[0], WHITE)
        except DataError:  # one that its surroundings hide
            continue
        result, box = insert(clean, thing, 200, 200, np.random.default_rng(0), WHITE)
        assert (result <= clean).all()
        assert box[2] > box[0]
        done += 1
    assert done >= 5  # of 8
