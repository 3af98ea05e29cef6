"""The unrolled gradient against autograd, the oracle, in float64."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from xedge_export.label_aware import OneHotArgmax, UnrolledLabelAware

from xedge.models.dense import DenseConfig, DenseHead
from xedge.models.label_aware import Coefficients, one_hot_argmax, refine_by_autograd
from xedge.models.pyramid import PyramidConfig


def random_head(seed: int, depth: int, groups: int, classes: int) -> DenseHead:
    torch.manual_seed(seed)
    head = DenseHead(
        DenseConfig(
            classes=tuple(f"c{k}" for k in range(classes)),
            pyramid=PyramidConfig(width=8),
            depth=depth,
            groups=groups,
        )
    )
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn_like(p) * (0.5 if p.ndim > 1 else 0.3) + (p.ndim == 1) * 0.5)
    return head.double().eval()


@given(
    seed=st.integers(0, 2**31 - 1),
    depth=st.integers(1, 4),
    groups=st.sampled_from([1, 2, 4, 8]),
    classes=st.integers(2, 6),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 7), st.integers(2, 7)),
)
@settings(max_examples=40)
def test_gradients_are_those_of_autograd(
    seed: int, depth: int, groups: int, classes: int, batch: int, size: tuple[int, int]
) -> None:
    head = random_head(seed, depth, groups, classes)
    x = torch.randn(batch, 8, *size, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, classes, (2, batch, *size))
    # The oracle's own one-hots, a background row among them, are fed to both.
    first, second = (
        torch.nn.functional.one_hot(lab, classes).movedim(-1, 1).double() for lab in labels
    )
    first[:, :, 0] = 0
    scores = head.classify(x).sigmoid()
    oracle = [
        torch.autograd.grad((scores * label).sum(), x, retain_graph=True)[0]
        for label in (first, second)
    ]
    unrolled = UnrolledLabelAware(head).double()
    with torch.no_grad():
        y, saved = unrolled.first_pass(x)
        found = unrolled.gradients(y, saved, first, second)
    assert torch.allclose(y, scores, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(found, oracle, strict=True):
        # float64 has 2e-16; four layers of sums over a few hundred terms, and 1/std up to 1e2.5
        # where a group is nearly constant, cost up to seven digits of it.
        scale = max(theirs.abs().max().item(), 1e-12)
        assert (mine - theirs).abs().max().item() < 1e-8 * scale


@given(seed=st.integers(0, 2**31 - 1), c=st.sampled_from([0.0, 1.0, 5.0]))
@settings(max_examples=15)
def test_refined_features_are_those_of_autograd(seed: int, c: float) -> None:
    head = random_head(seed, 2, 4, 4)
    k = Coefficients(1.0, c, c)
    x = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    unrolled = UnrolledLabelAware(head).double()
    unrolled.coefficients = k

    def classify(value: Tensor) -> Tensor:
        return head.classify(value)

    oracle, _ = refine_by_autograd(classify, x, None, k)
    with torch.no_grad():
        found = unrolled(x)
    # Both end in float32: a few roundings of a product with a weight up to 1 + c.
    bound = 8 * torch.finfo(torch.float32).eps * (1 + c) * x.abs().max().item()
    assert (found - oracle).abs().max().item() <= bound


def test_one_hot_by_comparison_takes_the_lower_class_of_a_tie() -> None:
    scores = torch.tensor([0.5, 0.7, 0.7, 0.1]).reshape(1, 4, 1, 1)
    found = OneHotArgmax(4)(scores)
    assert found.flatten().tolist() == [0, 1, 0, 0]
    assert torch.equal(found, one_hot_argmax(scores))


def test_a_level_of_one_row_still_couples_its_locations() -> None:
    """GroupNorm's derivative must move every location when one label changes."""
    head = random_head(7, 2, 2, 3)
    unrolled = UnrolledLabelAware(head).double()
    x = torch.randn(1, 8, 1, 9, dtype=torch.float64)
    with torch.no_grad():
        y, saved = unrolled.first_pass(x)
        label = torch.zeros_like(y)
        label[0, 0, 0, 0] = 1
        g1, g2 = unrolled.gradients(y, saved, label, torch.zeros_like(label))
    assert (g1[0, :, 0, 8].abs() > 0).any()
    assert (g2 == 0).all()
