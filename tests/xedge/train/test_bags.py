from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.encode import AIR_PLANES
from xedge.errors import ConfigError
from xedge.sim import CLASSES
from xedge.sim.bags import BagConfig
from xedge.train.bags import BagStore, PlanesOfBag, Windows, augment, crop, simulate
from xedge.train.config import SimulatedData

DATA = SimulatedData(height=60, width=50, min_visible=0.6)


def marked_bag(lines: int = 100) -> PlanesOfBag:
    """Air with two dark rectangles, exactly where the boxes say."""
    planes = np.empty((3, lines, 40), np.uint8)
    planes[:] = AIR_PLANES[:, None, None]
    boxes = np.array([[5, 10, 15, 30], [20, 50, 36, 70]], np.float32)
    for x1, y1, x2, y2 in boxes.astype(int):
        planes[:, y1:y2, x1:x2] = 20
    return PlanesOfBag(planes, boxes, np.array([0, 1], np.int32), np.array([1, 3], np.int32))


def dark_box(planes: np.ndarray) -> list[float]:
    """The bounding box of what is not air."""
    y, x = np.nonzero(planes[1] < 128)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


# At line 18 exactly 0.6 of the first object is left, and rounding would decide.
@given(st.integers(0, 40).filter(lambda top: top != 18))
def test_a_crop_moves_boxes_with_the_picture_and_drops_what_is_cut(top: int) -> None:
    window = crop(marked_bag(), top, DATA)
    assert window.planes.shape == (3, 60, 50)
    visible = {0: np.clip(30 - max(top, 10), 0, 20) / 20, 1: (min(70, top + 60) - 50) / 20}
    assert set(window.labels.tolist()) == {k for k, share in visible.items() if share >= 0.6}
    for box in window.boxes.astype(int):
        x1, y1, x2, y2 = box
        assert (window.planes[:, y1:y2, x1:x2] == 20).all()
    assert (window.planes[:, :, 40:] == AIR_PLANES[:, None, None]).all()


def test_a_short_bag_is_padded_with_air() -> None:
    window = crop(marked_bag(45), 0, DATA)
    assert (window.planes[:, 45:] == AIR_PLANES[:, None, None]).all()
    assert window.labels.tolist() == [0]


def test_a_detector_wider_than_the_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="narrower than the detector"):
        crop(marked_bag(), 0, SimulatedData(height=60, width=30))


@given(st.integers(0, 2**31 - 1))
def test_mirrors_keep_boxes_on_their_objects(seed: int) -> None:
    bag = marked_bag()
    single = PlanesOfBag(bag.planes.copy(), bag.boxes[:1], bag.labels[:1], bag.occlusion[:1])
    single.planes[:, 40:] = AIR_PLANES[:, None, None]
    turned = augment(single, np.random.default_rng(seed), 0.15)
    assert turned.boxes[0].tolist() == dark_box(turned.planes)


def test_tone_leaves_air_and_bends_matter() -> None:
    bag = marked_bag()
    tones = {int(augment(bag, np.random.default_rng(s), 0.3).planes[1].min()) for s in range(20)}
    assert len(tones) > 5
    for s in range(20):
        planes = augment(bag, np.random.default_rng(s), 0.3).planes
        assert planes[0].max() == AIR_PLANES[0]
        assert sorted(np.unique(planes[2])) == [20, AIR_PLANES[2]]


def test_a_stored_bag_is_the_simulated_one(tmp_path: Path) -> None:
    packing = BagConfig(clean=0.0)
    store = BagStore(tmp_path, 4, packing)
    store.prepare(range(5, 6), 1, lambda: None)
    assert (store.folder / "5.npz").exists()
    stored, again = store.load(5), simulate(5, 4, packing)
    assert np.array_equal(stored.planes, again.planes)
    assert np.array_equal(stored.boxes, again.boxes)
    assert stored.labels.size > 0
    assert BagStore(tmp_path, 4, BagConfig()).folder != store.folder


def test_training_windows_differ_by_epoch_and_held_out_ones_do_not(tmp_path: Path) -> None:
    data = SimulatedData(
        binning=4, height=128, width=256, train_bags=1, val_bags=1, cache=str(tmp_path)
    )
    train, held_out = (Windows(data, CLASSES, 0, train=part) for part in (True, False))
    seen = []
    for train.epoch in range(4):
        seen.append(train[0].planes.numpy().tobytes())
    assert len(set(seen)) > 1
    train.epoch = 0
    assert train[0].planes.numpy().tobytes() == seen[0]
    assert held_out[0].planes.equal(held_out[0].planes)
    assert held_out[0].planes.shape == (3, 128, 256)


def test_objects_of_other_classes_are_left_out_and_present_ones_are_marked(tmp_path: Path) -> None:
    data = SimulatedData(
        binning=4, height=256, width=256, train_bags=4, val_bags=4, clean=0.0, cache=str(tmp_path)
    )
    every = Windows(data, CLASSES, 0, train=True)
    some = Windows(data, CLASSES[::-2], 0, train=True)
    for index in range(len(every)):
        whole, part = every[index], some[index]
        names = [CLASSES[k] for k in whole.labels]
        kept = [name for name in names if name in CLASSES[::-2]]
        assert [CLASSES[::-2][k] for k in part.labels] == kept
        assert len(part.boxes) == len(part.levels) == len(kept)
        present = {c for c, p in zip(CLASSES[::-2], part.presence.tolist(), strict=True) if p == 1}
        assert present == set(kept)
    assert {int(p) for item in map(every.__getitem__, range(4)) for p in item.presence} == {1, -1}


def test_a_class_that_the_simulator_does_not_pack_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no such class.*found Folding_Knife"):
        Windows(SimulatedData(), ("gun", "Folding_Knife"), 0, train=True)
