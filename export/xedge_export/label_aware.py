"""LA's gradient step written out, layer by layer, so that it can leave PyTorch.

The host's classification tower is D times (3x3 convolution without bias, GroupNorm, ReLU) and a
3x3 convolution to C classes. `autograd.grad` through it (xedge.models.label_aware, the oracle) is
replaced by its derivative with saved values of the first pass, last layer first:

    seed   dL/dz = onehot * y * (1 - y)                       sigmoid            [2, C, H, W]
    conv   dL/da = conv(dL/dz, W rotated by 180 degrees)      the adjoint        [2, F, H, W]
    ReLU   dL/dn = dL/da * [n > 0]
    GN     dL/dv = inv_std * (h - mean(h) - xhat * mean(h * xhat)),  h = gamma * dL/dn
    conv   dL/da of the layer before = conv(dL/dv, W rotated)

where each gamma is in the rotated kernel that gives dL/da: it and the ReLU's mask commute. Means
are over each group of channels and all locations, because GroupNorm's statistics couple every
location of a level. The step needs the gradients of two scores, the label's and the
misleading one's (Zhao et al., IEEE TIFS 2022, equation 5). Both have the same first pass and each
derivative is linear in its seed, so they run as one batch of two; one whose coefficient in equation
7 is 0 is left out. LAreg (equation 6) does the same through the regression tower, with the best
bin of each side for a label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from xedge.models.dense import DenseHead
from xedge.models.label_aware import Coefficients, apply_update


def adjoint_kernel(weight: Tensor, before: nn.GroupNorm | None) -> Tensor:
    """The kernel whose convolution is the adjoint of ``weight``'s, ``[in, out, 3, 3]``.

    What comes out is multiplied by the gamma of the norm before the convolution, if there is one.

    An odd kernel with stride 1 and half padding only: transposed convolution is then an
    ordinary one with the kernel rotated and its channel axes swapped, which runtimes run faster.
    """
    rotated = weight.detach().flip(2, 3).transpose(0, 1)
    if before is not None:
        rotated = rotated * before.weight.detach()[:, None, None, None]
    return rotated.contiguous()


class Normalised(NamedTuple):
    """What the forward pass of a GroupNorm leaves for its derivative.

    Attributes:
        xhat: Normalised values in groups, ``[N, G, F / G * H * W]``.
        inv_std: One over the standard deviation, ``[N, G, 1]``.
        before_relu: The layer's value before its ReLU, ``[N, F, H, W]``.
    """

    xhat: Tensor
    inv_std: Tensor
    before_relu: Tensor


class ForwardLayer(nn.Module):
    """Convolution, GroupNorm and ReLU, with what the derivative needs kept."""

    def __init__(self, conv: nn.Conv2d, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.conv, self.groups, self.eps = conv, norm.num_groups, norm.eps
        self.gamma = nn.Parameter(norm.weight.detach().reshape(1, -1, 1, 1))
        self.beta = nn.Parameter(norm.bias.detach().reshape(1, -1, 1, 1))

    def forward(self, a: Tensor) -> tuple[Tensor, Normalised]:
        """The layer's output ``[N, F, H, W]`` and its saved values."""
        v = self.conv(a)
        grouped = v.reshape(v.shape[0], self.groups, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        variance = (centred * centred).mean(2, keepdim=True)
        inv_std = torch.rsqrt(variance + self.eps)
        xhat = centred * inv_std
        before_relu = xhat.reshape(v.shape) * self.gamma + self.beta
        return before_relu.relu(), Normalised(xhat, inv_std, before_relu)


class BackwardLayer(nn.Module):
    """Derivative of a `ForwardLayer`: from the gradient of its output to that of its input.

    Both gradients are multiplied by the gamma of the norm before them, where there is one.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.GroupNorm, before: nn.GroupNorm | None) -> None:
        super().__init__()
        self.groups = norm.num_groups
        self.adjoint = nn.Parameter(adjoint_kernel(conv.weight, before))

    def forward(self, gradient: Tensor, saved: Normalised) -> Tensor:
        """Gradient with respect to the layer's input, ``[M, F, H, W]``.

        Args:
            gradient: Gamma times the gradient with respect to the layer's output,
                ``[M, F, H, W]``, where M is the batch of the saved values or, when that is one,
                any number.
            saved: The forward pass.
        """
        through_relu = gradient * (saved.before_relu > 0).to(gradient.dtype)
        h = through_relu.reshape(gradient.shape[0], self.groups, -1)
        along_mean = h.mean(2, keepdim=True)
        along_xhat = (h * saved.xhat).mean(2, keepdim=True)
        dv = saved.inv_std * (h - along_mean - saved.xhat * along_xhat)
        return functional.conv2d(dv.reshape(gradient.shape), self.adjoint, padding=1)


class OneHotArgmax(nn.Module):
    """One-hot of the best channel at every location, as a comparison: no scatter, no int64 output.

    Ties go to the lower channel, as in ``torch.argmax``.

    Args:
        channels: K.
        parts: In how many equal parts they are compared, each with a best of its own.
    """

    def __init__(self, channels: int, parts: int = 1) -> None:
        super().__init__()
        self.parts = parts
        # [1, K, 1, 1], or [1, 1, K / parts, 1, 1] below a dimension of parts.
        index = torch.arange(channels // parts)
        shape = (1, -1, 1, 1) if parts == 1 else (1, 1, -1, 1, 1)
        self.register_buffer("index", index.reshape(shape))
        self.index: Tensor

    def forward(self, scores: Tensor) -> Tensor:
        """``[N, K, H, W]`` of zeros and ones for scores of that shape."""
        if self.parts == 1:
            return (scores.argmax(1, keepdim=True) == self.index).to(scores.dtype)
        n, k, h, w = scores.shape
        grouped = scores.reshape(n, self.parts, k // self.parts, h, w)
        best = grouped.argmax(2, keepdim=True) == self.index
        return best.to(scores.dtype).reshape(n, k, h, w)


def has_rule(head: DenseHead) -> bool:
    """True for a head whose tower for LA is one that `UnrolledLabelAware` has the derivative of."""
    tower = list(head.reg_tower if head.config.label_aware_by == "regression" else head.cls_tower)
    layers = list(zip(tower[0::3], tower[1::3], tower[2::3], strict=False))
    return len(tower) == 3 * len(layers) > 0 and all(
        _is_plain(conv) and conv.bias is None
        and isinstance(norm, nn.GroupNorm) and norm.affine and isinstance(act, nn.ReLU)
        for conv, norm, act in layers
    )  # fmt: skip


def _is_plain(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(conv, nn.Conv2d) and (
        conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode
    ) == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")  # fmt: skip


class UnrolledLabelAware(nn.Module):
    """LA's refinement of the features of one level, without autograd: LAcls, or LAreg.

    Args:
        head: The trained head; its weights are shared, and copied only where a rotated kernel
            or a reshaped affine is needed.
        level: Which level; LAreg's predictions have a learned scale there.
    """

    def __init__(self, head: DenseHead, level: int) -> None:
        super().__init__()
        by_bins = head.config.label_aware_by == "regression"
        layers = list(head.reg_tower if by_bins else head.cls_tower)
        pairs = list(zip(layers[0::3], layers[1::3], strict=True))
        self.coefficients: Coefficients = head.config.coefficients
        self.scale = head.level_scale[level].item() if by_bins else 1.0
        self.forward_layers = nn.ModuleList(ForwardLayer(c, n) for c, n in pairs)  # type: ignore[arg-type]
        self.predict = head.reg if by_bins else head.cls
        self.one_hot = OneHotArgmax(self.predict.out_channels, head.config.label_parts)
        norms: list[nn.GroupNorm] = [n for _, n in pairs]  # type: ignore[misc]
        self.predict_adjoint = nn.Parameter(adjoint_kernel(self.predict.weight, norms[-1]))
        self.backward_layers = nn.ModuleList(
            BackwardLayer(c, n, before)  # type: ignore[arg-type]
            for (c, n), before in reversed(list(zip(pairs, [None, *norms], strict=False)))
        )

    def first_pass(self, x: Tensor) -> tuple[Tensor, list[Normalised]]:
        """Scores y ``[N, K, H, W]`` of classes or bins, and the saved values of every layer."""
        a, saved = x, []
        for layer in self.forward_layers:
            a, kept = layer(a)
            saved.append(kept)
        return self._scaled(self.predict(a)).sigmoid(), saved

    def _scaled(self, values: Tensor) -> Tensor:
        return values if self.scale == 1.0 else values * self.scale

    def labels(self, scores: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """One-hots of the label and of the misleading one; None for one that has no effect."""
        first = self.one_hot(scores)
        second = self.one_hot(scores * (1 - first)) if self.coefficients.c else None
        return first if self.coefficients.b else None, second

    def gradients(
        self, scores: Tensor, saved: list[Normalised], labels: Iterable[Tensor | None]
    ) -> list[Tensor | None]:
        """Gradient of each label's summed scores with respect to x, ``[N, F, H, W]`` or None.

        Args:
            scores: y of the first pass.
            saved: Its saved values.
            labels: One-hots ``[N, K, H, W]``, or None for one that is not asked for.
        """
        wanted = list(labels)
        given = [label for label in wanted if label is not None]
        if not given:
            return [None] * len(wanted)
        slope = self._scaled(scores * (1 - scores))
        seeds = [label * slope for label in given]
        count = len(seeds)
        gradient = functional.conv2d(_stacked(seeds), self.predict_adjoint, padding=1)
        for layer, kept in zip(self.backward_layers, reversed(saved), strict=True):
            # One image broadcasts over its seeds; a batch is repeated to line up with them.
            single = scores.shape[0] == 1
            every = kept if single else Normalised(*(_stacked([t] * count) for t in kept))
            gradient = layer(gradient, every)
        parts = iter(gradient.chunk(count) if count > 1 else [gradient])
        return [None if label is None else next(parts) for label in wanted]

    def forward(self, x: Tensor) -> Tensor:
        """Refined features x' ``[N, F, H, W]``."""
        scores, saved = self.first_pass(x)
        g1, g2 = self.gradients(scores, saved, self.labels(scores))
        return apply_update(x, g1, g2, self.coefficients)[0]


def _stacked(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]
