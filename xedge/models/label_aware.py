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
    """a, b and c of equation 7: ``x' = a x + b w1 x - c w2 x``.

    Equation 8, ``a + b/2 - c/2 = 1``, makes an idle LA the identity; it holds for all of the
    authors': 1, 1, 1 (LAcls on ATSS and PAA), 1, 5, 5 (on FCOS), 0.5, 1, 0 (LAreg, equation 6).
    """

    a: float = 1.0
    b: float = 1.0
    c: float = 1.0


class Update(NamedTuple):
    """What LA did at one level, for measuring; both tensors are detached.

    Attributes:
        weight: The change ``x'/x - 1``, ``[N, F, H, W]``, float32.
        scores: First-pass scores y, ``[N, K, H, W]``, float32; K classes, or bins of all sides.
    """

    weight: Tensor
    scores: Tensor


def one_hot_argmax(scores: Tensor, parts: int = 1) -> Tensor:
    """One-hot of the channel with the highest score at every location, ``[N, K, H, W]``.

    Args:
        scores: ``[N, K, H, W]``.
        parts: In how many equal parts the channels are compared, each with a best of its own: 1
            for classes, 4 for the bins of four sides.
    """
    n, k, h, w = scores.shape
    grouped = scores.reshape(n, parts, k // parts, h, w)
    index = grouped.argmax(dim=2, keepdim=True)
    return torch.zeros_like(grouped).scatter(2, index, 1.0).flatten(1, 2)


def misleading_label(scores: Tensor, label: Tensor) -> Tensor:
    """One-hot of the best class other than the labelled one; with no label, of the best class.

    Args:
        scores: y of the first pass in 0..1, ``[N, C, H, W]``.
        label: One-hot of the assigned or pseudo label, all zero for background, same shape.
    """
    return one_hot_argmax(scores * (1 - label))


def apply_update(
    x: Tensor, g1: Tensor | None, g2: Tensor | None, k: Coefficients
) -> tuple[Tensor, Tensor]:
    """The refined feature x' and its change ``x'/x - 1``, by one form for all precisions.

    ``x' = (a + (b - c)/2) x + (b tanh(g1/2) - c tanh(g2/2))/2 x``, equal to equation 7 because
    ``sigmoid(g) = 1/2 + tanh(g/2)/2``; unlike a difference of sigmoids it keeps a small gradient
    exact. Kept in float32: (1 + w) x in a 16-bit format drops |w| below 5e-4 (half) or 4e-3 (bf16).
    None stands for a gradient whose coefficient is 0.
    """
    x, idle = x.float(), k.a + 0.5 * (k.b - k.c)
    taken = [(factor, g) for factor, g in ((k.b, g1), (-k.c, g2)) if g is not None]
    halves = [0.5 * factor * torch.tanh(0.5 * g.float()) for factor, g in taken]
    half = sum(halves[1:], halves[0]) if halves else torch.zeros_like(x)
    return idle * x + half * x, half + (idle - 1)


def refine_by_autograd(
    predict: Callable[[Tensor], Tensor],
    x: Tensor,
    label: Tensor | None,
    k: Coefficients,
    parts: int = 1,
) -> tuple[Tensor, Update]:
    """Features adjusted by their labels, and what the adjustment was (equations 5 to 7).

    Args:
        predict: The host's tower and its last layer, x to logits ``[N, K, H, W]``: of classes for
            LAcls, of the bins of four sides for LAreg.
        x: Output of the feature pyramid at one level, ``[N, F, H, W]``.
        label: One-hot ``[N, K, H, W]`` of the assigned labels (all zero for background), in
            training; None at test, where the best of the first pass takes its place at every
            location.
        k: The coefficients; a gradient whose coefficient is 0 is not taken.
        parts: See `one_hot_argmax`; above 1, c must be 0.

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
        scores = predict(x0).float().sigmoid()
        fixed = scores.detach()
        first = one_hot_argmax(fixed, parts) if label is None else label
        g1: Tensor | None = None
        g2: Tensor | None = None
        if k.b:
            (g1,) = torch.autograd.grad((scores * first).sum(), x0, retain_graph=True)
        if k.c:
            second = misleading_label(fixed, first)
            (g2,) = torch.autograd.grad((scores * second).sum(), x0)
    refined, weight = apply_update(x, g1, g2, k)
    return refined, Update(weight.detach(), fixed)
