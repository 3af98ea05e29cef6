"""LA's gradient step written out, layer by layer, so that it can leave PyTorch.

The host's classification tower is D times (3x3 convolution without bias, GroupNorm, ReLU) and a
3x3 convolution to C classes. `autograd.grad` through it (xedge.models.label_aware, the oracle) is
replaced by its derivative with saved values of the first pass, last layer first:

    seed   dL/dz = onehot * y * (1 - y)                       sigmoid            [2, C, H, W]
    conv   dL/da = conv(dL/dz, W rotated by 180 degrees)      the adjoint        [2, F, H, W]
    ReLU   dL/dn = dL/da * [n > 0]
    GN     dL/dv = inv_std * (h - mean(h) - xhat * mean(h * xhat)),  h = gamma * dL/dn
    conv   dL/da of the layer before = conv(dL/dv, W rotated)

with means over each group of channels and all locations, because GroupNorm's statistics couple
every location of a level. The step needs the gradients of two scores, the label's and the
misleading one's (Zhao et al., IEEE TIFS 2022, equation 5). Both have the same first pass and each
derivative is linear in its seed, so they run as one batch of two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xedge.models.dense import DenseHead
from xedge.models.label_aware import Coefficients, apply_update


def adjoint_kernel(weight: Tensor) -> Tensor:
    """The kernel whose convolution is the adjoint of ``weight``'s, ``[in, out, 3, 3]``.

    An odd kernel with stride 1 and half padding only: transposed convolution is then an
    ordinary one with the kernel rotated and its channel axes swapped, which runtimes run faster.
    """
    return weight.detach().flip(2, 3).transpose(0, 1).contiguous()


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
    """Derivative of a `ForwardLayer`: from the gradient of its output to that of its input."""

    def __init__(self, conv: nn.Conv2d, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups = norm.num_groups
        self.gamma = nn.Parameter(norm.weight.detach().reshape(1, -1, 1, 1))
        self.adjoint = nn.Parameter(adjoint_kernel(conv.weight))

    def forward(self, gradient: Tensor, saved: Normalised) -> Tensor:
        """Gradient with respect to the layer's input, ``[M, F, H, W]``.

        Args:
            gradient: Gradient with respect to the layer's output, ``[M, F, H, W]``, where M is
                the batch of the saved values or, when that is one, any number.
            saved: The forward pass.
        """
        through_relu = gradient * (saved.before_relu > 0).to(gradient.dtype)
        h = (through_relu * self.gamma).reshape(gradient.shape[0], self.groups, -1)
        along_mean = h.mean(2, keepdim=True)
        along_xhat = (h * saved.xhat).mean(2, keepdim=True)
        dv = saved.inv_std * (h - along_mean - saved.xhat * along_xhat)
        return functional.conv2d(dv.reshape(gradient.shape), self.adjoint, padding=1)


class OneHotArgmax(nn.Module):
    """One-hot of the best class at every location, as a comparison: no scatter, no int64 output.

    Ties go to the lower class, as in ``torch.argmax``.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.arange(classes).reshape(1, -1, 1, 1))
        self.index: Tensor

    def forward(self, scores: Tensor) -> Tensor:
        """``[N, C, H, W]`` of zeros and ones for scores of that shape."""
        return (scores.argmax(1, keepdim=True) == self.index).to(scores.dtype)


class UnrolledLabelAware(nn.Module):
    """LA's refinement of the features of one level, without autograd.

    Args:
        head: The trained head; its weights are shared, and copied only where a rotated kernel
            or a reshaped affine is needed.
    """

    def __init__(self, head: DenseHead) -> None:
        super().__init__()
        layers = list(head.cls_tower)
        pairs = list(zip(layers[0::3], layers[1::3], strict=True))
        self.coefficients: Coefficients = head.config.coefficients
        self.forward_layers = nn.ModuleList(ForwardLayer(c, n) for c, n in pairs)  # type: ignore[arg-type]
        self.classify = head.cls
        self.one_hot = OneHotArgmax(len(head.config.classes))
        self.classify_adjoint = nn.Parameter(adjoint_kernel(head.cls.weight))
        self.backward_layers = nn.ModuleList(
            BackwardLayer(c, n)  # type: ignore[arg-type]
            for c, n in reversed(pairs)
        )

    def first_pass(self, x: Tensor) -> tuple[Tensor, list[Normalised]]:
        """Scores y ``[N, C, H, W]`` and the saved values of every layer."""
        a, saved = x, []
        for layer in self.forward_layers:
            a, kept = layer(a)
            saved.append(kept)
        return self.classify(a).sigmoid(), saved

    def gradients(
        self, scores: Tensor, saved: list[Normalised], first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the two labels' summed scores with respect to x, ``[N, F, H, W]`` each.

        Args:
            scores: y of the first pass.
            saved: Its saved values.
            first: One-hot of the label, ``[N, C, H, W]``.
            second: One-hot of the misleading label, the same shape.
        """
        n = scores.shape[0]
        slope = scores * (1 - scores)
        seeds = torch.cat([first * slope, second * slope])
        gradient = functional.conv2d(seeds, self.classify_adjoint, padding=1)
        for layer, kept in zip(self.backward_layers, reversed(saved), strict=True):
            # One image broadcasts over its two seeds; a batch is repeated to line up with them.
            both = kept if n == 1 else Normalised(*(torch.cat([t, t]) for t in kept))
            gradient = layer(gradient, both)
        return gradient[:n], gradient[n:]

    def forward(self, x: Tensor) -> Tensor:
        """Refined features x' ``[N, F, H, W]``."""
        scores, saved = self.first_pass(x)
        first = self.one_hot(scores)
        second = self.one_hot(scores * (1 - first))
        g1, g2 = self.gradients(scores, saved, first, second)
        return apply_update(x, g1, g2, self.coefficients)[0]
