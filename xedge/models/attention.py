"""Attention layers that the papers compare with, all ``[N, C, H, W]`` to the same shape.

Squeeze-and-excitation (SE: Hu et al., CVPR 2018), non-local (Wang et al., CVPR 2018) and CBAM (Woo
et al., ECCV 2018) are timm's; dual attention (DA: Fu et al., CVPR 2019) is here.
"""

from __future__ import annotations

from typing import Final

import torch
from timm.layers import create_attn
from torch import Tensor, nn
from torch.nn import functional as F

from xedge.errors import ConfigError

ATTENTIONS: Final = ("none", "se", "non-local", "da", "cbam")


class DualAttention(nn.Module):
    """Position and channel attention side by side, added to the input: the identity at first.

    DANet wraps each of the two in convolutions of its segmentation head, to a quarter of the width;
    a plug-in for any host has only the two attentions. Channel attention is the softmax of the
    paper's equation 3, where the released code subtracts each energy from the largest before.

    Memory: position attention compares all locations with all. Where PyTorch has no fused kernel
    for keys of C/8 and values of C channels (it has none on CPUs), that is N (HW)^2 numbers: in
    float32 8 MB for an image of 38 x 38 locations, 134 MB for 76 x 76, 32 GB for 300 x 300.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(channels // 8, 1)
        self.query = nn.Conv2d(channels, reduced, 1)
        self.key = nn.Conv2d(channels, reduced, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.position_scale = nn.Parameter(torch.zeros(1))
        self.channel_scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """``x + alpha position(x) + beta channel(x)``, of the shape of x (equations 2 and 4)."""
        return (
            x
            + self.position_scale * self.attend_positions(x)
            + self.channel_scale * attend_channels(x)
        )

    def attend_positions(self, x: Tensor) -> Tensor:
        """Values of all positions, weighted by how alike query and key are (equations 1, 2)."""
        # [N, 1, HW, width]: fused kernels want a dimension of heads.
        query, key, value = (
            conv(x).flatten(2).transpose(1, 2)[:, None]
            for conv in (self.query, self.key, self.value)
        )
        # The paper's energies are plain products: no division by the root of the width.
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return mixed[:, 0].transpose(1, 2).reshape(x.shape)


def attend_channels(x: Tensor) -> Tensor:
    """All channels, weighted by how alike they are (equations 3, 4); float32, the shape of x."""
    # An energy is a sum over all pixels: it overflows half precision, and bfloat16's steps at 1e3
    # are larger than the differences that the softmax looks at.
    with torch.autocast(x.device.type, enabled=False):
        flat = x.float().flatten(2)
        weights = (flat @ flat.transpose(1, 2)).softmax(dim=-1)
        return (weights @ flat).reshape(x.shape)


def attention(name: str, channels: int) -> nn.Module:
    """A new attention layer, ``[N, channels, H, W]`` to the same shape.

    ``none``, ``non-local`` and ``da`` are the identity at first; ``se`` and ``cbam`` begin near a
    half and a quarter of their input. ``non-local`` divides its energies by the root of
    ``channels`` and ends in BatchNorm, and has DA's need for memory without its fused kernels.

    Args:
        name: One of `ATTENTIONS`.
        channels: C.

    Raises:
        ConfigError: There is no such attention.
    """
    layer: nn.Module
    if name == "none":
        layer = nn.Identity()
    elif name == "da":
        layer = DualAttention(channels)
    elif name in ATTENTIONS:
        layer = create_attn("nl" if name == "non-local" else name, channels)
    else:
        raise ConfigError(
            "there is no such attention",
            expected=f"one of {', '.join(ATTENTIONS)}",
            found=repr(name),
        )
    return layer
