from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from xedge.errors import AutogradInGraph
from xedge.models.label_aware import (
    Coefficients,
    apply_update,
    misleading_label,
    one_hot_argmax,
    refine_by_autograd,
)


def tiny_classifier(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 5, 3, padding=1),
    )


@given(st.floats(0.0, 2.0), st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_the_update_is_equation_7(a: float, b: float, c: float, seed: int) -> None:
    torch.manual_seed(seed)
    x, g1, g2 = torch.randn(3, 1, 4, 5, 6).unbind(0)
    refined, weight = apply_update(x, g1, g2, Coefficients(a, b, c))
    exact = x.double() * (a + b * g1.double().sigmoid() - c * g2.double().sigmoid())
    # Three float32 products and sums of terms up to (a + b + c) |x|.
    bound = 6 * torch.finfo(torch.float32).eps * (a + b + c + 1) * x.abs().max().item()
    assert (refined.double() - exact).abs().max() <= bound
    assert (x * (1 + weight) - refined).abs().max() <= 2 * bound


def test_a_small_gradient_survives_where_a_difference_of_sigmoids_loses_it() -> None:
    g1, g2 = torch.tensor([[[[3e-8]]]]), torch.tensor([[[[-3e-8]]]])
    _, weight = apply_update(torch.ones(1, 1, 1, 1), g1, g2, Coefficients())
    assert (g1.sigmoid() - g2.sigmoid()).item() == 0.0
    assert weight.item() == pytest.approx(1.5e-8, rel=1e-5)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_the_misleading_label_is_the_best_class_but_the_label(seed: int) -> None:
    torch.manual_seed(seed)
    scores = torch.rand(2, 5, 3, 4).clamp(1e-3)
    label = one_hot_argmax(scores)
    second = misleading_label(scores, label)
    assert (second.sum(1) == 1).all()
    assert ((second * label) == 0).all()
    assert torch.equal((second * scores).amax(1), scores.sort(1)[0][:, -2])


def test_background_has_no_label_and_is_misled_by_its_best_class() -> None:
    scores = torch.rand(1, 5, 2, 2)
    nothing = torch.zeros_like(scores)
    assert torch.equal(misleading_label(scores, nothing), one_hot_argmax(scores))


def test_the_gradient_is_that_of_finite_differences() -> None:
    classify = tiny_classifier(0).double()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    label = torch.zeros(1, 5, 4, 4, dtype=torch.float64)
    label[:, 2] = 1

    def total(value: Tensor) -> Tensor:
        scores: Tensor = classify(value).sigmoid()
        return (scores * label).sum()

    _, update = refine_by_autograd(
        lambda v: classify(v.double()), x, label, Coefficients(1.0, 1.0, 0.0)
    )
    step, k = 1e-6, (0, 3, 1, 2)
    up, down = x.clone(), x.clone()
    up[k] += step
    down[k] -= step
    with torch.no_grad():
        slope = (total(up) - total(down)) / (2 * step)
    # weight = sigmoid(g1), stored in float32.
    assert update.weight[k].item() == pytest.approx(slope.sigmoid().item(), abs=2e-7)


def test_the_weight_is_a_constant_and_leaves_no_gradient_in_the_first_pass() -> None:
    classify = tiny_classifier(1)
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    refined, update = refine_by_autograd(classify, x, None, Coefficients())
    refined.sum().backward()
    assert all(p.grad is None for p in classify.parameters())
    assert x.grad is not None
    assert torch.allclose(x.grad, 1 + update.weight)


def test_it_works_under_no_grad_as_inference_needs() -> None:
    with torch.no_grad():
        refined, update = refine_by_autograd(
            tiny_classifier(2), torch.randn(1, 8, 4, 4), None, Coefficients()
        )
    assert not refined.requires_grad
    assert update.weight.abs().max() > 0


def test_tracing_autograd_says_what_to_do() -> None:
    classify = tiny_classifier(3)

    class Naive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return refine_by_autograd(classify, x, None, Coefficients())[0]

    with pytest.raises(AutogradInGraph, match="xedge export"):
        torch.export.export(Naive(), (torch.randn(1, 8, 4, 4),))
