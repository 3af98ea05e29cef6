"""Everyday things that fill a bag; none is of a labelled class.

Each builder draws one thing in its own frame in millimetres, as in `xedge.sim.threats`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xedge.sim import electronics
from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    Prism,
    Rod,
    Turned,
    arc,
    ellipse,
    rectangle,
    rounded_rectangle,
    smooth,
)

Builder = Callable[[np.random.Generator], tuple[Part, ...]]


def book(rng: np.random.Generator) -> tuple[Part, ...]:
    """A book or a stack of papers, seen flat or on edge."""
    length, width = rng.uniform(150, 240), rng.uniform(105, 170)
    pages = rng.uniform(6, 24)
    if rng.random() < 0.2:
        width, pages = pages, min(width, 110.0)
    block = rectangle(length, width)
    cover = rounded_rectangle(length + 6, width + 4, 1.5)
    parts = [Part("paper", Prism(block, pages)), Part("paper", Prism(cover, 3.0))]
    if rng.random() < 0.25:
        ring = np.stack([np.linspace(-length / 2, length / 2, 2), np.full(2, width / 2)], axis=1)
        turns = [
            arc(3.5, 0, 2 * np.pi, x, width / 2)
            for x in np.linspace(-length / 2 + 6, length / 2 - 6, 24)
        ]
        parts += [Part("steel", Rod(turn, 0.45)) for turn in turns] + [Part("pvc", Rod(ring, 1.0))]
    return tuple(parts)


def shoe(rng: np.random.Generator) -> tuple[Part, ...]:
    """A shoe from above: sole with heel and shank, upper, eyelets and laces."""
    length = rng.uniform(240, 300)
    half = length / 2
    sole = smooth(
        np.array(
            [
                [-half, -30],
                [-half * 0.5, -32],
                [0, -30],
                [half * 0.5, -45],
                [half * 0.9, -30],
                [half, 0],
                [half * 0.8, 36],
                [half * 0.4, 46],
                [0, 34],
                [-half * 0.5, 30],
                [-half, 24],
            ]
        ),
        closed=True,
    )
    heel = smooth(
        np.array(
            [[-half, -26], [-half * 0.55, -29], [-half * 0.5, 0], [-half * 0.55, 27], [-half, 22]]
        ),
        closed=True,
    )
    opening = ellipse(half * 0.38, 19, -half * 0.42, 0)
    parts = [
        Part("rubber", Prism(sole, rng.uniform(7, 12), 5.0), 0.8),
        Part("rubber", Prism(heel, rng.uniform(5, 22), 4.0), 0.8),
        Part("leather", Prism(sole * 0.97, 4.0, 0.0, (opening,))),
        Part("leather", Prism(sole * 0.97, 28.0, 0.0, (sole * 0.92,))),
    ]
    if rng.random() < 0.6:
        parts.append(
            Part("steel", Prism(rounded_rectangle(length * 0.32, 14, 6, -half * 0.15, 0), 1.0))
        )
    for k in range(5):
        for y in (-13, 13):
            spot = ellipse(2.6, 2.6, half * (0.05 + 0.09 * k), y)
            parts.append(
                Part(
                    "brass",
                    Prism(spot, 1.2, 0.0, (ellipse(1.2, 1.2, half * (0.05 + 0.09 * k), y),)),
                )
            )
        parts.append(
            Part(
                "cotton",
                Rod(
                    np.array([[half * (0.05 + 0.09 * k), -13.0], [half * (0.09 + 0.09 * k), 13.0]]),
                    1.6,
                ),
            )
        )
    return tuple(parts)


def tube(rng: np.random.Generator) -> tuple[Part, ...]:
    """A toothpaste or cream tube, flattening towards its crimped end, and its cap."""
    length, width = rng.uniform(85, 165), rng.uniform(28, 46)
    body = smooth(
        np.array(
            [
                [-length / 2, -width / 2],
                [length * 0.3, -width * 0.42],
                [length / 2, -width * 0.3],
                [length / 2, width * 0.3],
                [length * 0.3, width * 0.42],
                [-length / 2, width / 2],
            ]
        ),
        closed=True,
    )
    filled = body * (0.92, 0.95) + (length * 0.03, 0)
    cap = rounded_rectangle(18, width * 0.55, 2, length / 2 + 9, 0)
    return (
        Part("polyethylene", Prism(body, 1.2)),
        Part("cream", Prism(filled, rng.uniform(9, 20), width * 0.45)),
        Part("polyethylene", Prism(rectangle(6, width, -length / 2, 0), 1.5)),
        Part("polyethylene", Prism(cap, 12.0, width * 0.27)),
    )


def umbrella(rng: np.random.Generator) -> tuple[Part, ...]:
    """A folded umbrella: steel shaft and ribs in nylon cloth, a plastic handle."""
    length = rng.uniform(220, 300)
    a, b = -length / 2, length / 2
    roll = np.array([[a, 12], [a + 30, 21], [b - 40, 19], [b - 14, 9]])
    parts = [
        Part("nylon", Turned(roll), 0.3),
        Part("steel", Rod(np.array([[a - 4, 0.0], [b, 0.0]]), 4.5, bore=3.7)),
        Part("abs", Turned(np.array([[a - 55, 11], [a - 30, 14], [a - 4, 12]]))),
        Part("steel", Rod(np.array([[a - 50, 0.0], [a, 0.0]]), 3.5, bore=2.8)),
    ]
    for y in np.linspace(-15, 15, 6):
        rib = np.array([[a + 6, y * 0.6], [a + length * 0.4, y], [b - 20, y * 0.35]])
        parts.append(Part("steel", Rod(smooth(rib), 0.8)))
        joint = ellipse(2.4, 2.4, a + length * 0.4, float(y), 10)
        parts.append(Part("zinc", Prism(joint, 1.8)))
    parts.append(Part("zinc", Prism(rounded_rectangle(18, 14, 4, b - 22, 0), 7.0, 6.0)))
    return tuple(parts)


def keys(rng: np.random.Generator) -> tuple[Part, ...]:
    """A bunch of keys on a ring."""
    parts = [Part("steel", Rod(ellipse(14, 14), 1.1, closed=True))]
    for _ in range(int(rng.integers(2, 7))):
        angle = float(rng.uniform(0, 2 * np.pi))
        blade = rng.uniform(24, 38)
        teeth = np.linspace(22, 20 + blade, 12)
        cut = np.stack([teeth, 3.5 - rng.uniform(0, 2.2, 12)], axis=1)
        bow = ellipse(rng.uniform(9, 12), rng.uniform(9, 12), 10, 0)
        shaft = np.concatenate([[[18, -3.5], [20 + blade, -3.0]], cut[::-1]])
        material = "brass" if rng.random() < 0.6 else "steel"
        moved = rng.normal(0, 3, 2)
        parts.append(
            Part(
                material,
                Prism(
                    turned(bow, angle, *moved),
                    2.0,
                    0.0,
                    (turned(ellipse(3, 3, 4, 0), angle, *moved),),
                ),
            )
        )
        parts.append(Part(material, Prism(turned(shaft, angle, *moved), 2.0)))
    return tuple(parts)


def coins(rng: np.random.Generator) -> tuple[Part, ...]:
    """A handful of coins, some in a purse of leather with a steel clasp."""
    parts: list[Part] = []
    for _ in range(int(rng.integers(4, 14))):
        x, y = rng.normal(0, 22, 2)
        radius = rng.uniform(8, 13)
        parts.append(
            Part(
                str(rng.choice(["copper", "brass", "zinc"])),
                Prism(ellipse(radius, radius * rng.uniform(0.5, 1), x, y), 1.8),
            )
        )
    if rng.random() < 0.6:
        parts.append(Part("leather", Prism(rounded_rectangle(110, 85, 12), 4.0, 2.0)))
        parts.append(Part("steel", Rod(np.array([[-50.0, -42.0], [50.0, -42.0]]), 1.8)))
    return tuple(parts)


def belt(rng: np.random.Generator) -> tuple[Part, ...]:
    """A rolled belt on edge with its buckle."""
    turns = rng.uniform(1.8, 3.5)
    angle = np.linspace(0, 2 * np.pi * turns, int(26 * turns))
    radius = 22 + angle * rng.uniform(1.2, 1.9)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    frame = rounded_rectangle(46, 38, 5, *spiral[-1])
    hole = rounded_rectangle(34, 27, 3, *spiral[-1])
    pin = np.array([spiral[-1] - (20, 0), spiral[-1] + (20, 0)])
    return (
        Part("leather", Rod(spiral, 2.0), 6.0),
        Part("zinc", Prism(frame, 4.0, 2.0, (hole,))),
        Part("steel", Rod(pin, 1.8)),
    )


def cosmetics(rng: np.random.Generator) -> tuple[Part, ...]:
    """A compact, a lipstick or a jar of cream."""
    radius = rng.uniform(20, 34)
    jar = ellipse(radius, radius * rng.uniform(0.75, 1))
    parts = [
        Part("abs", Prism(jar, rng.uniform(4, 9))),
        Part("cream", Prism(jar * 0.86, rng.uniform(3, 16), 3.0)),
        Part("abs", Prism(jar, 12.0, 0.0, (jar * 0.9,))),
    ]
    if rng.random() < 0.5:
        parts.append(Part("glass", Prism(jar * 0.8, 1.8)))
    tube_x = radius + 14
    parts += [
        Part("aluminium", Prism(rounded_rectangle(72, 19, 2, 0, tube_x), 1.6, 0.8)),
        Part("cream", Prism(rounded_rectangle(24, 12, 4, 10, tube_x), 12.0, 6.0)),
    ]
    return tuple(parts)


def fruit(rng: np.random.Generator) -> tuple[Part, ...]:
    """A piece of fruit or a sandwich: watery, without an edge."""
    a, b = rng.uniform(28, 42), rng.uniform(26, 40)
    return (Part("water", Prism(ellipse(a, b), rng.uniform(35, 60), min(a, b) * 0.95), 0.85),)


def spectacles(rng: np.random.Generator) -> tuple[Part, ...]:
    """Spectacles in their case."""
    length = rng.uniform(150, 165)
    parts = [Part("abs", Prism(rounded_rectangle(length, 60, 25), 3.0, 2.0))]
    for x in (-33.0, 33.0):
        lens = ellipse(26, 19, x, 0)
        parts += [Part("lucite", Prism(lens, 2.5)), Part("stainless", Rod(lens, 0.9, closed=True))]
    for y in (-22.0, 22.0):
        parts.append(Part("stainless", Rod(np.array([[-62.0, y], [66.0, y * 0.8]]), 0.9)))
    parts.append(Part("stainless", Rod(arc(8, np.pi, 2 * np.pi, 0, 2), 1.0)))
    return tuple(parts)


def toy(rng: np.random.Generator) -> tuple[Part, ...]:
    """A soft toy with plastic eyes."""
    body = smooth(
        np.array([[-60, 0], [-35, -38], [20, -30], [62, -22], [72, 14], [30, 34], [-30, 40]])
        * rng.uniform(0.7, 1.2),
        closed=True,
    )
    parts = [Part("nylon", Prism(body, 50.0, 30.0), 0.12)]
    for y in (-8.0, 8.0):
        parts.append(Part("abs", Prism(ellipse(4, 4, 50, y), 4.0, 3.0)))
    return tuple(parts)


BUILDERS: dict[str, tuple[Builder, float]] = {
    "book": (book, 1.2),
    "shoe": (shoe, 0.9),
    "laptop": (electronics.laptop, 0.5),
    "phone": (electronics.phone, 0.8),
    "charger": (electronics.charger, 1.0),
    "cable": (electronics.cable, 1.2),
    "tube": (tube, 1.0),
    "umbrella": (umbrella, 0.5),
    "keys": (keys, 0.9),
    "coins": (coins, 0.7),
    "belt": (belt, 0.7),
    "cosmetics": (cosmetics, 0.9),
    "headphones": (electronics.headphones, 0.5),
    "fruit": (fruit, 0.5),
    "spectacles": (spectacles, 0.6),
    "camera": (electronics.camera, 0.35),
    "toy": (toy, 0.4),
}
"""Each thing, and how often it is packed relative to the others."""
