from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.models.chr import CHR, CHRConfig
from xedge.models.meta_fusion import FusionConfig
from xedge.models.pyramid import PyramidConfig
from xedge.models.sxmnet import SXMNet, SXMNetConfig
from xedge.models.trunk import TrunkConfig
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.sxmnet import SXMNetCriterion, attention_loss, ellipses

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}
BEFORE, MAIN = Moment("before"), Moment("main")


def config_of(kind: str, *, attention: bool = True) -> SXMNetConfig:
    strides = (4, 8, 16, 32) if attention else (8, 16, 32)
    return SXMNetConfig(
        classes=("a", "b"),
        pyramid=PyramidConfig(options=TINY, strides=strides, width=8),
        attention=attention,
        coarse_widths=(16, 16, 16, 8),
        fine_widths=(16, 16, 16, 8),
        fusion=FusionConfig(kind=kind, width=16),
    )


def criterion_of(config: SXMNetConfig) -> SXMNetCriterion:
    torch.manual_seed(1)
    teacher = CHR(CHRConfig(classes=("b", "a"), trunk=TrunkConfig(options=TINY)))
    return SXMNetCriterion(Setting(config, OptimConfig(), 64, 64, teacher))


def test_an_ellipse_by_hand() -> None:
    # 8 x 6 cells of 10 pixels. Middle (40, 30), halves 30 and 20: a cell at (x, y) lies inside when
    # ((x - 40) / 30)^2 + ((y - 30) / 20)^2 <= 1.
    (mask,) = ellipses([torch.tensor([[10.0, 10.0, 70.0, 50.0]])], (60, 80), (6, 8))
    rows = ["........", "..####..", ".######.", ".######.", "..####..", "........"]
    assert ["".join(".#"[int(v)] for v in row) for row in mask[0].tolist()] == rows


def test_ellipses_of_an_image_are_one_and_no_object_is_lost() -> None:
    pair = torch.tensor([[0.0, 0.0, 40.0, 40.0], [10.0, 10.0, 50.0, 50.0]])
    speck = torch.tensor([[19.9, 19.9, 20.1, 20.1]])
    both, tiny, empty = ellipses([pair, speck, torch.zeros(0, 4)], (64, 64), (16, 16))
    assert set(both.unique().tolist()) == {0.0, 1.0}
    singly = ellipses([pair[:1], pair[1:]], (64, 64), (16, 16))
    assert torch.equal(both, singly.amax(0))
    assert tiny.sum() >= 1
    assert empty.sum() == 0


@settings(max_examples=50, deadline=None)
@given(x=st.floats(0, 60), y=st.floats(0, 60), w=st.floats(0.1, 64), h=st.floats(0.1, 64))
def test_every_box_has_a_cell_and_none_lies_far_outside(
    x: float, y: float, w: float, h: float
) -> None:
    box = torch.tensor([[x, y, min(x + w, 64), min(y + h, 64)]])
    (mask,) = ellipses([box], (64, 64), (8, 8))
    rows, columns = mask[0].nonzero(as_tuple=True)
    assert len(rows)
    # A cell's centre is inside the box, or inside the circle that stands for a small one.
    slack = 8 * 0.5**0.5 + 1e-3
    for centre, low, high in ((columns * 8 + 4, 0, 2), (rows * 8 + 4, 1, 3)):
        assert (centre >= box[0, low] - slack).all()
        assert (centre <= box[0, high] + slack).all()


def test_attention_is_taught_by_squares_summed_over_both_masks(squares: Batch) -> None:
    sizes = [(8, 8), (16, 16)]
    targets = [ellipses(squares.boxes, (64, 64), size) for size in sizes]
    perfect = (targets[0], targets[1])
    assert attention_loss(perfect, squares) == 0
    half = tuple(torch.full_like(t, 0.5) for t in targets)
    assert attention_loss(half, squares).item() == pytest.approx(0.25 * (64 + 256))


def test_an_image_whose_boxes_are_not_known_teaches_no_mask(squares: Batch) -> None:
    assert (squares.presence[:2] >= 0).any(dim=1).tolist() == [True, True]
    none = torch.zeros(0, 4)
    unknown = Batch(squares.names, squares.planes, [none, none, *squares.boxes[2:]],
                    squares.labels, squares.levels, squares.presence)  # fmt: skip
    rest = Batch(squares.names[2:], squares.planes[2:], squares.boxes[2:], squares.labels[2:],
                 squares.levels[2:], squares.presence[2:])  # fmt: skip
    masks = (torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)),)
    expected = attention_loss((masks[0][2:],), rest)
    torch.testing.assert_close(attention_loss(masks, unknown), expected)


def test_the_first_stage_leaves_the_heads_alone(squares: Batch) -> None:
    config = config_of("mf-i")
    model = SXMNet(config).train()
    loss, parts = criterion_of(config)(model, squares, BEFORE)
    loss.backward()
    assert set(parts) == {"attention"}
    taught = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert taught == {"pyramid", "attention"}
    assert all(p.grad is not None for p in model.pyramid.trunk.parameters())


@pytest.mark.parametrize(
    ("kind", "attention"),
    [("mf-n", True), ("mf-i", True), ("gated", True), ("mean", True), ("mf-i", False)],
)
def test_thirty_steps_teach_a_few_pictures(kind: str, attention: bool, squares: Batch) -> None:
    config = config_of(kind, attention=attention)
    model, losses = taught(config, MAIN, squares, 1e-2)
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_thirty_steps_teach_masks_where_the_squares_are(squares: Batch) -> None:
    _, losses = taught(config_of("mf-n"), BEFORE, squares, 2e-3)
    targets = [ellipses(squares.boxes, (64, 64), size) for size in ((8, 8), (16, 16))]
    level = tuple(torch.full_like(target, target.mean().item()) for target in targets)
    # Less than the best masks that know of no place: the features say where to look.
    assert losses[-1] < 0.8 * attention_loss(level, squares).item()


def taught(
    config: SXMNetConfig, moment: Moment, batch: Batch, rate: float
) -> tuple[SXMNet, list[float]]:
    torch.manual_seed(0)
    model, criterion = SXMNet(config).train(), criterion_of(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    losses = []
    for _ in range(30):
        loss, parts = criterion(model, batch, moment)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert all(math.isfinite(part) and not part.requires_grad for part in parts.values())
    return model, losses


def test_a_stage_for_an_attention_that_is_not_there(squares: Batch) -> None:
    config = config_of("mean", attention=False)
    with pytest.raises(ConfigError, match=r"has none.*\[before\]"):
        criterion_of(config)(SXMNet(config), squares, BEFORE)


def test_mf_n_asks_for_its_teacher() -> None:
    with pytest.raises(ConfigError, match="--teacher"):
        SXMNetCriterion(Setting(config_of("mf-n"), OptimConfig(), 64, 64))
