"""Which level is taught to be trusted, by hand; and teachers that cannot teach."""

from __future__ import annotations

import math

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.base import Classifier
from xedge.models.chr import CHR, CHRConfig
from xedge.models.levels import LevelsOutput
from xedge.models.meta_fusion import FusionConfig
from xedge.models.sxmnet import SXMNet, SXMNetConfig
from xedge.models.trunk import TrunkConfig
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.fusion import FusionLoss, labels_by_error, labels_by_size

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}


def chr_of(*classes: str, strides: tuple[int, ...] = (8, 16, 32)) -> CHR:
    torch.manual_seed(4)
    return CHR(CHRConfig(classes=classes, trunk=TrunkConfig(options=TINY, strides=strides)))


def setting(teacher: Classifier | None = None, classes: tuple[str, ...] = ("a", "b")) -> Setting:
    return Setting(SXMNetConfig(classes=classes), OptimConfig(), 100, 100, teacher)


def box(width: float, height: float) -> list[float]:
    return [5.0, 5.0, 5.0 + width, 5.0 + height]


def test_the_smallest_object_says_the_level_by_its_share_of_the_image() -> None:
    rows = [[box(10, 19.9)], [box(20, 10)], [box(50, 40)], [box(50, 40.1)],
            [box(90, 90), box(10, 10)], []]  # fmt: skip
    boxes = [torch.tensor(row).reshape(-1, 4) for row in rows]
    # 1.99 %, 2 %, 20 %, 20.05 %, 1 % beside 81 %, none.
    assert labels_by_size(boxes, 100 * 100).tolist() == [2, 1, 1, 0, 2, -1]


def test_the_level_with_the_smallest_error_is_taken_image_by_image() -> None:
    sure, unsure = 4.0, 0.5
    coarse = torch.tensor([[sure, -sure], [-sure, -sure], [unsure, -unsure]])
    middle = torch.tensor([[unsure, -unsure], [sure, -sure], [-sure, sure]])
    fine = torch.tensor([[-sure, sure], [unsure, -unsure], [sure, -sure]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert labels_by_error([coarse, middle, fine], targets).tolist() == [0, 1, 2]


def outputs_of(selection: torch.Tensor | None) -> LevelsOutput:
    logits = [torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.zeros(2, 2), torch.zeros(2, 2)]
    return LevelsOutput(logits, [], selection)


def test_the_loss_by_hand(squares: Batch) -> None:
    batch = Batch(["0", "1"], squares.planes[:2], [torch.tensor([box(90, 90)]), torch.zeros(0, 4)],
                  [torch.tensor([0]), torch.zeros(0).long()], [], squares.presence[:2])  # fmt: skip
    loss = FusionLoss(FusionConfig(kind="mf-i", weight=0.5), setting(), 3)
    # Weights 1/2, 1/4, 1/4: image 1 has the fused logit 1 for class 0.
    selection = torch.tensor([[2.0, 1.0, 1.0], [2.0, 1.0, 1.0]]).log()
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    total, parts = loss(outputs_of(selection), targets, batch, Moment())
    classes = (3 * math.log(2) + math.log(1 + math.e)) / 4
    assert parts["classes"].item() == pytest.approx(classes, rel=1e-5)
    # Of image 0 alone, whose object asks for the coarsest; image 1 has none.
    assert parts["level"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert total.item() == pytest.approx(classes + 0.5 * math.log(2), rel=1e-5)


def test_smoothing_asks_for_a_little_of_what_is_not_there(squares: Batch) -> None:
    loss = FusionLoss(FusionConfig(kind="mean"), setting(), 3, absent=0.1)
    logits = [torch.tensor([[1.0, 1.0]])]
    total, parts = loss(LevelsOutput(logits, []), torch.tensor([[1.0, 0.0]]), squares, Moment())
    yes, no = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    assert total.item() == pytest.approx((yes + 0.1 * yes + 0.9 * no) / 2, rel=1e-5)
    assert set(parts) == {"classes"}


def test_levels_weigh_alike_in_the_first_epochs_while_the_choice_is_taught(squares: Batch) -> None:
    loss = FusionLoss(FusionConfig(kind="mf-i", mean_epochs=4), setting(), 3)
    selection = torch.tensor([[9.0, 0.0, 0.0]] * 2, requires_grad=True)
    batch = Batch(["0", "1"], squares.planes[:2], squares.boxes[:2], squares.labels[:2], [],
                  squares.presence[:2])  # fmt: skip
    targets = torch.zeros(2, 2)
    early = loss(outputs_of(selection), targets, batch, Moment(epoch=3))
    late = loss(outputs_of(selection), targets, batch, Moment(epoch=4))
    assert early[1]["classes"] < late[1]["classes"]
    assert early[1]["level"] == late[1]["level"]
    early[0].backward()
    assert selection.grad is not None
    assert (selection.grad != 0).any()


def test_no_object_at_all_still_gives_a_finite_loss(squares: Batch) -> None:
    loss = FusionLoss(FusionConfig(kind="mf-i"), setting(), 3)
    batch = Batch(["0", "1"], squares.planes[:2], [torch.zeros(0, 4)] * 2,
                  [torch.zeros(0).long()] * 2, [], squares.presence[:2])  # fmt: skip
    total, parts = loss(outputs_of(torch.zeros(2, 3)), torch.zeros(2, 2), batch, Moment())
    assert torch.isfinite(total)
    assert parts["level"] == 0


def test_a_teacher_is_asked_for_the_classes_that_both_know(squares: Batch) -> None:
    teacher = chr_of("b", "other", "a")
    loss = FusionLoss(FusionConfig(kind="mf-n"), setting(teacher), 3)
    assert not teacher.training
    targets = (squares.presence >= 0).float()
    with torch.no_grad():
        logits = [level[:, [2, 0]] for level in teacher(squares.planes).logits]
    labels = loss.labels(squares, targets)
    assert torch.equal(labels, labels_by_error(logits, targets))
    assert len(labels.unique()) > 1


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (None, "has none.*found none.*xedge train chr-tiny.*--teacher"),
        (SXMNet(SXMNetConfig(classes=("a",))), "has none.*found SXMNet"),
        (chr_of("a", "b", strides=(16, 32)), "expected 3 levels.*found 2 levels"),
        (chr_of("c", "d"), "one of a, b or more, found 3 levels, c, d"),
    ],
    ids=["none", "another system", "levels", "classes"],
)
def test_a_teacher_that_cannot_teach(teacher: Classifier | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FusionLoss(FusionConfig(kind="mf-n"), setting(teacher), 3)


def test_sizes_are_known_for_three_levels() -> None:
    with pytest.raises(ConfigError, match=r"three levels.*found 2"):
        FusionLoss(FusionConfig(kind="mf-i"), setting(), 2)
