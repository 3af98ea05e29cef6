"""What is put before a model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from xedge.encode import AIR_PLANES, dual_energy_planes
from xedge.errors import ImageError
from xedge.preprocess import pseudo_colour
from xedge.spec import Channels
from xedge.train.explain.subjects import colours, open_subjects, spread
from xedge.train.recipe import parse_recipe
from xedge.types import AIR_COUNTS

PICTURES = """
[data]
format = "coco"
height = 96
width = 128
"""


@pytest.fixture
def parsed(recipe):
    return parse_recipe(recipe())


def scan(folder: Path, lines: int, elements: int) -> Path:
    low = np.random.default_rng(0).integers(9000, AIR_COUNTS, (lines, elements), dtype=np.uint16)
    np.savez(folder / "bag.npz", low=low, high=low)
    return folder / "bag.npz"


def test_a_short_scan_is_one_window_filled_up_with_air(parsed, spec, tmp_path) -> None:
    path = scan(tmp_path, 400, 1000)
    (one,) = open_subjects(path, parsed, spec, AIR_COUNTS, None)
    assert (one.name, one.planes.shape, one.rgb.shape) == ("bag.npz", (3, 96, 128), (96, 128, 3))
    with np.load(path) as file:
        expected = dual_energy_planes(file["low"], file["high"], 8)
    np.testing.assert_array_equal(one.planes[:, :50, :125], expected)
    assert (one.planes[:, 50:].transpose(1, 2, 0) == AIR_PLANES).all()
    assert one.truth is None
    assert not one.guessed


def test_a_long_scan_is_several_windows(parsed, spec, tmp_path) -> None:
    found = list(open_subjects(scan(tmp_path, 1000, 64), parsed, spec, AIR_COUNTS, None))
    assert [one.name for one in found] == ["bag.npz, lines 0 to 767", "bag.npz, lines 232 to 999"]
    assert all(one.planes.shape == (3, 96, 128) for one in found)


def test_a_scan_wider_than_the_window_is_refused(parsed, spec, tmp_path) -> None:
    path = scan(tmp_path, 64, 1032)
    with pytest.raises(ImageError, match=r"bag\.npz does not fit the model: expected at most 128"):
        list(open_subjects(path, parsed, spec, AIR_COUNTS, None))


def test_a_colour_picture_is_scaled_before_a_model_of_counts(parsed, spec, tmp_path) -> None:
    path = tmp_path / "bag.png"
    cv2.imwrite(str(path), np.full((100, 200, 3), 255, np.uint8))
    (one,) = open_subjects(path, parsed, spec, AIR_COUNTS, 1.24)  # a quarter of the model's pixel
    assert one.planes.shape == (3, 96, 128)
    assert one.guessed
    assert np.ptp(one.planes.reshape(3, -1), axis=1).max() == 0  # white is air
    with pytest.raises(ImageError, match="does not fit the model"):
        list(open_subjects(path, parsed, spec, AIR_COUNTS, 10))


def test_a_model_of_pictures_sees_them_fitted(recipe, bags, spec, tmp_path) -> None:
    text = recipe().split("[data]")[0] + PICTURES
    import dataclasses

    colour = dataclasses.replace(spec, channels=Channels.PSEUDO_COLOUR)
    rgb = np.zeros((50, 40, 3), np.uint8)
    rgb[:, 20:] = (255, 0, 0)
    cv2.imwrite(str(tmp_path / "bag.png"), rgb[..., ::-1])
    (one,) = open_subjects(tmp_path / "bag.png", parse_recipe(text), colour, AIR_COUNTS, None)
    assert one.planes.shape == (3, 96, 128)
    assert one.planes[:, 48, 10].tolist() == [0, 0, 0]
    assert one.planes[:, 48, 120].tolist() == [255, 0, 0]
    np.testing.assert_array_equal(one.rgb.transpose(2, 0, 1), one.planes)


def test_dual_energy_planes_look_like_their_scan() -> None:
    rng = np.random.default_rng(1)
    low = rng.integers(2000, AIR_COUNTS, (20, 30)).astype(np.uint16)
    high = np.minimum(low + rng.integers(0, 9000, low.shape), AIR_COUNTS).astype(np.uint16)
    seen = colours(dual_energy_planes(low, high), Channels.DUAL_ENERGY).astype(int)
    real = pseudo_colour(low, high).astype(int)
    # The low byte is lost: most pixels move by a step of the palette or two.
    assert np.median(np.abs(seen - real)) <= 4


def test_air_is_white() -> None:
    air = np.broadcast_to(AIR_PLANES[:, None, None], (3, 4, 4))
    assert (colours(air, Channels.DUAL_ENERGY) == 255).all()


def test_places_are_spread_over_the_whole() -> None:
    assert spread(100, 3) == [0, 50, 99] or spread(100, 3) == [0, 49, 99]
    assert spread(1, 4) == [0]
    assert spread(5, 5) == [0, 1, 2, 3, 4]
