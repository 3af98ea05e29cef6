"""LA's gradient step as autograd itself takes it, for heads that no rule is written for.

`xedge_export.label_aware` has the derivative of the tower that the zoo's heads have. For any other
tower (another norm or activation, other kernels, strides or groups) autograd is run once, on a map
of the level's size, and what it does is recorded operator by operator (PyTorch's ``make_fx``);
operators without ONNX are recorded as others. It costs more nodes than the written form, takes the
two gradients one after the other, and leaves sums over maps where that has means, which matters to
half precision; it is the second oracle of the written form.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from xedge.errors import ExportError
from xedge.models.dense import DenseHead

aten = torch.ops.aten

DERIVATIVES: Final = (
    "native_group_norm", "native_group_norm_backward", "native_batch_norm",
    "native_batch_norm_backward", "sigmoid_backward", "tanh_backward", "threshold_backward",
    "silu_backward", "gelu_backward", "leaky_relu_backward", "elu_backward", "hardtanh_backward",
    "hardswish_backward", "hardsigmoid_backward", "mish_backward", "softplus_backward",
)  # fmt: skip
"""What PyTorch itself can write as operators that have ONNX."""


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Sequence[int] | None,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], transposed: bool,
    output_padding: Sequence[int], groups: int, wanted: Sequence[bool],
) -> tuple[Tensor, None, None]:  # fmt: skip
    """The gradient of a convolution with respect to its input, as a convolution.

    With stride 1 an ordinary one, kernel rotated and channels swapped within each group, which
    runtimes run faster than a transposed one; else a transposed one that ends at the input's size.

    Args:
        gradient: With respect to the output, ``[N, O, H', W']``.
        x: The input ``[N, I, H, W]``; only its shape counts.
        weight: ``[O, I / groups, kh, kw]``.
        bias_sizes: Not needed.
        stride: Of the convolution, down and across.
        padding: As `stride`.
        dilation: As `stride`.
        transposed: Whether it is a transposed one.
        output_padding: Not needed.
        groups: Of channels.
        wanted: Which gradients are asked for: of input, weights, bias.

    Raises:
        ExportError: For a transposed convolution, or when the weights' gradient is asked for.
    """
    del bias_sizes, output_padding
    if transposed or list(wanted) != [True, False, False]:
        raise ExportError(
            "the gradient step holds a convolution that cannot be written down",
            expected="an ordinary one, differentiated by its input",
            found="a transposed one" if transposed else "one differentiated by its weights",
        )
    size = weight.shape[2:]
    if list(stride) == [1] * len(size):
        split = weight.flip(2, 3).reshape(groups, -1, *weight.shape[1:])
        grouped = split.transpose(1, 2).flatten(0, 1)
        before = [d * (k - 1) - p for d, k, p in zip(dilation, size, padding, strict=True)]
        found = aten.convolution(gradient, grouped, None, stride, before, dilation, False,
                                 [0, 0], groups)  # fmt: skip
        return found, None, None
    ends = [
        n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, m, s, p, d, k in zip(
            x.shape[2:], gradient.shape[2:], stride, padding, dilation, size, strict=True
        )
    ]
    found = aten.convolution(gradient, weight, None, stride, padding, dilation, True, ends, groups)
    return found, None, None


def one_hot(x: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """``aten::scatter`` of one number at one place along ``dim``, as a comparison."""
    shape = [1] * x.dim()
    shape[dim] = x.shape[dim]
    places = torch.arange(x.shape[dim]).reshape(shape)
    return torch.where(places == index, value, x)


def _table() -> dict[Any, Callable[..., Any]]:
    table: dict[Any, Callable[..., Any]] = get_decompositions(
        [getattr(aten, name) for name in DERIVATIVES]
    )
    return table | {
        aten.convolution_backward.default: input_gradient,
        aten.scatter.value: one_hot,
    }


class TracedLabelAware(nn.Module):
    """LA's refinement of the features of one level, recorded from autograd.

    Args:
        head: The trained head; its towers may hold what they like.
        level: Which level.
        shape: Of its features, ``1, F, H, W``; the record holds for no other.

    Raises:
        ExportError: When autograd does something that cannot be recorded.
    """

    def __init__(self, head: DenseHead, level: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        fixed = copy.deepcopy(head).eval().requires_grad_(False)
        # Random, so that nothing is equal by chance; which numbers does not matter.
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        x = x.to(next(fixed.parameters()).dtype)
        try:
            self.recorded = make_fx(
                lambda features: fixed.refine(features, level, None)[0],
                decomposition_table=_table(),
            )(x).eval()
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(
                "the gradient step of this head cannot be recorded",
                found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                remedy="See the cause with --debug",
            ) from error
        undone = sorted(
            {
                str(node.target)
                for node in self.recorded.graph.nodes
                if "backward" in str(node.target)
            }
        )
        if undone:
            raise ExportError(
                "the gradient step holds derivatives that no engine has",
                found=", ".join(undone),
                remedy="Build the head of other layers, or write these down in xedge_export.traced",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Refined features x' ``[1, F, H, W]``."""
        refined: Tensor = self.recorded(x)
        return refined
