from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xedge.models.doam import DOAMConfig
from xedge.models.trunk import TrunkConfig
from xedge.models.yolov3 import Anchors, YOLOv3, YOLOv3Config, YOLOv3Output, decode, make_anchors
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Setting
from xedge.train.losses.yolov3 import (
    YOLOv3Criterion,
    detection_loss,
    make_targets,
    near_objects,
)
from xedge.train.recipe import load_recipe
from xedge.train.systems import SYSTEMS

CONFIG = YOLOv3Config(
    classes=("gun", "knife", "can"),
    trunk=TrunkConfig(options={"channels": [8, 8, 16, 16], "stem_width": 8}),
    width=16,
    anchors=((8, 8), (16, 16), (24, 24), (32, 16), (16, 32), (32, 32)) + ((48, 48),) * 3,
    anchor_side=64,
)
ANCHORS = make_anchors(CONFIG, (64, 64), [(8, 8), (4, 4), (2, 2)])
BOX = torch.tensor([[18.0, 10, 34, 28]])  # 16 x 18 around 26, 19: the second anchor of (24, 16)
MINE = (2 * 8 + 3) * 3 + 1
ALL = len(ANCHORS.sizes)


def answers(objectness: float) -> YOLOv3Output:
    return YOLOv3Output(
        torch.zeros(1, ALL, 3), torch.full((1, ALL), objectness), torch.zeros(1, ALL, 4), ANCHORS
    )


def test_targets_are_those_worked_out_by_hand() -> None:
    targets = make_targets(
        ANCHORS, [BOX, torch.zeros(0, 4)], [torch.tensor([2]), torch.zeros(0).long()], 3, (64, 64)
    )
    assert targets.positive.nonzero().tolist() == [[0, MINE]]
    assert targets.one_hot[0, MINE].tolist() == [0, 0, 1]
    expected = [0.25, 0.375, 0, math.log(18 / 16)]
    assert targets.offsets[0, MINE].tolist() == pytest.approx(expected)
    assert targets.weight[0, MINE].item() == pytest.approx(2 - 16 * 18 / 4096)
    assert float(targets.one_hot.sum()) == 1
    assert (targets.offsets[1] == 0).all()


def test_targets_decode_to_the_object() -> None:
    targets = make_targets(ANCHORS, [BOX], [torch.tensor([2])], 3, (64, 64))
    offsets = targets.offsets[0, MINE].clone()
    offsets[:2] = torch.logit(offsets[:2])
    here = Anchors(*(part[MINE] for part in ANCHORS))
    assert torch.allclose(decode(offsets, here), BOX[0], atol=1e-4)


def test_a_thin_object_has_finite_targets() -> None:
    thin = torch.tensor([[18.0, 10, 18, 28]])
    targets = make_targets(ANCHORS, [thin], [torch.tensor([0])], 3, (64, 64))
    assert targets.positive.any()
    assert targets.offsets.isfinite().all()


def test_the_loss_is_the_one_worked_out_by_hand() -> None:
    targets = make_targets(ANCHORS, [BOX], [torch.tensor([2])], 3, (64, 64))
    outputs = answers(0.0)
    outputs.offsets[0, MINE] = torch.tensor([1.0, -1.0, 0.5, 0.0])
    ignored = torch.zeros(1, ALL, dtype=torch.bool)
    ignored[0, :7] = True
    ignored[0, MINE] = True  # a positive is never ignored
    loss, parts = detection_loss(outputs, targets, ignored)
    assert parts["objectness"].item() == pytest.approx((ALL - 7) * math.log(2), rel=1e-5)
    assert parts["classes"].item() == pytest.approx(3 * math.log(2))
    # Cross entropy of a logit z and a target t: log(1 + e^z) - t z.
    place = math.log(1 + math.e) - 0.25 + math.log(1 + 1 / math.e) + 0.375
    size = (0.5**2 + math.log(18 / 16) ** 2) / 2
    assert parts["box"].item() == pytest.approx((place + size) * (2 - 288 / 4096), rel=1e-5)
    assert loss.item() == pytest.approx(sum(float(p) for p in parts.values()), rel=1e-6)


def test_an_image_that_comes_twice_changes_nothing() -> None:
    one = make_targets(ANCHORS, [BOX], [torch.tensor([2])], 3, (64, 64))
    two = make_targets(ANCHORS, [BOX, BOX], [torch.tensor([2])] * 2, 3, (64, 64))
    outputs, none = answers(0.3), torch.zeros(1, ALL, dtype=torch.bool)
    twice = YOLOv3Output(*(torch.cat([part, part]) for part in outputs[:3]), ANCHORS)
    again = detection_loss(twice, two, none.repeat(2, 1))[0]
    assert again.item() == pytest.approx(detection_loss(outputs, one, none)[0].item())


def test_boxes_near_an_object_are_found() -> None:
    outputs = answers(0.0)
    # The anchors themselves, in the middle of their cells: 16 x 16 at 28, 20 overlaps the object by
    # 14 x 16 = 224 of 256 + 288 - 224 = 320; one cell to the right by 6 x 16 = 96 of 448.
    near = near_objects(outputs, [BOX])
    assert near[0, MINE]
    assert not near[0, MINE + 3]
    assert not near_objects(outputs, [torch.zeros(0, 4)]).any()


def test_a_perfect_answer_has_only_the_entropy_of_its_place() -> None:
    targets = make_targets(ANCHORS, [BOX], [torch.tensor([2])], 3, (64, 64))
    offsets = targets.offsets.clone()
    offsets[..., :2] = torch.logit(offsets[..., :2].clamp(1e-3, 1 - 1e-3))
    outputs = YOLOv3Output(
        targets.one_hot * 40 - 20, targets.positive * 40.0 - 20, offsets, ANCHORS
    )
    _, parts = detection_loss(outputs, targets, torch.zeros(1, ALL, dtype=torch.bool))
    assert parts["objectness"] < 1e-4
    assert parts["classes"] < 1e-4
    entropy = sum(-t * math.log(t) - (1 - t) * math.log(1 - t) for t in (0.25, 0.375))
    assert parts["box"].item() == pytest.approx(entropy * (2 - 288 / 4096), rel=1e-4)


def test_no_object_at_all_still_gives_a_finite_loss_with_gradients() -> None:
    targets = make_targets(ANCHORS, [torch.zeros(0, 4)], [torch.zeros(0).long()], 3, (64, 64))
    outputs = YOLOv3Output(*(part.requires_grad_() for part in answers(0.0)[:3]), ANCHORS)
    total, _ = detection_loss(outputs, targets, torch.zeros(1, ALL, dtype=torch.bool))
    total.backward()
    assert torch.isfinite(total)
    for part in outputs[:3]:
        assert part.grad is not None
        assert part.grad.isfinite().all()


@pytest.mark.parametrize("doam", [None, DOAMConfig()])
def test_the_loss_falls(thirty_steps, bright_squares: Batch, doam: DOAMConfig | None) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    config = replace(CONFIG, doam=doam)
    model = YOLOv3(config).train()
    criterion = YOLOv3Criterion(Setting(config, OptimConfig(), 64, 64))
    losses = thirty_steps(model, criterion, bright_squares)
    assert losses[-1] < 0.4 * losses[0]


def test_the_recipes_make_what_they_say() -> None:
    for path, doam, attention in (
        ("yolov3-tiny", None, "none"),
        ("yolov3-doam-tiny", DOAMConfig(), "none"),
        ("yolov3-se-tiny", None, "se"),
    ):
        recipe, _ = load_recipe(Path(path))
        model = SYSTEMS[recipe.system].build(recipe.model)
        assert isinstance(model, YOLOv3)
        assert model.config.doam == doam
        assert model.config.trunk.attention == attention
