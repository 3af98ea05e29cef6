"""Picture files of every kind, and what is refused of them."""

import cv2
import numpy as np
import pytest

from xedge.errors import ImageError
from xedge.pictures import (
    ColourPicture,
    DualEnergyPicture,
    pair_key,
    read_picture,
)
from xedge.preprocess import pseudo_colour
from xedge.types import AIR_COUNTS

LOW = np.random.default_rng(3).integers(0, 40_000, (6, 9)).astype(np.uint16)
HIGH = np.random.default_rng(4).integers(40_000, 60_000, (6, 9)).astype(np.uint16)


def write(path, image) -> None:
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_a_colour_picture_comes_red_first(tmp_path, suffix) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    write(tmp_path / f"a{suffix}", rgb[..., ::-1])
    picture = read_picture(tmp_path / f"a{suffix}")
    assert isinstance(picture, ColourPicture)
    assert picture.shape == (5, 7)
    np.testing.assert_array_equal(picture.rgb, rgb)


def test_a_jpeg_is_a_colour_picture_too(tmp_path) -> None:
    write(tmp_path / "a.jpg", np.full((8, 8, 3), (10, 100, 200), np.uint8))
    assert read_picture(tmp_path / "a.jpg").rgb[4, 4].tolist() == pytest.approx(
        [200, 100, 10], abs=3
    )


def test_a_tiff_of_two_pages_is_low_and_high(tmp_path) -> None:
    assert cv2.imwritemulti(str(tmp_path / "a.tiff"), [LOW, HIGH])
    picture = read_picture(tmp_path / "a.tiff")
    assert isinstance(picture, DualEnergyPicture)
    np.testing.assert_array_equal(picture.low, LOW)
    np.testing.assert_array_equal(picture.high, HIGH)
    np.testing.assert_array_equal(picture.rgb, pseudo_colour(LOW, HIGH))


@pytest.mark.parametrize("named", ["bag_low.png", "bag_high.png"])
def test_a_pair_is_found_from_either_half(tmp_path, named) -> None:
    write(tmp_path / "bag_low.png", LOW)
    write(tmp_path / "bag_high.png", HIGH)
    picture = read_picture(tmp_path / named)
    np.testing.assert_array_equal(picture.low, LOW)
    np.testing.assert_array_equal(picture.high, HIGH)
    assert pair_key(tmp_path / named) == tmp_path / "bag.png"


def test_half_a_pair_is_refused_and_stays_itself(tmp_path) -> None:
    write(tmp_path / "bag_low.png", LOW)
    assert pair_key(tmp_path / "bag_low.png") == tmp_path / "bag_low.png"
    with pytest.raises(ImageError, match=r"NAME_high\.png.*found 1 page\(s\), uint16 \[6, 9\]"):
        read_picture(tmp_path / "bag_low.png")


def test_an_npz_is_scaled_to_the_counts_of_air(tmp_path) -> None:
    low, high = LOW // 4, HIGH // 4
    np.savez_compressed(tmp_path / "a.npz", low=low, high=high)
    picture = read_picture(tmp_path / "a.npz", air_counts=15_000)
    np.testing.assert_array_equal(picture.low, low * 4)
    np.testing.assert_array_equal(picture.high, high * 4)
    same = read_picture(tmp_path / "a.npz", air_counts=AIR_COUNTS)
    np.testing.assert_array_equal(same.low, low)


def test_counts_above_air_do_not_wrap(tmp_path) -> None:
    full = np.full((2, 2), 65535, np.uint16)
    np.savez(tmp_path / "a.npz", low=full, high=full)
    assert (read_picture(tmp_path / "a.npz", air_counts=30_000).low == 65535).all()


def test_a_grey_picture_is_taken_where_it_is_asked_for(tmp_path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    write(tmp_path / "a.png", grey)
    picture = read_picture(tmp_path / "a.png", grey=True)
    np.testing.assert_array_equal(picture.rgb, np.repeat(grey[..., None], 3, axis=2))
    with pytest.raises(ImageError, match=r"uint8 \[5, 7\]"):
        read_picture(tmp_path / "a.png")


def bad_files(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "bad.npz").write_text("no zip")
    (folder / "folder.png").mkdir()
    write(folder / "grey.png", np.zeros((4, 4), np.uint8))
    write(folder / "alpha.png", np.zeros((4, 4, 4), np.uint8))
    write(folder / "deep.png", np.zeros((4, 4, 3), np.uint16))
    assert cv2.imwritemulti(str(folder / "three.tif"), [LOW, HIGH, LOW])
    assert cv2.imwritemulti(str(folder / "bytes.tif"), [LOW.astype(np.uint8)] * 2)
    assert cv2.imwritemulti(str(folder / "sizes.tif"), [LOW, HIGH[:3]])
    write(folder / "x_low.png", LOW)
    write(folder / "x_high.png", HIGH[:, :4])
    np.savez(folder / "names.npz", low=LOW, heigh=HIGH)
    np.savez(folder / "floats.npz", low=LOW.astype(np.float32), high=HIGH.astype(np.float32))
    np.savez(folder / "objects.npz", low=np.array([{}], object), high=HIGH)
    np.savez(folder / "none.npz", low=LOW[:0], high=HIGH[:0])
    good = folder / "good.png"
    write(good, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    (folder / "cut.png").write_bytes(good.read_bytes()[:20])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.png", "does not exist"),
        ("folder.png", "is a folder"),
        ("empty.png", "cannot be read as a picture.*found 0 bytes"),
        ("text.png", "cannot be read as a picture"),
        ("cut.png", "cannot be read as a picture"),
        ("grey.png", "no picture that can be screened.*uint8"),
        ("alpha.png", r"found 1 page\(s\), uint8 \[4, 4, 4\]"),
        ("deep.png", r"uint16 \[4, 4, 3\]"),
        ("three.tif", r"found 3 page\(s\)"),
        ("bytes.tif", "two uint16 images"),
        ("sizes.tif", "two uint16 images of one size"),
        ("x_low.png", "two uint16 images of one size"),
        ("bad.npz", "cannot be read as dual energy"),
        ("names.npz", "arrays low and high.*high"),
        ("floats.npz", "found low float32"),
        ("objects.npz", "cannot be read as dual energy"),
        ("none.npz", "two uint16 images"),
    ],
)
def test_what_cannot_be_screened_is_refused(tmp_path, name, message) -> None:
    bad_files(tmp_path)
    with pytest.raises(ImageError, match=message):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("air", [0, 255, 65536])
def test_senseless_counts_of_air_are_refused(tmp_path, air) -> None:
    np.savez(tmp_path / "a.npz", low=LOW, high=HIGH)
    with pytest.raises(ImageError, match=r"256\.\.65535"):
        read_picture(tmp_path / "a.npz", air_counts=air)


def test_arrays_of_another_kind_are_no_pictures() -> None:
    with pytest.raises(ImageError, match="uint8"):
        ColourPicture(np.zeros((4, 4), np.uint8))
    with pytest.raises(ImageError, match="uint16"):
        DualEnergyPicture(LOW, HIGH.astype(np.int32))
