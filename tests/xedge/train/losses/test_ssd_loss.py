from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import box_convert

from xedge.models.doam import DOAMConfig
from xedge.models.ssd import SSD, SSDConfig, SSDOutput, decode
from xedge.models.trunk import TrunkConfig
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Setting
from xedge.train.losses.ssd import (
    SSDCriterion,
    detection_loss,
    focal_loss,
    hard_negatives,
    make_targets,
)
from xedge.train.recipe import load_recipe
from xedge.train.systems import SYSTEMS

# x y width height: a row of squares, and one that lies on an object.
PRIORS = torch.tensor([[8.0 + 16 * k, 8, 16, 16] for k in range(10)])
BOX = torch.tensor([[17.0, 1, 31, 14]])
CONFIG = SSDConfig(
    classes=("gun", "knife", "can"),
    trunk=TrunkConfig(strides=(8, 16), options={"channels": [8, 8, 16, 16], "stem_width": 8}),
    width=16,
    extra=(16,),
    extra_strides=(2,),
    sizes=(0.2, 0.4, 0.7, 1.0),
    ratios=((2,), (2,), (2,)),
)


def empty(classes: int = 3) -> SSDOutput:
    return SSDOutput(torch.zeros(1, 10, 1 + classes), torch.zeros(1, 10, 4), PRIORS)


def test_targets_name_class_and_offsets_of_matched_priors() -> None:
    targets = make_targets(
        PRIORS, [BOX, torch.zeros(0, 4)], [torch.tensor([2]), torch.zeros(0).long()]
    )
    expected = torch.zeros(2, 10, dtype=torch.int64)
    expected[0, 1] = 3
    assert torch.equal(targets.labels, expected)
    assert torch.allclose(decode(targets.offsets[0, 1], PRIORS[1]), BOX[0], atol=1e-4)
    assert (targets.offsets[targets.labels == 0] == 0).all()


def test_negatives_are_the_three_worst_for_each_positive_of_their_image() -> None:
    loss = torch.tensor([[9.0, 1, 5, 2, 4, 3, 0], [9, 1, 5, 2, 4, 3, 0], [1, 2, 3, 4, 5, 6, 7]])
    positive = torch.zeros(3, 7, dtype=torch.bool)
    positive[0, 0] = True
    positive[1, [0, 6]] = True
    mined = hard_negatives(loss, positive)
    assert mined[0].nonzero().flatten().tolist() == [2, 4, 5]
    assert mined[1].nonzero().flatten().tolist() == [1, 2, 3, 4, 5]  # all there are, 6 wanted
    assert not mined[2].any()


@pytest.mark.parametrize("equal", [0.0, 1.0])
def test_equal_losses_still_give_exactly_three(equal: float) -> None:
    positive = torch.zeros(1, 50, dtype=torch.bool)
    positive[0, 0] = True
    assert int(hard_negatives(torch.full((1, 50), equal), positive).sum()) == 3


def test_the_mined_loss_is_the_one_worked_out_by_hand() -> None:
    outputs = empty()
    outputs.logits[0, 5, 1] = 2.0  # the hardest negative
    targets = make_targets(PRIORS, [BOX], [torch.tensor([2])])
    loss, parts = detection_loss(outputs, targets, "multibox")
    # One positive and two negatives at 1 in 4, one negative at 1 in 3 + e^2.
    assert parts["classes"].item() == pytest.approx(3 * math.log(4) + math.log(3 + math.e**2))
    apart = targets.offsets[0, 1].abs()
    expected = torch.where(apart < 1, apart**2 / 2, apart - 0.5).sum()
    assert parts["box"].item() == pytest.approx(expected.item())
    assert loss.item() == pytest.approx((parts["classes"] + parts["box"]).item())


@pytest.mark.parametrize("loss", ["multibox", "focal"])
def test_an_image_that_comes_twice_changes_nothing(loss: str) -> None:
    one = make_targets(PRIORS, [BOX], [torch.tensor([2])])
    two = make_targets(PRIORS, [BOX, BOX], [torch.tensor([2])] * 2)
    twice = SSDOutput(empty().logits.repeat(2, 1, 1), empty().offsets.repeat(2, 1, 1), PRIORS)
    once = detection_loss(empty(), one, loss)[0]
    assert detection_loss(twice, two, loss)[0].item() == pytest.approx(once.item())


def test_focal_loss_is_cross_entropy_of_the_unsure() -> None:
    logits = torch.tensor([[[0.0, 0.0], [5.0, 0.0], [-5.0, 0.0]]])
    labels = torch.zeros(1, 3, dtype=torch.int64)
    p = logits.softmax(2)[..., 0]
    assert torch.allclose(focal_loss(logits, labels), -((1 - p) ** 2) * p.log())


def test_focal_loss_counts_every_prior_once() -> None:
    targets = make_targets(PRIORS, [BOX], [torch.tensor([2])])
    _, parts = detection_loss(empty(), targets, "focal")
    assert parts["classes"].item() == pytest.approx(10 * 0.75**2 * math.log(4))


@pytest.mark.parametrize("loss", ["multibox", "focal"])
def test_a_perfect_answer_has_almost_no_loss(loss: str) -> None:
    targets = make_targets(PRIORS, [BOX], [torch.tensor([2])])
    logits = F.one_hot(targets.labels, 4) * 20.0
    total, _ = detection_loss(SSDOutput(logits, targets.offsets, PRIORS), targets, loss)
    assert total < 1e-4


@pytest.mark.parametrize("loss", ["multibox", "focal"])
def test_no_object_at_all_still_gives_a_finite_loss_with_gradients(loss: str) -> None:
    targets = make_targets(PRIORS, [torch.zeros(0, 4)], [torch.zeros(0).long()])
    outputs = SSDOutput(empty().logits.requires_grad_(), empty().offsets.requires_grad_(), PRIORS)
    total, _ = detection_loss(outputs, targets, loss)
    total.backward()
    assert torch.isfinite(total)
    assert outputs.logits.grad is not None
    assert outputs.offsets.grad is not None


@pytest.mark.parametrize(
    ("doam", "loss"), [(None, "multibox"), (DOAMConfig(), "multibox"), (None, "focal")]
)
def test_the_loss_falls(  # type: ignore[no-untyped-def]
    thirty_steps, bright_squares: Batch, doam: DOAMConfig | None, loss: str
) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, doam=doam, loss=loss)
    model = SSD(config).train()
    criterion = SSDCriterion(Setting(config, OptimConfig(), 64, 64))
    losses = thirty_steps(model, criterion, bright_squares)
    assert losses[-1] < 0.3 * losses[0]


def test_the_recipes_make_what_they_say() -> None:
    built = {}
    for path in ("ssd-tiny", "ssd-doam-tiny", "ssd-doam-eg-tiny", "ssd-focal-tiny"):
        recipe, _ = load_recipe(Path(path))
        built[path] = SYSTEMS[recipe.system].build(recipe.model)
        assert isinstance(built[path], SSD)
    assert built["ssd-tiny"].config.doam is None
    assert built["ssd-doam-tiny"].config.doam == DOAMConfig()
    assert built["ssd-doam-eg-tiny"].config.doam == DOAMConfig(parts="eg")
    outputs = built["ssd-tiny"].eval()(torch.zeros(1, 3, 224, 224))
    assert box_convert(outputs.priors, "cxcywh", "xyxy").isfinite().all()
