"""What an operator's screen makes of the counts: one maker's colours and sharpening, or another's.

All makers show organic matter orange, mixtures and light metals green, heavy metals blue, and more
matter darker (the trade's convention, which `xedge.preprocess` follows). They differ in the shade
of each, in where one becomes the other, in contrast, in what air looks like, and in how much the
edges are sharpened. A detector of pictures that has seen one screen only has learned that screen.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from xedge.preprocess import TRADE, Ink, Palette, pseudo_colour
from xedge.types import AIR_COUNTS, F32, U8, U16


@dataclass(frozen=True)
class Display:
    """How a screen shows a dual-energy pair.

    Attributes:
        palette: Its colours.
        edges: How much of what a blur takes away is added to the attenuation; 0 sharpens nothing.
        radius: Deviation of that blur, pixels.
    """

    palette: Palette = TRADE
    edges: float = 0.0
    radius: float = 1.0

    def show(self, low: U16, high: U16) -> U8:
        """The picture, uint8 RGB ``[h, w, 3]``.

        Args:
            low: Corrected low-energy counts, uint16 ``[h, w]``.
            high: Corrected high-energy counts, the same shape.
        """
        if self.edges:
            low, high = sharpened(low, high, self.edges, self.radius)
        return pseudo_colour(low, high, self.palette)


_THIN: Final = 0.02
"""Attenuation below which a pixel is air and has no edges."""

_MOST: Final = 3.0
"""An edge makes matter look at most this many times as thick."""


def sharpened(low: U16, high: U16, edges: float, radius: float) -> tuple[U16, U16]:
    """The counts with dark rims around what is dark, low and high: unsharp masking of thickness.

    Both energies become as many times as thick, so that no pixel changes its material.

    Args:
        low: Corrected low-energy counts, uint16 ``[h, w]``.
        high: Corrected high-energy counts, the same shape.
        edges: Share of the difference from the blurred attenuation that is added.
        radius: Deviation of the blur, pixels.
    """
    depth_low, depth = _depth(low), _depth(high)
    rim = depth - cv2.GaussianBlur(depth, (0, 0), radius)
    thickness = np.maximum(depth, np.float32(_THIN))
    factor = np.clip(1.0 + edges * rim / thickness, 0.0, _MOST).astype(np.float32)
    return _counts(depth_low * factor), _counts(depth * factor)


def _depth(counts: U16) -> F32:
    share = np.maximum(counts, 1).astype(np.float32) / np.float32(AIR_COUNTS)
    depth: F32 = -np.log(share)
    return depth


def _counts(depth: F32) -> U16:
    counts = np.float32(AIR_COUNTS) * np.exp(-depth)
    rounded: U16 = np.rint(np.clip(counts, 0, 65535)).astype(np.uint16)
    return rounded


@dataclass(frozen=True)
class _Maker:
    """Inks of one kind of screen: organic, mixed, metal, heavy metal."""

    organic: Ink
    mixed: Ink
    metal: Ink
    heavy: Ink


_MAKERS: Final = (
    _Maker((0.08, 0.39, 1.08), (0.76, 0.22, 0.84), (1.10, 0.50, 0.12), (1.10, 0.74, 0.16)),
    _Maker((0.15, 0.38, 1.10), (0.95, 0.40, 1.12), (1.50, 0.52, 0.20), (1.60, 0.76, 0.40)),
    _Maker((0.14, 0.40, 0.95), (1.30, 0.48, 0.95), (1.90, 1.00, 0.35), (2.40, 1.50, 0.22)),
)
"""Our own palette, and two that stand for what is seen on other screens: cyan steel that turns
black, and steel that is blue however thick it is."""


@functools.lru_cache(maxsize=256)
def drawn_display(seed: int) -> Display:
    """A screen that some maker might have built; the same seed gives the same one.

    The order of the materials is every screen's, and so is that more matter is darker. Drawn are
    the mixture of `_MAKERS`, the materials at which orange turns to green and green to blue,
    contrast, how dark the darkest is, air (white or a light grey) and sharpening.

    Args:
        seed: Seed of the drawing, not below 0.
    """
    rng = np.random.default_rng((seed, 7))
    weights = rng.dirichlet((0.5, 1.0, 0.7))

    def ink(kind: str) -> npt.NDArray[np.float64]:
        inks = np.array([getattr(maker, kind) for maker in _MAKERS])
        return np.asarray(weights @ inks * np.exp(rng.normal(0.0, 0.08, 3)))

    # Water, 0.1 to 0.2, is orange to olive, aluminium, 0.5 to 0.6, green, steel, from 1, blue.
    organic = float(rng.uniform(0.06, 0.16))
    green, steel = organic + float(rng.uniform(0.28, 0.4)), float(rng.uniform(0.85, 1.0))
    stops = (organic, green, 0.63, steel, steel + 0.7)
    kinds = ("organic", "mixed", "mixed", "metal", "heavy")
    drawn = {kind: _plain(ink(kind)) for kind in dict.fromkeys(kinds)}
    inks = tuple((stop, drawn[kind]) for stop, kind in zip(stops, kinds, strict=True))
    grey = 1.0 if rng.random() < 0.6 else float(rng.uniform(0.84, 1.0))
    palette = Palette(
        inks=inks,
        gain=float(rng.uniform(0.9, 1.6)),
        power=float(rng.uniform(0.75, 1.0)),
        deepest=float(rng.uniform(1.8, 4.0)),
        dense=float(rng.uniform(3.0, 4.0)),
        air=(grey, grey, grey),
    )
    return Display(palette, float(rng.uniform(0.0, 3.0)), float(rng.uniform(0.7, 1.3)))


def _plain(ink: npt.NDArray[np.float64]) -> Ink:
    red, green, blue = (float(v) for v in ink)
    return red, green, blue
