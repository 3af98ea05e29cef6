"""Odds and ends of metal that fill a bag beside everyday things, as in `xedge.sim.clutter`.

What a detector of steel tools must not take for one: bundles of rods, sockets, small parts, boxes
of sheet metal, apparatus full of boards. None is of a labelled class.
"""

from __future__ import annotations

import numpy as np

from xedge.sim.clutter import Builder
from xedge.sim.electronics import board
from xedge.sim.parts import Part, turned
from xedge.sim.shapes import Prism, Rod, ellipse, rectangle, rounded_rectangle


def rods(rng: np.random.Generator) -> tuple[Part, ...]:
    """A bundle of rods, needles, spokes or cutlery handles, nearly side by side."""
    count, spread = int(rng.integers(4, 22)), rng.uniform(0.0, 0.12)
    length, wide = rng.uniform(110, 330), rng.uniform(8, 45)
    material = str(rng.choice(["steel", "stainless", "aluminium", "brass"], p=(0.5, 0.3, 0.1, 0.1)))
    radius, parts = rng.uniform(0.8, 4.0), []
    for _ in range(count):
        half = length * rng.uniform(0.35, 0.5)
        line = turned(
            np.array([[-half, 0.0], [half, 0.0]]),
            float(rng.normal(0, spread)),
            float(rng.normal(0, length * 0.04)),
            float(rng.uniform(-wide, wide)),
        )
        parts.append(Part(material, Rod(line, radius * rng.uniform(0.7, 1.2))))
    return tuple(parts)


def sockets(rng: np.random.Generator) -> tuple[Part, ...]:
    """A set of sockets in one or two rows, and a ratchet beside them, some in a case."""
    parts: list[Part] = []
    rows, count = int(rng.integers(1, 3)), int(rng.integers(4, 9))
    pitch = rng.uniform(19, 27)
    for row in range(rows):
        for k in range(count):
            radius = pitch * (0.26 + 0.22 * k / count)
            x, y = (k - (count - 1) / 2) * pitch, (row - rows / 2) * 32.0
            hole = ellipse(radius * 0.6, radius * 0.6, x, y)
            parts.append(Part("steel", Prism(ellipse(radius, radius, x, y), 18.0, 1.0, (hole,))))
    if rng.random() < 0.6:
        length = rng.uniform(110, 180)
        parts.append(Part("steel", Rod(np.array([[-length / 2, 34.0], [length / 2, 34.0]]), 5.0)))
        parts.append(Part("steel", Prism(ellipse(16, 14, length / 2, 34.0), 16.0, 4.0)))
    if rng.random() < 0.5:
        parts.append(Part("abs", Prism(rounded_rectangle(count * pitch + 30, 125, 8), 4.0, 2.0)))
    return tuple(parts)


def fasteners(rng: np.random.Generator) -> tuple[Part, ...]:
    """Nails, screws, nuts and washers, poured out."""
    parts: list[Part] = []
    for _ in range(int(rng.integers(8, 32))):
        x, y = rng.normal(0, 24, 2)
        if rng.random() < 0.6:
            half = rng.uniform(6, 32)
            line = turned(
                np.array([[-half, 0.0], [half, 0.0]]),
                float(rng.uniform(0, np.pi)),
                float(x),
                float(y),
            )
            parts.append(Part("steel", Rod(line, rng.uniform(0.8, 2.6))))
        else:
            radius = rng.uniform(3.5, 9)
            hole = ellipse(radius * 0.55, radius * 0.55, x, y)
            nut = Prism(ellipse(radius, radius, x, y), rng.uniform(1.5, 7), 0.0, (hole,))
            parts.append(Part("steel" if rng.random() < 0.7 else "zinc", nut))
    return tuple(parts)


def casing(rng: np.random.Generator) -> tuple[Part, ...]:
    """A box or a sheet of steel or aluminium, such as a tin, a drive or a tray."""
    length, width = rng.uniform(70, 230), rng.uniform(50, 160)
    material = str(rng.choice(["steel", "aluminium"]))
    mm = rng.uniform(0.6, 2.2) if material == "steel" else rng.uniform(2.0, 8.0)
    parts = [Part(material, Prism(rounded_rectangle(length, width, 6), mm))]
    if rng.random() < 0.7:
        inner = rounded_rectangle(length - 4, width - 4, 5)
        parts.append(
            Part(material, Prism(rounded_rectangle(length, width, 6), 22.0, 0.0, (inner,)))
        )
    return tuple(parts)


def apparatus(rng: np.random.Generator) -> tuple[Part, ...]:
    """A radio, a player or a small machine: a case, boards one over the other, a transformer."""
    length, width = rng.uniform(150, 290), rng.uniform(110, 210)
    case = rounded_rectangle(length, width, 8)
    inner = rounded_rectangle(length - 6, width - 6, 6)
    shell = str(rng.choice(["abs", "abs", "aluminium"]))
    parts = [
        Part(shell, Prism(case, rng.uniform(3.0, 6.0))),
        Part(shell, Prism(case, 40.0, 0.0, (inner,))),
    ]
    for _ in range(int(rng.integers(1, 4))):
        a, b = rng.uniform(0.4, 0.85, 2) * (length, width)
        x, y = rng.uniform(-0.5, 0.5, 2) * (length - a, width - b)
        parts += board(rng, float(x), float(y), float(a), float(b), int(rng.integers(20, 60)))
    if rng.random() < 0.7:
        x, y = rng.uniform(-0.3, 0.3, 2) * (length, width)
        parts.append(Part("steel", Prism(rectangle(34, 30, x, y), rng.uniform(4, 20))))
        parts.append(Part("copper", Prism(rectangle(22, 32, x, y), rng.uniform(2, 9), 2.0)))
    return tuple(parts)


BUILDERS: dict[str, tuple[Builder, float]] = {
    "rods": (rods, 1.2),
    "sockets": (sockets, 0.5),
    "fasteners": (fasteners, 0.8),
    "casing": (casing, 0.9),
    "apparatus": (apparatus, 0.9),
}
"""Each thing, and how often it is packed relative to the others."""
