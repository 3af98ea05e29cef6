from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.chr import CHR, CHRConfig, mean_score
from xedge.models.doam import DOAMConfig
from xedge.models.levels import LevelHeads, LevelsOutput
from xedge.models.meta_fusion import FusionConfig
from xedge.models.trunk import TrunkConfig

TINY: Mapping[str, Any] = {"channels": [8, 8, 16, 16], "stem_width": 8}
PLANES = torch.randint(
    0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
)


def make(**changes: object) -> CHR:
    torch.manual_seed(0)
    trunk = TrunkConfig(options=dict(TINY))
    return CHR(CHRConfig(classes=("a", "b"), trunk=trunk, **changes)).eval()  # type: ignore[arg-type]


def test_levels_come_coarsest_first() -> None:
    model = make()
    outputs = model(PLANES)
    shapes = [(2, 16, 2, 3), (2, 16, 4, 6), (2, 8, 8, 12)]
    assert [tuple(m.shape) for m in outputs.maps] == shapes
    assert [tuple(z.shape) for z in outputs.logits] == [(2, 2)] * 3
    assert outputs.selection is None


def test_each_level_is_what_the_released_code_computes() -> None:
    model = make()
    fine, middle, coarse = model.trunk(PLANES)
    own, (r3, r2) = model.own[0], model.refine

    def up(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)

    # Level 3 is told by the raw coarse map, level 2 by the refined middle one.
    second = r3.joined(torch.cat([up(coarse, middle), r3.own(middle).relu()], 1)).relu()
    third = r2.joined(torch.cat([up(second, fine), r2.own(fine).relu()], 1)).relu()
    outputs = model(PLANES)
    for one, other in zip(outputs.maps, [own(coarse).relu(), second, third], strict=True):
        torch.testing.assert_close(one, other)
    for z, x, head in zip(outputs.logits, outputs.maps, model.heads.linear, strict=True):
        torch.testing.assert_close(z, x.mean((2, 3)) @ head.weight.T + head.bias)
    assert not any("norm" in type(m).__name__.lower() for m in model.refine.modules())


def test_hierarchies_differ_in_which_levels_there_are() -> None:
    none, plain = make(hierarchy="none"), make(hierarchy="plain")
    assert len(none(PLANES).logits) == 1
    assert len(plain(PLANES).logits) == 3
    assert len(plain.refine) == 0
    for own, x, seen in zip(plain.own, plain.trunk(PLANES)[::-1], plain(PLANES).maps, strict=True):
        torch.testing.assert_close(seen, own(x).relu())


def test_the_baseline_is_the_coarsest_level_of_chr() -> None:
    whole, none = make(), make(hierarchy="none")
    strangers = none.load_state_dict(whole.state_dict(), strict=False)
    assert strangers.missing_keys == []
    torch.testing.assert_close(none(PLANES).logits[0], whole(PLANES).logits[0])


def test_fused_is_the_mean_of_the_scores_and_coarsest_the_first() -> None:
    logits = [torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, -2.0]]), torch.tensor([[-2.0, 0.0]])]
    outputs = LevelsOutput(logits, [])
    high, low = 1 / (1 + torch.tensor(-2.0).exp()), 1 / (1 + torch.tensor(2.0).exp())
    mean = (0.5 + high + low) / 3
    torch.testing.assert_close(make().scores(outputs), torch.stack([mean, mean])[None])
    torch.testing.assert_close(make(output="coarsest").scores(outputs), logits[0].sigmoid())
    torch.testing.assert_close(mean_score(outputs), make().scores(outputs))


@pytest.mark.parametrize(
    ("backbone", "sides"),
    [("inception_v3", (5, 12, 25)), ("densenet121", (7, 14, 28)), ("resnet34", (7, 14, 28))],
)
def test_backbones_of_the_paper_with_their_odd_sizes(backbone: str, sides: tuple[int, ...]) -> None:
    model = CHR(CHRConfig(classes=("a",), trunk=TrunkConfig(backbone=backbone))).eval()
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert tuple(m.shape[2] for m in outputs.maps) == sides
    assert model.locate(outputs).shape == (1, 1, sides[-1], sides[-1])


def test_activation_maps_equal_a_loop() -> None:
    torch.manual_seed(1)
    heads = LevelHeads([3, 4], 2)
    maps = [torch.randn(2, 3, 2, 2), torch.randn(2, 4, 4, 4)]
    expected = torch.zeros(2, 2, 2, 4, 4)
    for n in range(2):
        for level, (x, linear) in enumerate(zip(maps, heads.linear, strict=True)):
            for c in range(2):
                cam = sum(linear.weight[c, k] * x[n, k] for k in range(x.shape[1]))
                assert isinstance(cam, torch.Tensor)
                expected[n, level, c] = F.interpolate(
                    cam[None, None], size=(4, 4), mode="bilinear", align_corners=False
                )[0, 0]
    # Sums of at most 4 products of numbers around 1 in another order: a few times 2^-23.
    torch.testing.assert_close(heads.activations(maps, (4, 4)), expected, atol=1e-6, rtol=1e-5)


def test_a_map_is_the_largest_activation_of_all_levels() -> None:
    model = make()
    outputs = model(PLANES)
    levels = model.heads.activations(outputs.maps, (8, 12))
    assert torch.equal(model.locate(outputs), levels.max(dim=1).values)
    assert model.locate(outputs, (64, 96)).shape == (2, 2, 64, 96)


def test_the_mean_of_an_activation_map_is_the_logit_without_its_bias() -> None:
    model = make(hierarchy="none")
    outputs = model(PLANES)
    mean = model.locate(outputs).mean((2, 3)) + model.heads.linear[0].bias
    torch.testing.assert_close(mean, outputs.logits[0], atol=1e-6, rtol=1e-5)


def test_doam_and_attention_come_with_the_trunk() -> None:
    trunk = TrunkConfig(options={"channels": [16, 16, 32, 32], "stem_width": 8}, attention="se")
    model = CHR(CHRConfig(classes=("a",), doam=DOAMConfig(), trunk=trunk))
    sum(z.sum() for z in model(PLANES).logits).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hierarchy": "deep"}, "no such hierarchy.*none, plain, refined.*'deep'"),
        ({"output": "best"}, "no such output.*coarsest, fused"),
        ({"balance": "focal"}, "no such balance"),
        ({"epsilon": 1.0}, "model.epsilon"),
        ({"fusion": FusionConfig(), "output": "coarsest"}, "nothing to fuse"),
        ({"fusion": FusionConfig(), "hierarchy": "none"}, "nothing to fuse"),
    ],
)
def test_a_bad_configuration_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CHRConfig(classes=("a",), **changes)
