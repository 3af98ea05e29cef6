from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.doam import DOAMConfig
from xedge.models.meta_fusion import FusionConfig, fuse
from xedge.models.pyramid import PyramidConfig
from xedge.models.sxmnet import BottomUpAttention, SXMNet, SXMNetConfig

TINY: Mapping[str, Any] = {"channels": [8, 8, 16, 16], "stem_width": 8}
SMALL: Mapping[str, Any] = {"coarse_widths": (8, 8, 8, 4), "fine_widths": (4, 4, 4, 2)}


def planes(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


def make(kind: str = "mf-i", *, attention: bool = True, **changes: object) -> SXMNet:
    torch.manual_seed(0)
    strides = (4, 8, 16, 32) if attention else (8, 16, 32)
    pyramid = PyramidConfig(options=dict(TINY), strides=strides, width=8)
    config = SXMNetConfig(
        classes=("a", "b"),
        pyramid=pyramid,
        attention=attention,
        fusion=FusionConfig(kind=kind, width=16),
        **(dict(SMALL) | changes),
    )
    return SXMNet(config).eval()


def test_maps_and_masks_come_coarsest_first() -> None:
    outputs = make()(planes(224, 224))
    assert [tuple(m.shape) for m in outputs.maps] == [(2, 8, s, s) for s in (7, 14, 28)]
    assert [tuple(m.shape) for m in outputs.attention] == [(2, 1, 28, 28), (2, 1, 56, 56)]
    assert outputs.selection is not None
    assert outputs.selection.shape == (2, 3)


def test_pyramid_levels_are_multiplied_by_the_mask_of_their_size() -> None:
    model, image = make(), planes(64, 96)
    outputs, levels = model(image), model.pyramid(image)
    fine = outputs.attention[-1]
    assert fine.shape[2:] == levels[0].shape[2:]
    masks = [F.avg_pool2d(fine, 8), F.avg_pool2d(fine, 4), F.avg_pool2d(fine, 2)]
    for found, x, mask in zip(outputs.maps, levels[:0:-1], masks, strict=True):
        torch.testing.assert_close(found, x * mask)


def test_the_head_has_the_released_layers_and_sees_the_image() -> None:
    head = BottomUpAttention(SXMNetConfig(classes=("a",)))
    assert head.reduce.weight.shape == (128, 256, 3, 3)
    shapes = [tuple(p.shape[:2]) for p in head.coarse.parameters() if p.ndim == 4]
    assert shapes == [(128, 131), (128, 128), (128, 128), (64, 128), (1, 64)]
    shapes = [tuple(p.shape[:2]) for p in head.fine.parameters() if p.ndim == 4]
    assert shapes == [(32, 4), (32, 32), (32, 32), (16, 32), (1, 16)]
    model = make()
    assert model.attention is not None
    level, image = torch.rand(1, 8, 16, 16), torch.rand(1, 3, 64, 64)
    coarse, fine = model.attention(level, image)
    assert coarse.shape == (1, 1, 8, 8)
    for mask in (coarse, fine):
        assert (mask > 0).all()
        assert (mask < 1).all()
    for mask, other in zip((coarse, fine), model.attention(level, image + 1), strict=True):
        assert not torch.equal(mask, other)


@pytest.mark.parametrize("kind", ["mean", "gated", "mf-i", "mf-n"])
def test_every_fusion_scores_and_points(kind: str) -> None:
    model, image = make(kind), planes(64, 96)
    outputs = model(image)
    assert (outputs.selection is None) == (kind == "mean")
    assert torch.equal(model.scores(outputs), fuse(outputs).sigmoid())
    assert model.locate(outputs).shape == (2, 2, 8, 12)
    assert model.locate(outputs, (64, 96)).shape == (2, 2, 64, 96)


@pytest.mark.parametrize("kind", ["mean", "mf-i"])
def test_the_mean_of_the_map_is_the_fused_logit_without_biases(kind: str) -> None:
    model = make(kind)
    for linear in model.heads.linear:
        torch.nn.init.zeros_(linear.bias)
    outputs = model(planes(64, 64))
    # Sizes that divide: bilinear resizing by two and four keeps the sum but at the border, where
    # it repeats the last cell, which is symmetric: the mean is kept up to float32's rounding.
    torch.testing.assert_close(
        model.locate(outputs).mean((2, 3)), fuse(outputs), atol=1e-5, rtol=1e-4
    )


def test_a_pyramid_without_attention_predicts_from_all_levels() -> None:
    model = make(attention=False)
    outputs = model(planes(64, 64))
    assert len(outputs.logits) == model.config.levels == 3
    assert outputs.attention == ()
    for found, x in zip(outputs.maps, model.pyramid(planes(64, 64))[::-1], strict=True):
        assert torch.equal(found, x)


@pytest.mark.parametrize("size", [(100, 132), (299, 224), (65, 40)])
def test_any_size_works(size: tuple[int, int]) -> None:
    model = make()
    outputs = model(planes(*size))
    assert model.scores(outputs).shape == (2, 2)
    assert model.locate(outputs, size).shape == (2, 2, *size)


def test_doam_leaves_the_head_the_three_planes() -> None:
    model = make(doam=DOAMConfig())
    model.scores(model(planes(64, 64))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pyramid": PyramidConfig(strides=(8,))}, "nothing to refine"),
        ({"coarse_widths": ()}, "nothing to refine, or no layer"),
        ({"smoothing": 1.0}, "model.smoothing"),
    ],
)
def test_a_bad_configuration_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SXMNetConfig(classes=("a",), **changes)
