from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.early_la import EarlyLabelAware, class_cross_entropy
from xedge.models.label_aware import one_hot_argmax


def at(*values: float) -> Tensor:
    """One location with these channels, ``[1, C, 1, 1]``."""
    return torch.tensor(values).reshape(1, -1, 1, 1)


def awake(classes: int, width: int, blocks: int = 2) -> EarlyLabelAware:
    torch.manual_seed(0)
    layer = EarlyLabelAware(classes, width, blocks)
    nn.init.normal_(layer.weight.weight, std=0.3)
    return layer


def test_by_hand() -> None:
    """Two classes, labelled the first: x' = x + w x with w out of ln 2 and ln 4/3."""
    layer = EarlyLabelAware(classes=2, width=1, blocks=1).eval()
    conv = layer.blocks[0]
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1))
        layer.weight.weight.fill_(3.0)
        layer.weight.bias.fill_(0.5)  # type: ignore[union-attr]
    refined, weight = layer(at(10.0), at(0.5, 0.25), at(1.0, 0.0))
    # BatchNorm at its initial statistics divides by sqrt(1 + 1e-5).
    w = 3 * (math.log(2) + 2 * math.log(4 / 3)) / math.sqrt(1 + 1e-5) + 0.5
    assert weight.item() == pytest.approx(w, rel=1e-6)
    assert refined.item() == pytest.approx(10 + 10 * w, rel=1e-6)


def test_the_relu_of_a_block_cuts() -> None:
    layer = EarlyLabelAware(classes=2, width=1, blocks=1).eval()
    conv = layer.blocks[0]
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight.fill_(-1.0)
        layer.weight.weight.fill_(3.0)
    _, weight = layer(at(10.0), at(0.5, 0.25), at(1.0, 0.0))
    assert weight.item() == 0


def test_cross_entropy_of_labelled_class_background_and_the_two_ends() -> None:
    entropy = class_cross_entropy(at(0.8, 0.8, 1.0, 0.0), at(1.0, 0.0, 0.0, 1.0))
    limit = 23 * math.log(2)
    expected = [-math.log(0.8), -math.log(0.2), limit, limit]
    # 1 - 0.8 in float32 errs by 6e-8 of 0.2.
    assert entropy.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert class_cross_entropy(at(1.0, 0.0), at(1.0, 0.0)).abs().max() == 0


def test_scores_at_their_ends_keep_gradients_finite() -> None:
    scores = at(1.0, 0.0).requires_grad_()
    class_cross_entropy(scores, at(0.0, 1.0)).sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_it_starts_as_the_identity_and_can_leave_it() -> None:
    layer = EarlyLabelAware(3, 4)
    x, scores = torch.randn(2, 4, 5, 6), torch.rand(2, 3, 5, 6)
    refined, weight = layer(x, scores, one_hot_argmax(scores))
    assert torch.equal(refined, x)
    assert weight.abs().max() == 0
    refined.square().sum().backward()
    assert layer.weight.weight.grad is not None
    assert layer.weight.weight.grad.abs().max() > 0


def test_gradients_reach_features_scores_and_convolutions() -> None:
    layer = awake(3, 4)
    x = torch.randn(2, 4, 5, 6, requires_grad=True)
    scores = torch.rand(2, 3, 5, 6, requires_grad=True)
    refined, weight = layer(x, scores, torch.zeros(2, 3, 5, 6))
    grad_x, grad_scores = torch.autograd.grad(refined.sum(), (x, scores), retain_graph=True)
    assert torch.allclose(grad_x, 1 + weight)
    assert grad_scores.abs().max() > 0
    refined.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_without_a_label_the_best_class_takes_its_place() -> None:
    layer = awake(3, 4).eval()
    x, scores = torch.randn(2, 4, 5, 6), torch.rand(2, 3, 5, 6)
    refined, _ = layer(x, scores, None)
    assert torch.equal(refined, layer(x, scores, one_hot_argmax(scores))[0])
    assert not torch.equal(refined, layer(x, scores, torch.zeros_like(scores))[0])


def test_a_location_does_not_depend_on_its_neighbours() -> None:
    layer = awake(3, 4).eval()
    x, scores = torch.randn(1, 4, 5, 6), torch.rand(1, 3, 5, 6)
    other_x, other_scores = x.clone(), scores.clone()
    other_x[..., 0, 0] += 1
    other_scores[..., 0, 0] = 0.5
    same, other = layer(x, scores, None)[0], layer(other_x, other_scores, None)[0]
    assert not torch.equal(same[..., 0, 0], other[..., 0, 0])
    assert torch.allclose(same.flatten(2)[..., 1:], other.flatten(2)[..., 1:])


def test_autocast_keeps_the_small_weight() -> None:
    layer = awake(3, 4).eval()
    with torch.no_grad():
        layer.weight.weight *= 1e-4
    x, scores = torch.randn(1, 4, 5, 6), torch.rand(1, 3, 5, 6)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        refined, weight = layer(x, scores.bfloat16(), None)
    assert refined.dtype == weight.dtype == torch.float32
    assert 0 < weight.abs().max() < 2e-3  # below bfloat16's step at 1
    assert not torch.equal(refined, x)


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"width": 0}, {"blocks": 0}])
def test_a_step_without_classes_width_or_blocks_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        EarlyLabelAware(**({"classes": 2, "width": 4} | wrong))
