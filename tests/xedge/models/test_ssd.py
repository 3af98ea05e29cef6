from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from xedge.errors import ConfigError, InputError
from xedge.models.doam import DOAMConfig
from xedge.models.ssd import (
    SSD,
    L2Norm,
    SSDConfig,
    SSDOutput,
    decode,
    encode,
    make_priors,
)
from xedge.models.trunk import TrunkConfig

SSD300 = SSDConfig(classes=("folding", "straight", "scissors", "utility", "multi-tool"))
TINY = SSDConfig(
    classes=("gun", "knife", "can"),
    trunk=TrunkConfig(strides=(8, 16), options={"channels": [8, 8, 16, 16], "stem_width": 8}),
    width=16,
    extra=(16,),
    extra_strides=(2,),
    sizes=(0.2, 0.4, 0.7, 1.0),
    ratios=((2,), (2, 3), ()),
)
MAPS300 = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]


def test_ssd300_has_its_8732_priors_and_the_papers_parameters() -> None:
    with torch.device("meta"):  # shapes only, nothing is computed
        model = SSD(SSD300).eval()
        outputs = model(torch.empty(1, 3, 300, 300))
        levels = [tuple(x.shape[1:]) for x in model.levels(torch.empty(1, 3, 300, 300))]
    widths = (512, 1024, 512, 256, 256, 256)
    assert levels == [(c, h, w) for c, (h, w) in zip(widths, MAPS300, strict=True)]
    assert outputs.priors.shape == (8732, 4)
    assert outputs.logits.shape == (1, 8732, 6)
    assert outputs.offsets.shape == (1, 8732, 4)
    # DOAM's extension, table VIII: 24.2 million, cut off after one digit.
    assert 24.2e6 <= sum(p.numel() for p in model.parameters()) < 24.3e6


def test_priors_at_300_pixels_are_those_worked_out_by_hand() -> None:
    priors = make_priors(SSD300, (300, 300), MAPS300)
    assert priors.shape == (8732, 4)
    between, root = math.sqrt(30 * 60), math.sqrt(2)
    # The first cell of stride 8 has its centre at 4, 4; sides 30, sqrt(30 60), then 2:1 and 1:2.
    first = [
        [4, 4, 30, 30],
        [4, 4, between, between],
        [4, 4, 30 * root, 30 / root],
        [4, 4, 30 / root, 30 * root],
    ]
    assert torch.allclose(priors[:4], torch.tensor(first))
    # Row 1, column 2 of the 19 x 19: cells before it 38 38 4 + (19 + 2) 6; 60 pixels, 3:1.
    row = 38 * 38 * 4 + (19 + 2) * 6 + 4
    three = math.sqrt(3)
    assert priors[row].tolist() == pytest.approx([40, 24, 60 * three, 60 / three])
    # The 3 x 3 has steps of 100: its last cell has its centre at 250. 213 sqrt(2) is 301.2 and cut.
    assert priors[8732 - 5].tolist() == pytest.approx([250, 250, 213 / root, 300])
    # The last level has one cell; 264 sqrt(2) is cut as well.
    assert priors[-2].tolist() == pytest.approx([150, 150, 300, 264 / root])


def test_priors_follow_the_shorter_side_and_stay_in_the_image() -> None:
    priors = make_priors(TINY, (64, 96), [(8, 12), (4, 6), (2, 3)])
    assert len(priors) == 8 * 12 * 4 + 4 * 6 * 6 + 2 * 3 * 2
    assert priors[0].tolist() == pytest.approx([4, 4, 12.8, 12.8])
    limit = torch.tensor([96.0, 64, 96, 64])
    assert (priors > 0).all()
    assert (priors <= limit).all()
    # The last level has stride 32: its last cell has its centre at x 80, y 48.
    assert priors[-1, :2].tolist() == [80, 48]


def test_a_level_without_border_is_stretched_over_the_image() -> None:
    config = replace(TINY, extra_strides=(1,))
    priors = make_priors(config, (64, 96), [(8, 12), (4, 6), (2, 4)])
    # Steps of 96/4 and 64/2: the last cell of 4 columns, 2 rows has its centre at 84, 48.
    assert priors[-1, :2].tolist() == [84, 48]


def test_no_offset_is_the_prior_itself() -> None:
    priors = torch.tensor([[50.0, 40.0, 20.0, 10.0]])
    assert decode(torch.zeros(1, 4), priors).tolist() == [[40, 35, 60, 45]]


def test_known_logits_decode_to_known_boxes() -> None:
    priors = torch.tensor([[50.0, 40.0, 20.0, 10.0], [10.0, 10.0, 8.0, 8.0]])
    # Half the width to the right, a tenth of the height up; twice as wide, as high as before.
    offsets = torch.tensor([[[5.0, -1.0, math.log(2) / 0.2, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    logits = torch.tensor([[[0.0, math.log(2), 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]]])
    model = SSD(TINY)
    boxes, scores = model.decode(SSDOutput(logits, offsets, priors))
    # Centre 60, 39; sides 40 and 10.
    assert torch.allclose(boxes, torch.tensor([[[40.0, 34, 80, 44], [6, 6, 14, 14]]]))
    assert scores.shape == (1, 2, 3)
    assert scores[0, 0].tolist() == pytest.approx([0.4, 0.2, 0.2])  # 2, 1, 1 of 5
    assert (scores[0, 1] < 1e-3).all()


@given(st.integers(0, 2**31 - 1))
def test_decoding_undoes_encoding(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    corner = random(20, 2) * 250
    boxes = torch.cat([corner, corner + 4 + random(20, 2) * 200], 1)
    priors = torch.cat([random(20, 2) * 300, 8 + random(20, 2) * 250], 1)
    # Numbers up to 500 through log and exp in float32: 500 2^-24 about ten times, 3e-4.
    assert torch.allclose(decode(encode(boxes, priors), priors), boxes, rtol=0, atol=1e-3)


def test_the_first_levels_features_have_the_learned_length() -> None:
    norm = L2Norm(6, 20.0)
    norm.scale.data[2] = 5
    x = torch.randn(2, 6, 3, 4)
    expected = F.normalize(x, dim=1) * 20
    expected[:, 2] /= 4
    assert torch.allclose(norm(x), expected)
    assert torch.isfinite(norm(torch.zeros(1, 6, 2, 2))).all()


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (75, 61)])
def test_there_is_an_answer_for_every_prior(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = SSD(TINY).eval()
    planes = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        outputs = model(planes)
        boxes, scores = model.decode(outputs)
    maps = [(math.ceil(size[0] / s), math.ceil(size[1] / s)) for s in (8, 16, 32)]
    priors = sum(h * w * k for (h, w), k in zip(maps, (4, 6, 2), strict=True))
    assert outputs.priors.shape == (priors, 4)
    assert boxes.shape == (2, priors, 4)
    assert scores.shape == (2, priors, 3)
    assert (boxes[..., :2] < boxes[..., 2:]).all()


def test_an_answer_belongs_to_its_own_prior() -> None:
    model = SSD(TINY).eval()
    with torch.no_grad():
        for layer in (*model.cls, *model.reg):
            assert isinstance(layer, torch.nn.Conv2d)
            layer.weight.zero_()
        first = model.reg[0]
        assert isinstance(first, torch.nn.Conv2d)
        assert first.bias is not None
        first.bias[4 * 2 + 1] = 7.0  # y of the third prior of each cell
        outputs = model(torch.zeros(1, 3, 64, 64))
    expected = torch.zeros_like(outputs.offsets)
    expected[0, 2 : 8 * 8 * 4 : 4, 1] = 7.0
    assert torch.equal(outputs.offsets, expected)


def test_focal_loss_begins_with_objects_being_rare() -> None:
    model = SSD(replace(TINY, loss="focal")).eval()
    with torch.no_grad():
        for layer in model.cls:
            assert isinstance(layer, torch.nn.Conv2d)
            layer.weight.zero_()
        _, scores = model.decode(model(torch.zeros(1, 3, 64, 64)))
    assert torch.allclose(scores.sum(2), torch.tensor(0.01))


@pytest.mark.parametrize("doam", [None, DOAMConfig()])
def test_every_parameter_is_reached_by_the_gradient(doam: DOAMConfig | None) -> None:
    torch.manual_seed(0)
    model = SSD(replace(TINY, doam=doam, trunk=replace(TINY.trunk, attention="se")))
    outputs = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    (outputs.logits.sum() + outputs.offsets.sum()).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert missing == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": TrunkConfig(strides=(8, 16, 32))}, r"trunk.strides.*twice.*\(8, 16, 32\)"),
        ({"trunk": TrunkConfig(strides=(8, 32))}, "trunk.strides"),
        ({"l2_scale": 0.0}, "model.l2_scale"),
        ({"width": 0}, "model.width"),
        ({"extra": (1,)}, "model.extra cannot"),
        ({"extra_strides": (2, 2)}, "extra_strides.*as many"),
        ({"extra_strides": (3,)}, "extra_strides"),
        ({"sizes": (0.2, 0.4, 0.7)}, "sizes.*4 rising"),
        ({"sizes": (0.2, 0.2, 0.7, 1.0)}, "sizes"),
        ({"sizes": (0.0, 0.2, 0.7, 1.0)}, "sizes"),
        ({"ratios": ((2,), (2,))}, "ratios.*3 lists"),
        ({"ratios": ((2,), (1,), ())}, "ratios"),
        ({"loss": "hinge"}, "loss.*multibox or focal"),
    ],
)
def test_a_configuration_that_fits_nothing_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)


def test_an_image_too_small_for_a_level_without_border_is_refused() -> None:
    model = SSD(replace(TINY, extra_strides=(1,))).eval()
    with pytest.raises(InputError, match=r"too small.*2 x 6 cells.*32 x 96"):
        model(torch.zeros(1, 3, 32, 96))
