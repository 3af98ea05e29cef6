from __future__ import annotations

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.attention import ATTENTIONS
from xedge.models.base import ModelConfig
from xedge.models.doam import DOAMConfig
from xedge.models.trunk import Trunk, TrunkConfig

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}
PLANES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)


def test_maps_come_at_the_strides_that_were_asked_for() -> None:
    trunk = Trunk(ModelConfig(classes=("a",)), TrunkConfig(options=TINY, strides=(4, 16))).eval()
    maps = trunk(PLANES)
    assert [tuple(m.shape) for m in maps] == [(2, 8, 16, 24), (2, 16, 4, 6)]
    assert trunk.channels == [8, 16]


def test_nothing_lies_behind_the_last_tap() -> None:
    trunk = Trunk(ModelConfig(classes=("a",)), TrunkConfig(options=TINY, strides=(8, 16)))
    sum(m.sum() for m in trunk(PLANES)).backward()
    assert all(p.grad is not None for p in trunk.parameters())


def test_planes_are_normalised_before_the_backbone() -> None:
    plain = Trunk(ModelConfig(classes=("a",)), TrunkConfig(options=TINY)).eval()
    moved = Trunk(
        ModelConfig(classes=("a",), mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0)),
        TrunkConfig(options=TINY),
    ).eval()
    moved.backbone.load_state_dict(plain.backbone.state_dict())
    for one, other in zip(plain(PLANES), moved((PLANES - plain.mean) * plain.scale), strict=True):
        assert torch.equal(one, other)


def test_doam_stands_in_front_with_a_fourth_plane() -> None:
    config = ModelConfig(classes=("a",), doam=DOAMConfig())
    trunk = Trunk(config, TrunkConfig(options=TINY))
    assert trunk.mean.flatten().tolist() == [*config.mean, 0.0]
    assert trunk.backbone.conv1[0].in_channels == 4
    maps = trunk.train()(PLANES)
    sum(m.sum() for m in maps).backward()
    assert trunk.doam is not None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trunk.doam.parameters())


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_stands_behind_every_map(name: str) -> None:
    config = TrunkConfig(options=TINY | {"channels": [16, 16, 32, 32]}, attention=name)
    trunk = Trunk(ModelConfig(classes=("a",)), config)
    assert [tuple(m.shape) for m in trunk(PLANES)] == [(2, 16, 8, 12), (2, 32, 4, 6), (2, 32, 2, 3)]
    learned = [p for layer in trunk.attention for p in layer.parameters()]
    assert bool(learned) == (name != "none")


def test_weights_that_cannot_be_fetched_are_an_error_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = TrunkConfig(backbone="resnet18d", pretrained=True)
    with pytest.raises(ConfigError, match="needs a network"):
        Trunk(ModelConfig(classes=("a",)), config)
