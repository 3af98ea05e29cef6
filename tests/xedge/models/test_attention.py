from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.attention import ATTENTIONS, DualAttention, attend_channels, attention

F64 = NDArray[np.float64]
EACH = pytest.mark.parametrize("name", ATTENTIONS)


def features(n: int = 2, c: int = 16, h: int = 5, w: int = 7) -> Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


def awake(name: str, channels: int = 16) -> nn.Module:
    """A layer none of whose scales is zero, so that it does something."""
    torch.manual_seed(1)
    layer = attention(name, channels)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1
    return layer


def softmax(row: F64) -> F64:
    e = np.exp(row - row.max())
    return e / e.sum()  # type: ignore[no-any-return]


def slow_dual_attention(x: F64, layer: DualAttention) -> F64:
    """Equations 1 to 4 for one image ``[C, H, W]``, position by position, channel by channel."""
    c, h, w = x.shape
    a = x.reshape(c, h * w)

    def project(conv: nn.Conv2d) -> F64:
        assert conv.bias is not None
        weight = conv.weight.detach().double().numpy()[:, :, 0, 0]
        return weight @ a + conv.bias.detach().double().numpy()[:, None]  # type: ignore[no-any-return]

    query, key, value = project(layer.query), project(layer.key), project(layer.value)
    position, channel = np.zeros_like(a), np.zeros_like(a)
    for j in range(h * w):
        similarity = softmax(np.array([query[:, j] @ key[:, i] for i in range(h * w)]))
        for i in range(h * w):
            position[:, j] += similarity[i] * value[:, i]
    for j in range(c):
        similarity = softmax(np.array([a[j] @ a[i] for i in range(c)]))
        for i in range(c):
            channel[j] += similarity[i] * a[i]
    alpha, beta = layer.position_scale.item(), layer.channel_scale.item()
    return (a + alpha * position + beta * channel).reshape(x.shape)


def test_dual_attention_equals_its_equations() -> None:
    layer = DualAttention(16)
    torch.manual_seed(3)
    nn.init.constant_(layer.position_scale, 0.7)
    nn.init.constant_(layer.channel_scale, -1.3)
    # Energies of order one, or one channel would take the whole softmax.
    x = 0.3 * features()
    with torch.no_grad():
        out = layer(x)
        assert (out - x).abs().max() > 0.1
    for one, true in zip(out, x, strict=True):
        slow = slow_dual_attention(true.double().numpy(), layer)
        # Sums of up to 35 terms of order one in float32, weights that err by as much: 35 * 35 eps.
        assert np.abs(one.numpy() - slow).max() < 1e-4


def test_dual_attention_works_below_eight_channels() -> None:
    assert attention("da", 3)(features(c=3)).shape == (2, 3, 5, 7)


def test_channel_energies_survive_half_precision() -> None:
    x = 40 * features(h=16, w=16)
    with torch.autocast("cpu", dtype=torch.float16):
        mixed = attend_channels(x.half())
    assert mixed.isfinite().all()
    # Energies of 4e5: each channel attends to itself alone.
    assert torch.equal(mixed, x.half().float())


@EACH
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_shape_is_kept(name: str, training: bool, dtype: torch.dtype | None) -> None:
    layer, x = awake(name).train(training), features()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        out = layer(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    if name != "none":
        assert not torch.equal(out.float(), x)


@EACH
def test_every_parameter_and_the_input_learn(name: str) -> None:
    layer, x = awake(name), features().requires_grad_()
    layer(x).square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    # A constant added to all energies of a softmax row changes nothing, nor does one that
    # BatchNorm takes away again: such biases have no gradient.
    idle = {"non-local": {"p.bias", "g.bias", "z.bias"}, "da": {"key.bias"}}.get(name, set())
    for label, parameter in layer.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        if label not in idle:
            assert parameter.grad.abs().max() > 0, label


@pytest.mark.parametrize("name", ["none", "non-local", "da"])
@pytest.mark.parametrize("training", [True, False])
def test_these_start_as_the_identity(name: str, training: bool) -> None:
    x = features()
    assert torch.equal(attention(name, 16).train(training)(x), x)


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_these_only_weaken(name: str) -> None:
    x = features()
    ratio = attention(name, 16)(x) / x
    assert ratio.min() > 0
    assert ratio.max() < 1


def test_squeeze_and_excitation_weighs_channels_and_cbam_places_too() -> None:
    x = features()
    se, cbam = (awake(name).eval()(x) / x for name in ("se", "cbam"))
    # A quotient of products of float32: two roundings.
    assert (se - se[..., :1, :1]).abs().max() < 1e-6
    assert (cbam - cbam[..., :1, :1]).abs().max() > 1e-3


@EACH
def test_images_do_not_meet(name: str) -> None:
    layer, x = awake(name).eval(), features(n=3)
    with torch.no_grad():
        alone = torch.cat([layer(one[None]) for one in x])
        assert torch.allclose(layer(x), alone, atol=1e-5)  # sums of 35 terms in another order


def test_an_unknown_attention_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"none, se, non-local, da, cbam.*'eca'"):
        attention("eca", 8)
