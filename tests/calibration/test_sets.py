"""Calibration sets: strata, hashes, planes as a device makes them, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from xedge_calibration.sets import (
    CalibrationSet,
    Item,
    _drawn,
    _Seen,
    data_set,
    pictures,
    planes_of,
    simulated_set,
)

from xedge.bundle import open_bundle
from xedge.errors import CalibrationError, DataError
from xedge.golden import golden_planes
from xedge.pictures import DualEnergyPicture


@pytest.fixture(scope="module")
def bags() -> CalibrationSet:
    return simulated_set(1)


def test_a_set_of_bags_is_read_again_and_compared(bags: CalibrationSet) -> None:
    (picture,) = pictures(bags)
    assert isinstance(picture, DualEnergyPicture)
    assert CalibrationSet.from_json(bags.to_json()) == bags
    assert len(bags.digest) == 64
    (item,) = bags.items
    other = replace(bags, items=(replace(item, sha256="0" * 64),))
    with pytest.raises(CalibrationError, match=f"picture {item.name} .* another one"):
        list(pictures(other))
    with pytest.raises(CalibrationError, match="do not belong together"):
        list(pictures(bags, Path()))


def test_planes_are_those_of_a_device() -> None:
    spec = open_bundle().spec
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 65535, (2, spec.height * spec.binning, 800), dtype=np.uint16)
    (planes,) = planes_of([DualEnergyPicture(*counts)], spec)
    np.testing.assert_array_equal(planes, golden_planes(*counts, spec)[0])
    long = DualEnergyPicture(*(np.tile(c, (2, 1)) for c in counts))
    assert len(list(planes_of([long], spec))) > 1


def test_classes_and_clutter_are_drawn_alike() -> None:
    rng = np.random.default_rng(2)
    common = [_Seen(str(k), "", ("gun",), rng.random()) for k in range(80)]
    rare = [_Seen(f"r{k}", "", ("knife",), rng.random()) for k in range(20)]
    drawn = _drawn(common + rare, 24)
    counts = Counter((name, item.clutter) for item in drawn for name in item.classes)
    assert len(drawn) == len({item.name for item in drawn}) == 24
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == 6


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for k in range(6):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((8, 9, 3), 40 * k, np.uint8))
    record = {
        "images": [{"id": k, "file_name": f"{k}.png", "height": 8, "width": 9} for k in range(6)],
        "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "gun"}],
    }
    (tmp_path / "all.json").write_text(json.dumps(record))
    chosen = data_set(tmp_path, "coco", "", 4)
    assert len(chosen.items) == 4
    assert ("gun",) in [item.classes for item in chosen.items]
    assert len(list(pictures(chosen, tmp_path))) == 4
    for path in tmp_path.glob("*.png"):
        cv2.imwrite(str(path), np.full((8, 9, 3), 7, np.uint8))
    with pytest.raises(CalibrationError, match="another one"):
        list(pictures(chosen, tmp_path))
    with pytest.raises(DataError):
        list(pictures(replace(chosen, items=(Item("nowhere", "", (), ""),)), tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "items": [{}]}', "\0"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match="no manifest"):
        CalibrationSet.from_json(text)


def test_empty_sets_are_refused() -> None:
    empty = CalibrationSet("simulated", "", ())
    for attempt in (
        lambda: CalibrationSet.from_json(empty.to_json()),
        lambda: list(pictures(empty)),
        lambda: simulated_set(0),
    ):
        with pytest.raises(CalibrationError, match="set is empty"):
            attempt()
    with pytest.raises(CalibrationError, match="another version"):
        CalibrationSet.from_json(empty.to_json().replace('"schema": 1', '"schema": 9'))
