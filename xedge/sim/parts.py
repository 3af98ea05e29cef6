"""A part is a solid of one material; objects are tuples of parts, drawn together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xedge.sim.materials import per_mm
from xedge.sim.shapes import F64, Patch, Pose, Shape
from xedge.types import F32


@dataclass(frozen=True, eq=False)
class Part:
    """A solid of one material.

    Attributes:
        material: Name in the tables.
        shape: Its solid.
        fill: Share of the volume that is matter: below one for foam, rolls and the like.
    """

    material: str
    shape: Shape
    fill: float = 1.0


@dataclass(frozen=True, eq=False)
class Projection:
    """Thickness of the basis materials of one object where it lies, cm, float32 ``[3, h, w]``."""

    x0: int
    y0: int
    basis_cm: F32

    def add_to(self, canvas: F32) -> None:
        """Add this to a bag's maps, float32 ``[3, lines, elements]``; what sticks out is lost."""
        _, lines, elements = canvas.shape
        _, h, w = self.basis_cm.shape
        left, top = max(0, -self.x0), max(0, -self.y0)
        right, bottom = min(w, elements - self.x0), min(h, lines - self.y0)
        if left < right and top < bottom:
            target = canvas[:, self.y0 + top : self.y0 + bottom, self.x0 + left : self.x0 + right]
            target += self.basis_cm[:, top:bottom, left:right]


def project(parts: Iterable[Part], pose: Pose) -> Projection:
    """What the parts, placed together, add to the maps of a bag."""
    patches = [(part, part.shape.render(pose)) for part in parts]
    x0 = min(p.x0 for _, p in patches)
    y0 = min(p.y0 for _, p in patches)
    x1 = max(p.x0 + p.mm.shape[1] for _, p in patches)
    y1 = max(p.y0 + p.mm.shape[0] for _, p in patches)
    basis = np.zeros((3, y1 - y0, x1 - x0), np.float32)
    for part, patch in patches:
        add_patch(basis, Patch(patch.x0 - x0, patch.y0 - y0, patch.mm), part.material, part.fill)
    return Projection(x0, y0, basis)


def add_patch(basis_cm: F32, patch: Patch, material: str, fill: float = 1.0) -> None:
    """Add a thickness map that lies within ``basis_cm`` as a material."""
    h, w = patch.mm.shape
    target = basis_cm[:, patch.y0 : patch.y0 + h, patch.x0 : patch.x0 + w]
    for plane, share in zip(target, per_mm(material), strict=True):
        plane += patch.mm * np.float32(share * fill)


def turned(points: F64, angle: float, x: float, y: float) -> F64:
    """Points rotated by ``angle`` radians about the origin and moved by ``(x, y)``."""
    c, s = np.cos(angle), np.sin(angle)
    moved: F64 = points @ np.array([[c, s], [-s, c]]) + (x, y)
    return moved
