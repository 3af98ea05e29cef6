from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from xedge.errors import ConfigError, InputError
from xedge.models.doam import DOAMConfig
from xedge.models.trunk import TrunkConfig
from xedge.models.yolov3 import (
    Anchors,
    Neck,
    YOLOv3,
    YOLOv3Config,
    YOLOv3Output,
    decode,
    make_anchors,
)

TINY = YOLOv3Config(
    classes=("gun", "knife", "can"),
    trunk=TrunkConfig(options={"channels": [8, 8, 16, 16], "stem_width": 8}),
    width=16,
)


def test_the_default_is_darknets_yolov3() -> None:
    with torch.device("meta"):  # shapes only, nothing is computed
        model = YOLOv3(YOLOv3Config(classes=tuple(map(str, range(80))))).eval()
        outputs = model(torch.empty(1, 3, 416, 416))
        maps = model.trunk(torch.empty(1, 3, 416, 416))
        levels = model.neck(maps)
    assert [tuple(x.shape[1:]) for x in levels] == [(128, 52, 52), (256, 26, 26), (512, 13, 13)]
    assert outputs.logits.shape == (1, 10647, 80)
    # The count of Darknet's yolov3.weights without its running means and variances.
    assert sum(p.numel() for p in model.parameters()) == 61_949_149


def test_anchors_go_cell_by_cell_and_belong_to_their_level() -> None:
    config = YOLOv3Config(classes=("a",))
    maps = [(52, 52), (26, 26), (13, 13)]
    anchors = make_anchors(config, (416, 416), maps)
    assert [len(part) for part in anchors] == [10647] * 3
    # Row 1, column 2 of the finest level, second of its anchors.
    row = (52 + 2) * 3 + 1
    assert anchors.corners[row].tolist() == [16, 8]
    assert anchors.strides[row].tolist() == [8]
    assert anchors.sizes[row].tolist() == [16, 30]
    assert anchors.corners[-1].tolist() == [384, 384]
    assert anchors.strides[-1].tolist() == [32]
    assert anchors.sizes[-1].tolist() == [373, 326]


def test_anchors_grow_with_the_images_shorter_side() -> None:
    anchors = make_anchors(TINY, (208, 320), [(26, 40), (13, 20), (7, 10)])
    assert anchors.sizes[0].tolist() == [5, 6.5]
    assert anchors.corners[26 * 40 * 3 + 20 * 3].tolist() == [0, 16]


def test_no_offset_is_the_anchor_in_the_middle_of_its_cell() -> None:
    anchors = Anchors(torch.tensor([[16.0, 8]]), torch.tensor([[8.0]]), torch.tensor([[20.0, 10]]))
    assert decode(torch.zeros(1, 4), anchors).tolist() == [[10, 7, 30, 17]]


def test_known_answers_decode_to_known_boxes_and_scores() -> None:
    anchors = Anchors(
        torch.tensor([[16.0, 8], [0, 32]]),
        torch.tensor([[8.0], [32.0]]),
        torch.tensor([[20.0, 10], [60, 40]]),
    )
    # A quarter of the cell from the left, three quarters from the top; twice as wide, half as high.
    third = math.log(3)
    offsets = torch.tensor([[[-third, third, math.log(2), -math.log(2)], [0, 0, 0, 0]]])
    logits = torch.tensor([[[third, 0.0, -third], [0.0, 0.0, 0.0]]])
    outputs = YOLOv3Output(logits, torch.tensor([[third, 0.0]]), offsets, anchors)
    boxes, scores = YOLOv3(TINY).decode(outputs)
    # Centre 18, 14; sides 40 and 5. Centre 16, 48; sides 60 and 40.
    expected = torch.tensor([[[-2.0, 11.5, 38, 16.5], [-14, 28, 46, 68]]])
    assert torch.allclose(boxes, expected, atol=1e-4)
    quarters = torch.tensor([[[9.0, 6, 3], [4, 4, 4]]]) / 16
    assert torch.allclose(scores, quarters)


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (75, 61)])
def test_there_is_an_answer_for_every_anchor(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = YOLOv3(TINY).eval()
    planes = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        boxes, scores = model.decode(model(planes))
    cells = sum(math.ceil(size[0] / s) * math.ceil(size[1] / s) for s in (8, 16, 32))
    assert boxes.shape == (2, cells * 3, 4)
    assert scores.shape == (2, cells * 3, 3)
    assert (boxes[..., :2] < boxes[..., 2:]).all()


def test_an_answer_belongs_to_its_own_anchor() -> None:
    model = YOLOv3(TINY).eval()
    head = model.heads[1]
    assert isinstance(head, nn.Sequential)
    assert isinstance(head[1], nn.Conv2d)
    assert head[1].bias is not None
    with torch.no_grad():
        head[1].weight.zero_()
        head[1].bias.zero_()
        head[1].bias[(5 + 3) * 2 + 5 + 1] = 7.0  # the third anchor's second class
        outputs = model(torch.zeros(1, 3, 64, 64))
    middle = slice(8 * 8 * 3, (8 * 8 + 4 * 4) * 3)
    expected = torch.zeros(4 * 4 * 3, 3)
    expected[2::3, 1] = 7.0
    assert torch.equal(outputs.logits[0, middle], expected)
    assert (outputs.objectness[0, middle] == 0).all()


def test_coarser_levels_reach_finer_ones_and_not_the_other_way() -> None:
    torch.manual_seed(0)
    neck = Neck([4, 6, 8], 16).eval()
    maps = [torch.randn(1, c, s, s, requires_grad=True) for c, s in ((4, 8), (6, 4), (8, 2))]
    reached = torch.autograd.grad(neck(maps)[0].sum(), maps, retain_graph=True)
    assert all(bool(g.abs().sum() > 0) for g in reached)
    fine, middle, coarse = torch.autograd.grad(neck(maps)[2].sum(), maps, allow_unused=True)
    assert fine is None
    assert middle is None
    assert coarse.abs().sum() > 0


def test_objects_are_rare_at_first() -> None:
    model = YOLOv3(TINY).eval()
    with torch.no_grad():
        for head in model.heads:
            assert isinstance(head, nn.Sequential)
            assert isinstance(head[1], nn.Conv2d)
            head[1].weight.zero_()
        objectness = model(torch.zeros(1, 3, 64, 64)).objectness.sigmoid()
    assert torch.allclose(objectness, torch.tensor(0.01))


@pytest.mark.parametrize("doam", [None, DOAMConfig()])
def test_every_parameter_is_reached_by_the_gradient(doam: DOAMConfig | None) -> None:
    torch.manual_seed(0)
    model = YOLOv3(replace(TINY, doam=doam, trunk=replace(TINY.trunk, attention="cbam")))
    outputs = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    sum(part.sum() for part in outputs[:3]).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": TrunkConfig(strides=(8, 32))}, r"trunk.strides.*double.*\(8, 32\)"),
        ({"trunk": TrunkConfig(strides=(8, 16))}, "anchors.*each of 2 levels"),
        ({"width": 6}, "width.*halved 2 times.*found 6"),
        ({"width": 4}, "width"),
        ({"anchors": ((10, 10),) * 4}, "anchors.*each of 3 levels"),
        ({"anchors": ()}, "anchors"),
        ({"anchors": ((10, 10), (0, 5), (9, 9))}, "anchors"),
        ({"anchor_side": 0}, "anchor_side"),
    ],
)
def test_a_configuration_that_fits_nothing_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)


def test_maps_that_were_rounded_down_are_refused() -> None:
    with pytest.raises(InputError, match="5 x 4 above 2 x 2"):
        Neck([4, 4], 8)([torch.zeros(1, 4, 5, 4), torch.zeros(1, 4, 2, 2)])
