from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from xedge.errors import ConfigError, DataError, ImageError
from xedge.train.batch import Item
from xedge.train.config import PictureData
from xedge.train.pictures import Pictures, open_pictures
from xedge.train.reading import Batches


class Scans:
    """Ten items, some of which cannot be read."""

    def __init__(self, broken: set[int]) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Item:
        if index in self.broken:
            raise ImageError(f"scan_{index}.png does not decode", remedy="Copy it again.")
        none = torch.zeros(0)
        return Item(f"scan {index}", torch.zeros(3, 2, 2), none, none, none, torch.zeros(1))


def names(batches: Batches) -> list[list[str]]:
    return [batch.names for batch in batches]


def make(broken: set[int], part: str, *, skip: bool, workers: int = 0) -> Batches:
    chosen = [[0, 3], [4, 9], [8, 2]]
    return Batches(Scans(broken), chosen, part, workers, skip, {})  # type: ignore[arg-type]


def test_batches_come_as_they_were_chosen_and_come_again() -> None:
    batches = make(set(), "training", skip=False)
    assert len(batches) == 3
    expected = [["scan 0", "scan 3"], ["scan 4", "scan 9"], ["scan 8", "scan 2"]]
    assert names(batches) == names(batches) == expected
    assert batches.bad == {}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_cannot_be_read_stops_the_run_by_name(workers: int) -> None:
    with pytest.raises(DataError, match=r"training item 9.*scan_9\.png.*--skip-bad") as caught:
        names(make({9}, "training", skip=False, workers=workers))
    assert "Traceback" not in str(caught.value)


def test_another_item_to_train_on_takes_its_place() -> None:
    batches = make({9, 0, 3}, "training", skip=True, workers=1)
    expected = [["scan 1", "scan 4"], ["scan 4", "scan 1"], ["scan 8", "scan 2"]]
    assert names(batches) == expected
    assert set(batches.bad) == {"training item 0", "training item 3", "training item 9"}
    assert "scan_9.png" in batches.bad["training item 9"]


def test_nothing_takes_the_place_of_an_item_to_be_measured_by() -> None:
    batches = make({9, 0, 3}, "held-out", skip=True)
    assert names(batches) == [["scan 4"], ["scan 8", "scan 2"]]
    assert set(batches.bad) == {"held-out item 0", "held-out item 3", "held-out item 9"}


def test_a_set_of_which_nothing_can_be_read_cannot_be_skipped() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        names(make(set(range(10)), "training", skip=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_another_error_of_ours_comes_out_of_a_worker_as_one_line(workers: int) -> None:
    class Unset(Scans):
        def __getitem__(self, index: int) -> Item:
            raise ConfigError("the set has no height", expected="1 or more", remedy="Set it")

    batches = Batches(Unset(set()), [[0]], "training", workers, True, {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        names(batches)
    assert str(caught.value) == "the set has no height: expected 1 or more. Set it"


def test_what_is_no_fault_of_the_data_is_raised_as_it_is() -> None:
    class Wrong(Scans):
        def __getitem__(self, index: int) -> Item:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        names(Batches(Wrong(set()), [[0]], "training", 0, True, {}))  # type: ignore[arg-type]


def test_a_torn_picture_of_a_data_set_is_named(tmp_path: Path) -> None:
    images, annotations = [], []
    for k in range(6):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((40, 40, 3), 40 * k, np.uint8))
        images.append({"id": k, "file_name": f"{k}.png", "width": 40, "height": 40})
        box = {"image_id": k, "category_id": 1, "bbox": [5, 5, 9, 9], "area": 81}
        annotations.append({"id": k, **box})
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Gun"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    data = PictureData(format="coco", held_out_part="-", height=32, width=32, cache="")
    items = Pictures(open_pictures(data, ("gun",), tmp_path, train=True), data, 0, train=True)
    torn = items.images.records[2].path
    torn.write_bytes(torn.read_bytes()[:50])
    items.images.records[4].path.unlink()
    chosen, bad = [[0, 2], [4, 1]], dict[str, str]()
    with pytest.raises(DataError, match=rf"training item 2 .*{torn.name}"):
        names(Batches(items, chosen, "training", 1, False, {}))
    found = names(Batches(items, chosen, "training", 1, True, bad))
    records = [record.name for record in items.images.records]
    assert found == [[records[0], records[3]], [records[5], records[1]]]
    assert set(bad) == {"training item 2", "training item 4"}
