from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from xedge.models.yolov3 import Anchors, YOLOv3Config, make_anchors
from xedge.train.assigners.yolov3 import assign

CONFIG = YOLOv3Config(classes=("a",))
ANCHORS = make_anchors(CONFIG, (416, 416), [(52, 52), (26, 26), (13, 13)])


def where(box: list[float]) -> list[tuple[list[float], list[float]]]:
    """Corner of the cell and size of the anchor of each positive."""
    mine = assign(ANCHORS, torch.tensor([box])) == 0
    return list(zip(ANCHORS.corners[mine].tolist(), ANCHORS.sizes[mine].tolist(), strict=True))


def test_an_object_has_the_anchor_of_its_shape_in_the_cell_of_its_centre() -> None:
    # Exactly 30 x 61, of the middle level, stride 16; the centre is at 105, 220.5.
    assert where([90, 190, 120, 251]) == [([96, 208], [30, 61])]
    # 12 x 12 overlaps 10 x 13 by 120/154, 16 x 30 by 144/480; the centre is at 26, 46.
    assert where([20, 40, 32, 52]) == [([24, 40], [10, 13])]
    # Larger than all.
    assert where([1, 1, 415, 411]) == [([192, 192], [373, 326])]


def test_a_centre_on_a_border_belongs_to_the_cell_that_begins_there() -> None:
    assert where([11, 9.5, 21, 22.5]) == [([16, 16], [10, 13])]


def test_of_two_objects_that_want_the_same_anchor_the_later_has_it() -> None:
    boxes = torch.tensor([[20.0, 40, 32, 52], [200, 200, 230, 261], [21, 41, 31, 53]])
    owner = assign(ANCHORS, boxes)
    assert sorted(owner[owner >= 0].tolist()) == [1, 2]


def test_no_object_leaves_background_and_one_beside_the_image_too() -> None:
    assert (assign(ANCHORS, torch.zeros(0, 4)) == -1).all()
    assert (assign(ANCHORS, torch.tensor([[-30.0, 5, -10, 25]])) == -1).all()


@given(st.integers(0, 2**31 - 1))
def test_it_is_darknets_rule_one_object_at_a_time(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    config = YOLOv3Config(classes=("a",))
    image, maps = (96, 128), [(12, 16), (6, 8), (3, 4)]
    anchors: Anchors = make_anchors(config, image, maps)
    corner = torch.rand(1, 2, generator=generator) * torch.tensor([90.0, 60.0])
    box = torch.cat([corner, corner + 1 + torch.rand(1, 2, generator=generator) * 35], 1)
    owner = assign(anchors, box)
    assert int((owner == 0).sum()) == 1
    w, h = (box[0, 2:] - box[0, :2]).tolist()
    overlaps = []
    for a, b in config.anchors:
        a, b = a * 96 / 416, b * 96 / 416
        shared = min(a, w) * min(b, h)
        overlaps.append(shared / (a * b + w * h - shared))
    best = max(range(9), key=overlaps.__getitem__)
    level = best // 3
    stride, columns = (8, 16, 32)[level], maps[level][1]
    x, y = ((box[0, :2] + box[0, 2:]) / 2 // stride).int().tolist()
    before = sum(m * n for m, n in maps[:level])
    assert int(owner.argmax()) == (before + y * columns + x) * 3 + best % 3
