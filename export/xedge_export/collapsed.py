"""Convolutions with nothing between them, as the one convolution that they are.

Five of 3x3 are one of 11x11, exact but within four pixels of the border: there zeros stand beyond
what the first four answer, and not beyond the image alone. So the convolutions themselves
compute the border, and the one the rest.

Where few channels would leave most of a vector's lanes idle, the one runs on tiles of f x f pixels
as channels: of 16 and more, at 1/f of the sides. That is the same sum of the same products.
"""

from __future__ import annotations

import copy
from typing import Final, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

LANES: Final = 16
"""Floats of the widest vector: with fewer channels a convolution leaves lanes idle."""


def is_linear(layers: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether layers are two or more plain 3x3 convolutions and nothing else."""
    return (
        isinstance(layers, nn.Sequential)
        and len(layers) > 1
        and all(
            isinstance(layer, nn.Conv2d)
            and (layer.kernel_size, layer.padding, layer.groups) == ((3, 3), (1, 1), 1)
            and layer.stride == layer.dilation == (1, 1)
            and layer.padding_mode == "zeros"
            and layer.bias is not None
            for layer in layers
        )
    )


def composed(chain: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Kernel ``[out, in, 2n + 1, 2n + 1]`` and bias ``[out]`` of n 3x3 convolutions, float64.

    What they answer further than n - 1 pixels from the border of any image.
    """
    layers = [layer.double() for layer in copy.deepcopy(chain) if isinstance(layer, nn.Conv2d)]
    kernel, bias = layers[0].weight.detach(), _bias(layers[0])
    for layer in layers[1:]:
        weight = layer.weight.detach()
        # Each layer correlates; a correlation of two kernels is a convolution of them.
        kernel = functional.conv2d(kernel.transpose(0, 1), weight.flip(2, 3), padding=2)
        kernel = kernel.transpose(0, 1)
        bias = _bias(layer) + torch.einsum("oiyx,i->o", weight, bias)
    return kernel, bias


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()


def on_tiles(kernel: Tensor, side: int) -> Tensor:
    """The kernel of the same convolution between images whose tiles are channels.

    Args:
        kernel: ``[out, in, k, k]``.
        side: f; tiles are f x f, in the order of `torch.nn.functional.pixel_unshuffle`.

    Returns:
        ``[out f f, in f f, t, t]``, t = ceil((f - 1 + k) / f); the first tile begins where the
        kernel at the first pixel of its own does.
    """
    outs, ins, taps, _ = kernel.shape
    tiles = -(-(side - 1 + taps) // side)
    spread = kernel.new_zeros(outs, side, side, ins, tiles * side, tiles * side)
    for y in range(side):
        for x in range(side):
            spread[:, y, x, :, y : y + taps, x : x + taps] = kernel
    apart = spread.reshape(outs, side, side, ins, tiles, side, tiles, side)
    by_tile = apart.permute(0, 1, 2, 3, 5, 7, 4, 6)
    return by_tile.reshape(outs * side**2, ins * side**2, tiles, tiles)


def ends(x: Tensor, dim: int, length: int) -> Tensor:
    """The first and the last places of a dimension, ``length`` each, side by side."""
    last = x.narrow(dim, x.shape[dim] - length, length)
    return torch.cat([x.narrow(dim, 0, length), last], dim)


def framed(whole: Tensor, over: Tensor, beside: Tensor, border: int) -> Tensor:
    """Maps ``[N, C, H, W]`` with another border, ``border`` pixels wide.

    Args:
        whole: Right inside the border; what it has beyond H and W is not looked at.
        over: ``[N, C, h, W]``, right in the first and the last rows.
        beside: ``[N, C, H, w]``, right in the first and the last columns.
        border: Width, in pixels.
    """
    height, width = beside.shape[2], over.shape[3]
    inner = whole[:, :, border : height - border, border : width - border]
    beside = beside[:, :, border : height - border]
    left, right = beside[..., :border], beside[..., beside.shape[3] - border :]
    top, bottom = over[:, :, :border], over[:, :, over.shape[2] - border :]
    return torch.cat([top, torch.cat([left, inner, right], dim=3), bottom], dim=2)


class CollapsedChain(nn.Module):
    """n 3x3 convolutions at a fixed size, all but the border as one.

    Args:
        chain: They; see `is_linear`.
        height: Of the images.
        width: Of the images.
    """

    def __init__(self, chain: nn.Sequential, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width, self.reach = height, width, len(chain)
        self.chain = copy.deepcopy(chain)
        kernel, bias = composed(chain)
        self.side = 1
        while min(kernel.shape[:2]) * self.side**2 < LANES:
            self.side *= 2
        kernel = on_tiles(kernel, self.side)
        channels_out, channels_in, tiles, _ = kernel.shape
        self.whole = nn.Conv2d(channels_in, channels_out, tiles)
        self.whole.weight = nn.Parameter(kernel.float())
        assert self.whole.bias is not None
        self.whole.bias = nn.Parameter(bias.float().repeat_interleave(self.side**2))
        self.pads = [self.reach, 0, self.reach, 0]
        for end, length in ((1, width), (3, height)):
            places = -(-length // self.side) + tiles - 1
            self.pads[end] = places * self.side - self.reach - length

    @staticmethod
    def fits(chain: nn.Sequential, height: int, width: int) -> bool:
        """Whether images are so large that the border is the smaller part."""
        return min(height, width) >= 8 * len(chain)

    def forward(self, x: Tensor) -> Tensor:
        """What the chain answers, ``[N, out, H, W]``, of ``[N, in, H, W]``."""
        border, strip = self.reach - 1, 2 * self.reach - 1
        tiles = functional.pixel_unshuffle(functional.pad(x, self.pads), self.side)
        whole = functional.pixel_shuffle(self.whole(tiles), self.side)
        # What lies where two strips meet is wrong for `reach` pixels, which are not looked at.
        beside, over = (self.chain(ends(x, dim, strip)) for dim in (3, 2))
        return framed(whole, over, beside, border)
