"""Every format as it is published, and folders that are not what they are said to be."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from xedge.data import FORMATS, load_picture, open_set, parts_of
from xedge.data.verify import verify
from xedge.errors import ConfigError, DataError


def names(images) -> list[str]:
    return [record.name for record in images.records]


@pytest.mark.parametrize(
    ("format", "parts", "part"),
    [
        ("sixray", ("10/test", "10/train", "100/test", "100/train"), "100/train"),
        ("opixray", ("train", "test", "test-1", "test-2", "test-3"), "test"),
        ("clcxray", ("train",), ""),
        ("gdxray", ("", "B0031", "B0046"), ""),
        ("coco", ("set",), ""),
    ],
)
def test_a_sound_set_opens_and_its_pictures_load(make_set, format, parts, part) -> None:
    root = make_set(format)
    assert parts_of(format, root) == parts
    images = open_set(format, root, part)
    assert images.format == format
    for record in images.records:
        assert load_picture(record).shape == (3, 40, 60)
        assert record.size in (None, (40, 60))
        assert len(record.within(40, 60).boxes) == len(record.boxes)


def test_sixray_has_decimals_negatives_and_difficult_classes(make_set) -> None:
    root = make_set("sixray")
    train = open_set("sixray", root, "10/train")
    assert names(train) == ["P00001", "P00002", "N0000001"]
    knife, gun, negative = train.records
    np.testing.assert_array_equal(knife.boxes, np.array([[7.318, 4.25, 25.5, 30.75]], np.float32))
    assert knife.size == (40, 60)
    assert knife.group == gun.group != negative.group
    assert gun.labels.tolist() == [0, 5]
    # Gun and Knife from the list; Hammer, which has no column, from its box.
    assert gun.presence.tolist() == [1, -1, -1, -1, -1, 1]
    assert negative.boxes.shape == (0, 4)
    assert negative.presence.tolist() == [-1] * 6
    (wrench, _) = open_set("sixray", root, "10/test").records
    assert wrench.presence[2] == 0
    assert wrench.difficult.tolist() == [True]


def test_sixray_without_annotations_still_has_the_labels_of_images(make_set) -> None:
    root = make_set("sixray")
    shutil.rmtree(root / "Annotation")
    train = open_set("sixray", root, "10/train")
    assert train.records[0].presence.tolist() == [-1, 1, -1, -1, -1, -1]
    assert not any(len(record.boxes) for record in train.records)


def test_the_real_images_open_and_split(real_data) -> None:
    images = open_set("sixray", real_data / "sixray-real")
    assert len(images) == 1114
    assert sum(len(record.boxes) for record in images.records) == 794
    assert sum((record.presence == -1).all() for record in images.records) == 320
    three = images.with_classes(("gun", "knife", "wrench"))
    train, held = three.split(0.2, 0)
    # 20 blocks of runs that hold up to 41 images: the share is met to half a block.
    assert len(held) == pytest.approx(223, abs=40)
    for part in (train, held):
        presence = np.stack([record.presence for record in part.records])
        assert ((presence == 1).sum(axis=0) >= 10).all()
        assert (presence == -1).all(axis=1).sum() >= 20
    # 29 of its pictures are there twice, under distant names.
    sums = [
        {hashlib.sha256(r.path.read_bytes()).digest() for r in p.records} for p in (train, held)
    ]
    assert not sums[0] & sums[1]
    assert load_picture(held.records[0]).shape[0] == 3


def test_opixray_levels_come_from_the_lists(make_set) -> None:
    root = make_set("opixray")
    train, test = (open_set("opixray", root, part) for part in ("train", "test"))
    assert names(train) == ["000001", "000002"]
    assert train.records[0].levels is None
    assert train.records[1].labels.tolist() == [2, 4]
    assert [record.levels.tolist() for record in test.records] == [[1], [2], [3]]
    (root / "test" / "test_knife-3.txt").write_text("009500\n009000\n")
    again = open_set("opixray", root, "test")  # the lower level of two
    assert [record.levels.tolist() for record in again.records] == [[1], [2], [3]]
    second = open_set("opixray", root, "test-2")
    assert names(second) == ["009001"]
    assert second.records[0].levels.tolist() == [2]


def test_clcxray_repairs_its_nameless_image_and_finds_pairs(make_set) -> None:
    images = open_set("clcxray", make_set("clcxray"))
    assert names(images) == ["20_40_04_138", "20_40_04_139", "20_40_04_140"]
    assert images.classes == ("blade", "scissors")  # in the order of their ids
    assert images.records[0].boxes.tolist() == [[5, 6, 25.5, 16]]
    assert images.records[0].presence.tolist() == [-1, 1]
    assert len({record.group for record in images.records}) == 1
    pair = images.records[1]
    assert pair.path.name == "20_40_04_139_low.png"
    # high = 1.4 low: channel 3 is 510 / (1 + exp(-1.4)) - 255 = 154.1, less a step where the
    # counts were rounded down.
    assert set(load_picture(pair)[2].ravel()) <= {153, 154}


def test_gdxray_groups_series_and_turns_swapped_corners(make_set) -> None:
    images = open_set("gdxray", make_set("gdxray"))
    assert names(images) == [f"B00{s}_000{k}" for s in (31, 46) for k in (1, 2, 3)]
    assert {record.group for record in images.records} == {"B0031", "B0046"}
    assert images.records[1].boxes.tolist() == [[10, 5, 20, 35]]
    assert images.records[3].boxes.tolist() == [[5, 6, 25, 30.5], [30, 6, 50, 30]]
    assert [len(record.boxes) for record in images.records] == [0, 1, 0, 2, 0, 1]
    assert images.records[1].presence.tolist() == [1]


def test_gdxray_opens_from_the_group_folder_and_by_series(make_set) -> None:
    root = make_set("gdxray") / "Baggages"
    assert names(open_set("gdxray", root, "B0046")) == ["B0046_0001", "B0046_0002", "B0046_0003"]
    (root / "B0046" / "ground_truth.txt").rename(root / "B0046" / "BoundingBox.mat")
    with pytest.raises(DataError, match=r"BoundingBox\.mat is a MATLAB file.*savetxt"):
        open_set("gdxray", root)


def test_coco_groups_by_bag_where_the_json_says_so(make_set) -> None:
    root = make_set("coco")
    content = json.loads((root / "set.json").read_text())
    for image in content["images"]:
        image["group"] = "bag 1"
    content["annotations"][0]["iscrowd"] = 1
    (root / "set.json").write_text(json.dumps(content))
    images = open_set("coco", root)
    assert {record.group for record in images.records} == {"bag 1"}
    assert images.records[0].difficult.tolist() == [True]
    assert images.records[0].presence.tolist() == [-1, 0]


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_folder_that_is_something_else_is_refused(tmp_path, format) -> None:
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))} is no data set of format"):
        open_set(format, tmp_path)
    with pytest.raises(DataError, match="found no such folder"):
        open_set(format, tmp_path / "absent")


def test_formats_parts_and_folders_that_do_not_exist_are_named(make_set) -> None:
    root = make_set("opixray")
    with pytest.raises(ConfigError, match="one of opixray, sixray"):
        open_set("voc", root)
    with pytest.raises(DataError, match="has several parts: expected one of train, test"):
        open_set("opixray", root)
    with pytest.raises(DataError, match="has no part 'val'"):
        open_set("opixray", root, "val")
    shutil.rmtree(root / "train" / "train_image")
    with pytest.raises(DataError, match="expected a folder train/train_image"):
        open_set("opixray", root, "train")


def test_a_copy_without_parts_says_so(make_set) -> None:
    root = make_set("sixray")
    (root / "images.csv").write_text((root / "ImageSet" / "10" / "train.csv").read_text())
    assert len(open_set("sixray", root)) == 3
    gdxray = make_set("gdxray")
    for ask in (open_set, verify):
        with pytest.raises(DataError, match=r"'train': this copy is .*without parts\. Leave"):
            ask("sixray", root, "train")
        with pytest.raises(DataError, match=r"expected one of B0031, B0046, or none at all\. Name"):
            ask("gdxray", gdxray, "B1")


def test_a_broken_file_is_named_or_skipped_and_told(make_set) -> None:
    root = make_set("sixray")
    (root / "Annotation" / "P00001.xml").write_text("<annotation><object></annotation>")
    with pytest.raises(DataError, match=r"Annotation/P00001\.xml: does not parse: found broken"):
        open_set("sixray", root, "10/train")
    told: list = []
    images = open_set("sixray", root, "10/train", skip=told.append)
    assert names(images) == ["P00002", "N0000001"]
    assert [(finding.file, finding.lost) for finding in told] == [("Annotation/P00001.xml", True)]


def test_a_set_of_which_nothing_is_left_is_refused(make_set) -> None:
    root = make_set("sixray")
    for path in (root / "JPEGImage").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no image that can be used"):
        open_set("sixray", root, "10/train", skip=lambda _: None)


def test_the_digest_is_the_same_wherever_the_set_lies(make_set, tmp_path) -> None:
    root = make_set("opixray")
    shutil.copytree(root, tmp_path / "moved")
    first, second = (open_set("opixray", at, "test") for at in (root, tmp_path / "moved"))
    assert first.digest == second.digest
