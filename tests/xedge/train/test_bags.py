from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.data.image_set import ImageSet
from xedge.encode import AIR_PLANES
from xedge.errors import ConfigError
from xedge.sim import CLASSES
from xedge.sim.bags import BagConfig
from xedge.spec import Channels
from xedge.train import bags
from xedge.train.bags import MAKERS, BagStore, Making, Windows, simulate, simulator_digest, window
from xedge.train.config import SimulatedData
from xedge.train.project import Donors
from xedge.train.sample import Sample

DATA = SimulatedData(height=60, width=50, min_visible=0.6)


def marked_bag(lines: int = 100) -> Sample:
    """Air with two dark rectangles, exactly where the boxes say."""
    planes = np.empty((3, lines, 40), np.uint8)
    planes[:] = AIR_PLANES[:, None, None]
    boxes = np.array([[5, 10, 15, 30], [20, 50, 36, 70]], np.float32)
    for x1, y1, x2, y2 in boxes.astype(int):
        planes[:, y1:y2, x1:x2] = 20
    return Sample(planes, boxes, np.array([0, 1], np.int32), np.array([1, 3], np.int32))


# At line 18 exactly 0.6 of the first object is left, and rounding would decide.
@given(st.integers(0, 40).filter(lambda top: top != 18))
def test_a_crop_moves_boxes_with_the_picture_and_drops_what_is_cut(top: int) -> None:
    piece = window(marked_bag(), top, DATA)
    assert piece.planes.shape == (3, 60, 50)
    visible = {0: np.clip(30 - max(top, 10), 0, 20) / 20, 1: (min(70, top + 60) - 50) / 20}
    assert set(piece.labels.tolist()) == {k for k, share in visible.items() if share >= 0.6}
    for box in piece.boxes.astype(int):
        x1, y1, x2, y2 = box
        assert (piece.planes[:, y1:y2, x1:x2] == 20).all()
    assert (piece.planes[:, :, 40:] == AIR_PLANES[:, None, None]).all()


def test_a_short_bag_is_padded_with_air() -> None:
    piece = window(marked_bag(45), 0, DATA)
    assert (piece.planes[:, 45:] == AIR_PLANES[:, None, None]).all()
    assert piece.labels.tolist() == [0]


def test_a_detector_wider_than_the_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="narrower than the detector"):
        window(marked_bag(), 0, SimulatedData(height=60, width=30))


def test_a_stored_bag_is_the_simulated_one(tmp_path: Path) -> None:
    packing = BagConfig(clean=0.0)
    store = BagStore(tmp_path, Making(4, packing))
    store.prepare(range(5, 6), 1, lambda: None)
    assert (store.folder / "5.npz").exists()
    stored, again = store.load(5), simulate(5, 4, packing)
    assert np.array_equal(stored.planes, again.planes)
    assert np.array_equal(stored.boxes, again.boxes)
    assert stored.labels.size > 0
    assert BagStore(tmp_path, Making(4, BagConfig())).folder != store.folder


@pytest.mark.parametrize("module", MAKERS)
def test_the_digest_follows_all_that_makes_a_bag(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = simulator_digest()
    edited = tmp_path / "edited.py"
    edited.write_bytes(Path(str(module.__file__)).read_bytes() + b"\n# another version\n")
    monkeypatch.setattr(module, "__file__", str(edited))
    assert simulator_digest() != before
    monkeypatch.undo()
    assert simulator_digest() == before


def test_the_makers_are_all_that_a_bag_is_made_by() -> None:
    # What sees the belt's counts or the planes on their way into a bag.
    tree = ast.parse(textwrap.dedent(inspect.getsource(bags._made)))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    homes = {getattr(bags, name).__module__ for name in used if hasattr(bags, name)
             and hasattr(getattr(bags, name), "__module__")}  # fmt: skip
    known = {module.__name__ for module in MAKERS} | {bags.__name__, "xedge.spec"}
    assert {h for h in homes if h.startswith("xedge") and not h.startswith("xedge.sim")} <= known
    assert {"xedge.encode", "xedge.train.counts"} <= homes


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


def test_a_whole_bag_in_colour_fills_the_picture(tmp_path: Path) -> None:
    data = SimulatedData(
        channels=Channels.PSEUDO_COLOUR, view="whole", binning=4, height=96, width=128,
        train_bags=2, val_bags=2, clean=0.0, cache=str(tmp_path),
    )  # fmt: skip
    item = Windows(data, CLASSES, 0, train=False)[0]
    whole = simulate(data.val_seed, 4, BagConfig(), Channels.PSEUDO_COLOUR)
    assert item.planes.shape == (3, 96, 128)
    scale = np.array([128, 96] * 2) / np.array(whole.planes.shape[:0:-1] * 2)
    assert np.allclose(item.boxes.numpy(), whole.boxes * scale, rtol=1e-5)
    # Air is white in a picture and there is air around a bag; matter has colours.
    assert (whole.planes[:, 0, 0] == 255).all()
    assert (np.ptp(whole.planes.astype(int), axis=0) > 60).any()


COLOUR = SimulatedData(
    channels=Channels.PSEUDO_COLOUR, view="whole", binning=1, height=96, width=96, elements=160,
    pitch_mm=3.5, train_bags=4, val_bags=1, clean=0.0, tone=0.0,
)  # fmt: skip


def test_bags_are_shown_on_many_screens_and_simulated_once(tmp_path: Path) -> None:
    data = replace(COLOUR, cache=str(tmp_path))
    plain, many = (Windows(replace(data, displays=n), CLASSES, 0, train=True) for n in (0, 12))
    assert plain.store.folder == many.store.folder
    corners = set()
    for many.epoch in range(6):
        corners |= {many[k].planes[0, 0, 0].item() for k in range(len(many))}
    assert len(corners) > 1  # the air of some screens is grey
    assert {plain[k].planes[0, 0, 0].item() for k in range(len(plain))} == {255}
    watched = [Windows(replace(data, displays=n), CLASSES, 0, train=False) for n in (0, 12)]
    assert watched[0][0].planes.equal(watched[1][0].planes)


def test_a_frame_brings_the_bag_forward(tmp_path: Path) -> None:
    data = replace(COLOUR, cache=str(tmp_path))
    whole, close = (Windows(replace(data, air=a), CLASSES, 0, train=True) for a in (None, 0.0))

    def matter(items: Windows) -> float:
        return float(np.mean([(items[k].planes.numpy() < 250).any(0).mean() for k in range(4)]))

    assert matter(close) > 1.2 * matter(whole)
    for k in range(4):
        boxes = close[k].boxes.numpy()
        assert (boxes >= 0).all()
        assert (boxes <= 96).all()
        assert len(boxes) == len(whole[k].boxes)


def test_other_bags_and_other_scanners_are_kept_apart(tmp_path: Path) -> None:
    data = replace(COLOUR, cache=str(tmp_path))
    others = [data, replace(data, elements=200), replace(data, bag=BagConfig(hardware=1.0))]
    folders = {Windows(d, CLASSES, 0, train=True).store.folder for d in others}
    assert len(folders) == 3
    assert data.pixel_mm == 3.5


def test_objects_of_pictures_are_projected_and_taught(tmp_path: Path) -> None:
    data = replace(COLOUR, tip=1.0, cache=str(tmp_path))
    planes = np.full((3, 96, 96), 255, np.uint8)
    planes[:, 30:60, 40:60] = np.array([30, 90, 200], np.uint8)[:, None, None]
    labels, levels = np.array([1], np.int32), np.zeros(1, np.int32)
    donor = Sample(planes, np.array([[40, 30, 60, 60]], np.float32), labels, levels)
    nothing = ImageSet("none", "coco", CLASSES, ())
    donors = Donors(lambda _: donor, nothing, (0,), Channels.PSEUDO_COLOUR)
    plain = Windows(replace(data, tip=0.0), CLASSES, 0, train=True, donors=donors)
    with_donors = Windows(data, CLASSES, 0, train=True, donors=donors)
    for k in range(4):
        before, after = plain[k], with_donors[k]
        assert len(after.labels) == len(before.labels) + 1
        assert after.labels[-1] == 1
        assert after.presence[1] == 1


DUAL = {"channels": Channels.DUAL_ENERGY, "elements": 800, "pitch_mm": 0.62}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("displays", DUAL | {"displays": 4}),
        ("elements", DUAL | {"elements": 640}),
        ("pitch_mm", DUAL | {"pitch_mm": 1.24}),
        ("displays", {"displays": 1000}),
        ("air", {"air": -0.1}),
        ("air", {"air": 0.1, "view": "window"}),
        ("tip", {"tip": 1.5}),
    ],
)
def test_looks_that_cannot_be_are_refused(key: str, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"data.{key} cannot be used"):
        replace(COLOUR, **change)  # type: ignore[arg-type]


def test_a_view_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.view.*window or whole, found 'side'"):
        SimulatedData(view="side")


def test_a_class_that_the_simulator_does_not_pack_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no such class.*found Folding_Knife"):
        Windows(SimulatedData(), ("gun", "Folding_Knife"), 0, train=True)
