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
    unrolled = UnrolledLabelAware(head, 0).double()
    with torch.no_grad():
        y, saved = unrolled.first_pass(x)
        found = unrolled.gradients(y, saved, [first, second])
    assert torch.allclose(y, scores, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(found, oracle, strict=True):
        # float64 has 2e-16; four layers of sums over a few hundred terms, and 1/std up to 1e2.5
        # where a group is nearly constant, cost up to seven digits of it.
        assert mine is not None
        scale = max(theirs.abs().max().item(), 1e-12)
        assert (mine - theirs).abs().max().item() < 1e-8 * scale


COEFFICIENTS = [(1.0, 1.0, 1.0), (1.0, 5.0, 5.0), (0.5, 1.0, 0.0), (0.0, 2.0, 0.0),
                (1.5, 0.0, 1.0), (1.0, 0.0, 0.0)]  # fmt: skip


@given(seed=st.integers(0, 2**31 - 1), factors=st.sampled_from(COEFFICIENTS))
@settings(max_examples=20)
def test_refined_features_are_those_of_autograd(
    seed: int, factors: tuple[float, float, float]
) -> None:
    head = random_head(seed, 2, 4, 4)
    k, c = Coefficients(*factors), max(factors)
    x = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    unrolled = UnrolledLabelAware(head, 0).double()
    unrolled.coefficients = k

    def classify(value: Tensor) -> Tensor:
        return head.classify(value)

    oracle, _ = refine_by_autograd(classify, x, None, k)
    with torch.no_grad():
        found = unrolled(x)
    # Both end in float32: a few roundings of a product with a weight up to 1 + c.
    bound = 8 * torch.finfo(torch.float32).eps * (1 + c) * x.abs().max().item()
    assert (found - oracle).abs().max().item() <= bound


@given(seed=st.integers(0, 2**31 - 1), level=st.integers(0, 2), batch=st.integers(1, 2))
@settings(max_examples=15)
def test_label_aware_by_regression_is_that_of_autograd(seed: int, level: int, batch: int) -> None:
    torch.manual_seed(seed)
    config = DenseConfig(
        classes=("a", "b"), pyramid=PyramidConfig(width=8), depth=2, groups=4, bins=6,
        label_aware_by="regression", coefficients=Coefficients(0.5, 1.0, 0.0),
    )  # fmt: skip
    head = DenseHead(config)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn_like(p) * (0.5 if p.ndim > 1 else 0.3) + (p.ndim == 1) * 0.5)
    x = torch.randn(batch, 8, 6, 5)
    unrolled = UnrolledLabelAware(head.eval(), level)
    with torch.no_grad():
        scores, _ = unrolled.first_pass(x)
        found = unrolled(x)
    oracle, update = head.refine(x, level, None)
    # Raw values of some units: a few roundings of their logits.
    assert (scores - update.scores).abs().max() < 1e-5
    ahead = update.scores.reshape(batch, 4, 7, 30).topk(2, dim=2)[0]
    if (ahead[:, :, 0] - ahead[:, :, 1]).min() > 1e-5:  # no tie that rounding could turn round
        # Gradients reach 1e2; they end in a tanh times x, whose slope is at most 1/4.
        assert (found - oracle).abs().max() < 1e-3 * x.abs().max()


def test_one_hot_in_parts_has_a_best_of_each() -> None:
    scores = torch.rand(2, 12, 3, 5)
    found = OneHotArgmax(12, 4)(scores)
    assert torch.equal(found, one_hot_argmax(scores, 4))
    assert (found.reshape(2, 4, 3, 15).sum(2) == 1).all()


def test_one_hot_by_comparison_takes_the_lower_class_of_a_tie() -> None:
    scores = torch.tensor([0.5, 0.7, 0.7, 0.1]).reshape(1, 4, 1, 1)
    found = OneHotArgmax(4)(scores)
    assert found.flatten().tolist() == [0, 1, 0, 0]
    assert torch.equal(found, one_hot_argmax(scores))


def test_a_level_of_one_row_still_couples_its_locations() -> None:
    """GroupNorm's derivative must move every location when one label changes."""
    head = random_head(7, 2, 2, 3)
    unrolled = UnrolledLabelAware(head, 0).double()
    x = torch.randn(1, 8, 1, 9, dtype=torch.float64)
    with torch.no_grad():
        y, saved = unrolled.first_pass(x)
        label = torch.zeros_like(y)
        label[0, 0, 0, 0] = 1
        g1, g2 = unrolled.gradients(y, saved, [label, torch.zeros_like(label)])
    assert g1 is not None
    assert g2 is not None
    assert (g1[0, :, 0, 8].abs() > 0).any()
    assert (g2 == 0).all()
