from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from xedge.errors import ConfigError, DataError
from xedge.train.bags import Windows
from xedge.train.batch import collate, truth_of
from xedge.train.config import PictureData
from xedge.train.data import data_digest, open_data
from xedge.train.pictures import Pictures, open_pictures
from xedge.train.recipe import parse_recipe

DATA = PictureData(format="coco", height=48, width=64, held_out=0.3, blocks=10, tone=0.0, cache="")


def coco_folder(folder: Path, count: int = 20, crowds: tuple[int, ...] = ()) -> Path:
    """A folder of pictures, each with one dark square, and its COCO file; some are crowds."""
    folder.mkdir()
    images, annotations = [], []
    for k in range(count):
        picture = np.full((96, 128, 3), 255, np.uint8)
        picture[10 : 10 + 40, k : k + 30] = (200, 60, 30)  # blue, green, red: blue metal
        cv2.imwrite(str(folder / f"{k * 10:04}.png"), picture)
        images.append({"id": k, "file_name": f"{k * 10:04}.png", "width": 128, "height": 96})
        annotations.append(
            {
                "id": k,
                "image_id": k,
                "category_id": 1 + k % 2,
                "bbox": [k, 10, 30, 40],
                "area": 1200,
                "iscrowd": int(k in crowds),
            }
        )
    categories = [{"id": 1, "name": "Gun"}, {"id": 2, "name": "Bottle"}]
    (folder / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder


def brighten(root: Path) -> None:
    """Give each picture of a set other pixels; its annotations stay."""
    for path in root.glob("*.png"):
        picture = cv2.imread(str(path))
        assert picture is not None
        cv2.imwrite(str(path), np.minimum(picture, 220) + np.uint8(30))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_folder(tmp_path_factory.mktemp("sets") / "set")


def pictures(root: Path, data: PictureData, *, train: bool) -> Pictures:
    images = open_pictures(data, ("gun", "bottle"), root, train=train)
    return Pictures(images, data, 0, train=train)


def test_items_are_fitted_pictures_with_their_boxes_and_presence(root: Path) -> None:
    items = pictures(root, DATA, train=False)
    for item, record in zip(map(items.__getitem__, range(len(items))), items.images.records,
                            strict=True):  # fmt: skip
        assert item.name == record.name
        assert item.planes.shape == (3, 48, 64)
        assert np.allclose(item.boxes.numpy(), record.boxes / 2)
        x1, y1, x2, y2 = (int(v) for v in item.boxes[0])
        red, green, blue = item.planes[:, (y1 + y2) // 2, (x1 + x2) // 2].tolist()
        assert (red, green, blue) == (30, 60, 200)
        assert item.presence.tolist() == [1 if k == item.labels[0] else -1 for k in range(2)]
        assert item.levels.tolist() == [0]


def test_training_and_held_out_pictures_are_apart_and_all_there(root: Path) -> None:
    parts = [pictures(root, DATA, train=part) for part in (True, False)]
    names = [{r.name for r in part.images.records} for part in parts]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 20
    assert len(names[1]) == pytest.approx(6, abs=2)


def test_the_cache_gives_the_same_pictures(root: Path, tmp_path: Path) -> None:
    plain = pictures(root, DATA, train=False)
    cached_data = dataclasses.replace(DATA, cache=str(tmp_path))
    first, again = (pictures(root, cached_data, train=False) for _ in range(2))
    for k in range(len(plain)):
        for items in (first, again):
            assert items[k].planes.equal(plain[k].planes)
            assert items[k].boxes.equal(plain[k].boxes)
    assert len(list(tmp_path.glob("*/*.npz"))) == len(plain)


def test_the_cache_serves_no_pixels_of_other_files(tmp_path: Path) -> None:
    data = dataclasses.replace(DATA, cache=str(tmp_path / "cache"))
    one, other = coco_folder(tmp_path / "one"), coco_folder(tmp_path / "other")
    brighten(other)
    first, second = (pictures(folder, data, train=False) for folder in (one, other))
    assert first.images.digest == second.images.digest
    assert not first[0].planes.equal(second[0].planes)
    brighten(one)  # in place
    assert pictures(one, data, train=False)[0].planes.equal(second[0].planes)


def test_another_way_of_fitting_has_a_cache_of_its_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataclasses.replace(DATA, cache=str(tmp_path))
    before = pictures(root, data, train=False).store.folder
    assert pictures(root, data, train=False).store.folder == before
    monkeypatch.setattr("xedge.train.pictures.FITTING", 0)
    assert pictures(root, data, train=False).store.folder != before


def test_the_digest_of_data_covers_pixels_and_not_the_place(tmp_path: Path) -> None:
    folders = [coco_folder(tmp_path / name) for name in ("one", "other")]
    digests = [data_digest(pictures(folder, DATA, train=True)) for folder in folders]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 16
    brighten(folders[1])
    assert data_digest(pictures(folders[1], DATA, train=True)) != digests[0]


def test_an_ignored_class_is_left_out_and_its_picture_stays(root: Path) -> None:
    data = dataclasses.replace(DATA, ignore=("Bottle",))
    images = open_pictures(data, ("gun",), root, train=True)
    items = Pictures(images, data, 0, train=True)
    assert sorted({len(items[k].labels) for k in range(len(items))}) == [0, 1]


def test_a_limit_takes_pictures_evenly(root: Path) -> None:
    data = dataclasses.replace(DATA, limit=5)
    images = open_pictures(data, ("gun", "bottle"), root, train=True)
    names = [r.name for r in images.records]
    assert len(names) == len(set(names)) == 5


def test_a_class_that_the_recipe_does_not_know_names_the_file(root: Path) -> None:
    with pytest.raises(DataError, match=r"\.png.*expected one of gun.*found Bottle"):
        open_pictures(DATA, ("gun",), root, train=True)


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "set")
    for path in root.glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    items = pictures(root, DATA, train=False)
    with pytest.raises(DataError, match=items.images.records[0].name):
        items[0]


def test_projected_objects_are_taught_where_they_are(root: Path) -> None:
    data = dataclasses.replace(DATA, tip=1.0)
    plain, projected = pictures(root, DATA, train=True), pictures(root, data, train=True)
    more = 0
    for k in range(len(plain)):
        before, after = plain[k], projected[k]
        more += len(after.labels) - len(before.labels)
        assert {int(c) for c in after.labels} == {c for c in range(2) if after.presence[c] == 1}
        for x1, y1, x2, y2 in after.boxes.round().int().tolist():
            assert after.planes[0, y1:y2, x1:x2].min() < 128
    # A set of squares has enough surroundings to cut out of: hardly any is refused.
    assert more >= 0.8 * len(plain)


def test_the_middle_of_a_projected_object_is_anywhere_in_the_picture(root: Path) -> None:
    # 48 x 48 pixels hold a picture of 48 x 36; below it is air that no object lies in.
    data = dataclasses.replace(DATA, tip=1.0, width=48, keep_ratio=True)
    items = pictures(root, data, train=True)
    boxes = []
    for items.epoch in range(8):
        for k in range(len(items)):
            sample = items.store.load(k)
            rng = np.random.default_rng((items.epoch, k))
            boxes += items.donors.project(sample, rng).boxes[len(sample.boxes) :].tolist()
    x1, y1, x2, y2 = np.array(boxes).T
    assert y2.max() <= 36
    middles = np.stack([(x1 + x2) / 2 / 48, (y1 + y2) / 2 / 36])
    # The object is about 11 x 15 pixels: at the sides it is moved inwards, by half its size.
    assert (middles.min(axis=1) < [0.25, 0.35]).all()
    assert (middles.max(axis=1) > [0.8, 0.7]).all()


def test_a_donor_that_does_not_decode_leaves_a_sound_picture_as_it_is(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "set")
    items = pictures(root, dataclasses.replace(DATA, tip=1.0), train=True)
    broken = items.images.records[3]
    broken.path.write_bytes(broken.path.read_bytes()[:60])
    items.donors = dataclasses.replace(items.donors, indices=(3,))
    assert len(items[0].labels) == 1
    with pytest.raises(DataError, match=broken.name):
        items[3]


def test_difficult_objects_are_not_taught_and_not_asked_for(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "set", crowds=tuple(range(0, 20, 2)))  # all guns
    data = dataclasses.replace(DATA, cache=str(tmp_path / "cache"))
    for part in (True, False):
        items = pictures(root, data, train=part)
        for _ in ("made", "read"):
            batch = collate([items[k] for k in range(len(items))])
            guns = [bool(record.difficult[0]) for record in items.images.records]
            assert any(guns)
            assert [len(labels) for labels in batch.labels] == [not (g and part) for g in guns]
            marks = [t.difficult is not None and bool(t.difficult.any()) for t in truth_of(batch)]
            assert marks == [g and not part for g in guns]
            assert [0 in presence for presence in batch.presence.tolist()] == guns


def test_difficult_objects_are_not_projected(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "set", crowds=tuple(range(0, 20, 2)))
    items = pictures(root, dataclasses.replace(DATA, tip=1.0), train=True)
    labels = {int(c) for k in range(len(items)) for c in items[k].labels}
    assert labels == {1}


def test_a_recipe_on_pictures_needs_a_folder(root: Path) -> None:
    text = (
        'name = "x"\n[model]\nclasses = ["gun", "bottle"]\n'
        '[data]\nformat = "coco"\ncache = ""\nheight = 64\nwidth = 64\n'
    )
    recipe = parse_recipe(text)
    assert isinstance(open_data(recipe, root, train=True), Pictures)
    with pytest.raises(ConfigError, match="--data DIR"):
        open_data(recipe, None, train=True)


def test_a_recipe_on_simulated_bags_refuses_a_folder(root: Path) -> None:
    text = 'name = "x"\n[model]\nclasses = ["gun", "bottle"]\n'
    for part in (True, False):
        with pytest.raises(ConfigError, match=r"learns from simulated bags: .*--on NAME"):
            open_data(parse_recipe(text), root, train=part)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "dicom"),
        ("held_out", 1.0),
        ("tone", -1.0),
        ("tip", 2.0),
        ("height", 0),
        ("limit", -1),
    ],
)
def test_a_value_that_cannot_be_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"data.{key} cannot be used"):
        dataclasses.replace(DATA, **{key: value})  # type: ignore[arg-type]


def test_simulated_bags_take_objects_of_the_set_that_a_run_is_watched_by(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "set")
    text = (
        'name = "x"\n[model]\nclasses = ["gun", "plastic_bottle"]\n[data]\ntip = 1.0\n'
        'channels = "pseudo-colour"\nview = "whole"\nheight = 64\nwidth = 64\n'
        f'cache = "{tmp_path}"\n'
        '[held_out]\nformat = "coco"\nignore = ["Bottle"]\ncache = ""\nheight = 64\nwidth = 64\n'
    )
    recipe = parse_recipe(text)
    items = open_data(recipe, root, train=True)
    assert isinstance(items, Windows)
    assert items.donors is not None
    watched = open_data(recipe, root, train=False)
    assert isinstance(watched, Pictures)
    names = {record.name for record in watched.images.records}
    assert names.isdisjoint({record.name for record in items.donors.images.records})
    before = data_digest(items)
    brighten(root)
    assert data_digest(open_data(recipe, root, train=True)) != before
