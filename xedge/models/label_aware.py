"""LA, the label-aware mechanism of CLCXray, as a plug-in on a host's classification tower.

Source: Zhao et al., "Detecting Overlapped Objects in X-Ray Security Imagery by a Label-Aware
Mechanism", IEEE TIFS 2022, section IV, equations 4, 5 and 7. The authors' code takes the gradient
with respect to the tower's input, at every location and through every layer of the tower,
GroupNorm included; so does this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xedge.errors import AutogradInGraph


@dataclass(frozen=True)
class Coefficients:
    """a, b and c of equation 7: ``x' = a x + b w1 x - c w2 x``; LAcls on ATSS has 1, 1, 1."""

    a: float = 1.0
    b: float = 1.0
    c: float = 1.0


class Update(NamedTuple):
    """What LA did at one level, for measuring; both tensors are detached.

    Attributes:
        weight: ``x'/x - 1 - (a - 1)``, that is ``b w1 - c w2``, ``[N, F, H, W]``, float32.
        scores: First-pass scores y, ``[N, C, H, W]``, float32.
    """

    weight: Tensor
    scores: Tensor


def one_hot_argmax(scores: Tensor) -> Tensor:
    """One-hot of the class with the highest score at every location, ``[N, C, H, W]``."""
    index = scores.argmax(dim=1, keepdim=True)
    return torch.zeros_like(scores).scatter_(1, index, 1.0)


def misleading_label(scores: Tensor, label: Tensor) -> Tensor:
    """One-hot of the best class other than the labelled one; with no label, of the best class.

    Args:
        scores: y of the first pass in 0..1, ``[N, C, H, W]``.
        label: One-hot of the assigned or pseudo label, all zero for background, same shape.
    """
    return one_hot_argmax(scores * (1 - label))


def apply_update(x: Tensor, g1: Tensor, g2: Tensor, k: Coefficients) -> tuple[Tensor, Tensor]:
    """The refined feature x' and the weight, by the one form that every precision shares.

    ``x' = (a + (b - c)/2) x + (b tanh(g1/2) - c tanh(g2/2))/2 x``, equal to equation 7 because
    ``sigmoid(g) = 1/2 + tanh(g/2)/2``; unlike a difference of sigmoids it keeps a small gradient
    exact. Kept in float32: (1 + w) x in a 16-bit format drops |w| below 5e-4 (half) or 4e-3 (bf16).
    """
    half = 0.5 * (k.b * torch.tanh(0.5 * g1.float()) - k.c * torch.tanh(0.5 * g2.float()))
    x = x.float()
    return (k.a + 0.5 * (k.b - k.c)) * x + half * x, half + 0.5 * (k.b - k.c)


def refine_by_autograd(
    classify: Callable[[Tensor], Tensor], x: Tensor, label: Tensor | None, k: Coefficients
) -> tuple[Tensor, Update]:
    """Features adjusted by their labels, and what the adjustment was (equation 5).

    Args:
        classify: The host's tower and classification layer, x to logits ``[N, C, H, W]``.
        x: Output of the feature pyramid at one level, ``[N, F, H, W]``.
        label: One-hot ``[N, C, H, W]`` of the assigned labels (all zero for background), in
            training; None at test, where the best class of the first pass takes its place
            at every location.
        k: The coefficients.

    Returns:
        x' as float32 ``[N, F, H, W]``, differentiable with respect to x only (the weight is a
        constant, as in the released code), and the `Update`.

    Raises:
        AutogradInGraph: When a graph is being exported: a gradient cannot leave PyTorch.
    """
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        raise AutogradInGraph(
            "LA's gradient step was left as a call of autograd.grad",
            expected="the unrolled gradient",
            found="autograd in the traced forward pass",
            remedy="Export with `xedge export` or xedge_export.export_model, which unroll it",
        )
    with torch.enable_grad():
        x0 = x.detach().requires_grad_()
        scores = classify(x0).float().sigmoid()
        fixed = scores.detach()
        first = one_hot_argmax(fixed) if label is None else label
        second = misleading_label(fixed, first)
        (g1,) = torch.autograd.grad((scores * first).sum(), x0, retain_graph=True)
        (g2,) = torch.autograd.grad((scores * second).sum(), x0)
    refined, weight = apply_update(x, g1, g2, k)
    return refined, Update(weight.detach(), fixed)
