"""Everyday things that fill a bag; none is of a labelled class.

Each builder draws one thing in its own frame in millimetres, as in `xedge.sim.threats`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    F64,
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


def laptop(rng: np.random.Generator) -> tuple[Part, ...]:
    """A notebook computer: shell, glass, battery, board with chips, fan, keys and hinges."""
    length, width = rng.uniform(280, 340), rng.uniform(195, 235)
    shell = str(rng.choice(["magnesium", "aluminium", "abs"]))
    outline = rounded_rectangle(length, width, 8)
    parts = [
        Part(shell, Prism(outline, rng.uniform(1.4, 2.4))),
        Part(shell, Prism(outline, 8.0, 0.0, (rounded_rectangle(length - 4, width - 4, 6),))),
        Part("glass", Prism(rectangle(length - 16, width - 22), 1.0)),
        Part("abs", Prism(rectangle(length - 30, width * 0.42, 0, -width * 0.12), 2.5)),
    ]
    cells = int(rng.integers(3, 7))
    each = (length - 44) / cells
    for k in range(cells):
        x = -length / 2 + 22 + each * (k + 0.5)
        parts.append(
            Part(
                "cell", Prism(rounded_rectangle(each - 3, width * 0.3, 2, x, width * 0.3), 4.2, 1.5)
            )
        )
    board = (length * 0.62, width * 0.4)
    bx, by = rng.uniform(-0.12, 0.12) * length, -width * 0.24
    parts += _board(rng, bx, by, board[0], board[1], 26)
    pipe = smooth(
        np.array(
            [
                [bx - 10, by],
                [bx + 40, by + 14],
                [bx + 85, by - 12],
                [length / 2 - 36, -width / 2 + 30],
            ]
        )
    )
    fan_x, fan_y = length / 2 - 38, -width / 2 + 36
    parts += [
        Part("copper", Rod(pipe, 2.6, bore=1.8)),
        Part(
            "abs", Prism(ellipse(25, 25, fan_x, fan_y), 3.0, 0.0, (ellipse(23, 23, fan_x, fan_y),))
        ),
        Part("steel", Prism(ellipse(9, 9, fan_x, fan_y), 3.0)),
        Part("copper", Prism(rectangle(34, 8, fan_x, -width / 2 + 7), 3.0)),
    ]
    for k in range(18):
        a = 2 * np.pi * k / 18
        fin = np.array(
            [
                [fan_x + 9 * np.cos(a), fan_y + 9 * np.sin(a)],
                [fan_x + 22 * np.cos(a + 0.4), fan_y + 22 * np.sin(a + 0.4)],
            ]
        )
        parts.append(Part("abs", Rod(fin, 0.8)))
    for x in (-length * 0.33, length * 0.33):
        parts.append(Part("steel", Prism(rectangle(30, 7, x, -width / 2 + 4), 3.0, 2.0)))
    parts += _screws(length - 14, width - 14)
    return tuple(parts)


def _board(
    rng: np.random.Generator, x: float, y: float, length: float, width: float, chips: int
) -> list[Part]:
    """A circuit board with copper, packages, cans and connectors."""
    parts = [
        Part("fr4", Prism(rectangle(length, width, x, y), 1.4)),
        Part("copper", Prism(rectangle(length, width, x, y), 0.10)),
    ]
    spots = rng.uniform(-0.46, 0.46, (chips, 2)) * (length, width) + (x, y)
    sizes = rng.gamma(2.0, 2.5, (chips, 2)) + 2.0
    for (cx, cy), (a, b) in zip(spots, np.minimum(sizes, 0.3 * min(length, width)), strict=True):
        material = str(rng.choice(["chip", "chip", "copper", "steel"]))
        mm = {"chip": 1.4, "copper": 0.25, "steel": 0.35}[material]
        parts.append(Part(material, Prism(rectangle(float(a), float(b), float(cx), float(cy)), mm)))
    for _ in range(max(2, chips // 5)):
        a, b = rng.uniform(-0.45, 0.45, (2, 2)) * (length, width) + (x, y)
        corner = np.array([b[0], a[1]])
        parts.append(Part("copper", Rod(np.stack([a, corner, b]), 0.4)))
    edge = rectangle(length * 0.3, 5, x + rng.uniform(-0.3, 0.3) * length, y - width / 2 + 3)
    parts.append(Part("brass", Prism(edge, 1.2)))
    return parts


def _screws(length: float, width: float) -> list[Part]:
    return [
        Part("steel", Prism(ellipse(2.2, 2.2, sx * length / 2, sy * width / 2, 12), 5.0))
        for sx in (-1, 0, 1)
        for sy in (-1, 1)
    ]


def phone(rng: np.random.Generator) -> tuple[Part, ...]:
    """A telephone: frame, glass, one flat battery, board, camera."""
    length, width = rng.uniform(135, 165), rng.uniform(65, 78)
    outline = rounded_rectangle(length, width, 10)
    parts = [
        Part("glass", Prism(outline, 1.4)),
        Part("aluminium", Prism(outline, 6.5, 0.0, (rounded_rectangle(length - 4, width - 4, 8),))),
        Part("aluminium", Prism(outline, 0.5)),
        Part(
            "cell",
            Prism(rounded_rectangle(length * 0.55, width * 0.55, 2, -4, width * 0.14), 3.6, 1.2),
        ),
        Part("copper", Prism(ellipse(4, 4, length / 2 - 16, width / 2 - 16), 2.0, 1.0)),
        Part("steel", Prism(rounded_rectangle(14, 11, 2, -length / 2 + 12, -8), 2.2, 1.0)),
    ]
    parts += _board(rng, length * 0.05, -width * 0.3, length * 0.75, width * 0.24, 14)
    return tuple(parts)


def charger(rng: np.random.Generator) -> tuple[Part, ...]:
    """A mains adapter with its transformer, prongs and a coiled cable."""
    length, width = rng.uniform(50, 115), rng.uniform(38, 55)
    body = rounded_rectangle(length, width, 6)
    parts = [
        Part("abs", Prism(body, 5.0)),
        Part("abs", Prism(body, 20.0, 0.0, (rounded_rectangle(length - 5, width - 5, 4),))),
        Part("steel", Prism(rectangle(20, 22, length * 0.12, 0), 7.0)),
        Part("copper", Prism(rectangle(13, 16, length * 0.12, 0), 5.0, 4.0)),
        Part("aluminium", Prism(ellipse(7, 7, -length * 0.25, width * 0.15), 14.0, 1.0)),
        Part("aluminium", Prism(rectangle(length * 0.3, 3, -length * 0.1, -width * 0.38), 14.0)),
    ]
    parts += _board(rng, 0, 0, length - 10, width - 10, 12)
    for y in (-9.5, 9.5):
        parts.append(Part("brass", Prism(rectangle(19, 4.6, length / 2 + 9, y), 4.0, 2.3)))
    return tuple(parts) + cable(rng)


def cable(rng: np.random.Generator) -> tuple[Part, ...]:
    """A cable in loops with plugs at both ends."""
    loops = int(rng.integers(2, 5))
    wide, high = rng.uniform(30, 75), rng.uniform(22, 50)
    angle = np.linspace(0, 2 * np.pi * loops, 12 * loops)
    wobble = rng.normal(0, 4.0, (angle.size, 2))
    path = np.stack([wide * np.cos(angle), high * np.sin(angle)], axis=1) + wobble
    tail = rng.uniform(-90, 90, (2, 2))
    curve = smooth(np.concatenate([tail[:1], path, tail[1:]]), per_span=5)
    radius = rng.uniform(1.4, 3.2)
    parts = [
        Part("pvc", Rod(curve, radius)),
        Part("copper", Rod(curve, radius * rng.uniform(0.25, 0.42))),
    ]
    for end, before in ((curve[0], curve[4]), (curve[-1], curve[-5])):
        heading = float(np.arctan2(*(end - before)[::-1]))
        plug = turned(rounded_rectangle(20, 10, 2, 8, 0), heading, *end)
        tip = turned(rectangle(11, 8, 22, 0), heading, *end)
        parts += [Part("pvc", Prism(plug, 6.0, 3.0)), Part("stainless", Prism(tip, 1.2))]
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


def headphones(rng: np.random.Generator) -> tuple[Part, ...]:
    """Headphones: a steel band and two shells with magnets and coils."""
    span = rng.uniform(65, 80)
    parts = [
        Part("steel", Rod(arc(span, np.pi, 2 * np.pi), 1.4)),
        Part("abs", Rod(arc(span, np.pi * 1.1, np.pi * 1.9), 5.5)),
    ]
    for sign in (-1, 1):
        x, y = sign * span, 20.0
        cup = ellipse(rng.uniform(22, 30), 36, x, y)
        parts += [
            Part("abs", Prism(cup, 9.0, 6.0)),
            Part("steel", Prism(ellipse(12, 14, x, y), 4.5, 2.0)),
            Part("copper", Rod(ellipse(10, 12, x, y), 0.8, closed=True)),
            Part("fr4", Prism(rectangle(12, 20, x, y + 18), 1.0)),
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


def camera(rng: np.random.Generator) -> tuple[Part, ...]:
    """A camera: body with a board, a lens of glass elements in barrels, a flat battery."""
    length, width = rng.uniform(105, 140), rng.uniform(70, 92)
    lens = rng.uniform(24, 33)
    parts = [
        Part("magnesium", Prism(rounded_rectangle(length, width, 12), 4.0)),
        Part(
            "abs",
            Prism(
                rounded_rectangle(length, width, 12),
                24.0,
                6.0,
                (rounded_rectangle(length - 7, width - 7, 9),),
            ),
        ),
        Part("cell", Prism(rounded_rectangle(26, width * 0.55, 3, -length / 2 + 20, 4), 12.0, 2.0)),
        Part(
            "aluminium",
            Prism(ellipse(lens, lens, 12, 0), 40.0, 0.0, (ellipse(lens - 2.5, lens - 2.5, 12, 0),)),
        ),
        Part(
            "steel",
            Prism(
                ellipse(lens - 1, lens - 1, 12, 0), 4.0, 0.0, (ellipse(lens - 5, lens - 5, 12, 0),)
            ),
        ),
        Part("glass", Prism(ellipse(lens - 5, lens - 5, 12, 0), 14.0, lens)),
    ]
    parts += _board(rng, 8, -width * 0.2, length * 0.6, width * 0.4, 16)
    return tuple(parts)


def _outline_of(points: F64) -> F64:
    return smooth(points, closed=True)


def toy(rng: np.random.Generator) -> tuple[Part, ...]:
    """A soft toy with plastic eyes."""
    body = _outline_of(
        np.array([[-60, 0], [-35, -38], [20, -30], [62, -22], [72, 14], [30, 34], [-30, 40]])
        * rng.uniform(0.7, 1.2)
    )
    parts = [Part("nylon", Prism(body, 50.0, 30.0), 0.12)]
    for y in (-8.0, 8.0):
        parts.append(Part("abs", Prism(ellipse(4, 4, 50, y), 4.0, 3.0)))
    return tuple(parts)


BUILDERS: dict[str, tuple[Builder, float]] = {
    "book": (book, 1.2),
    "shoe": (shoe, 0.9),
    "laptop": (laptop, 0.5),
    "phone": (phone, 0.8),
    "charger": (charger, 1.0),
    "cable": (cable, 1.2),
    "tube": (tube, 1.0),
    "umbrella": (umbrella, 0.5),
    "keys": (keys, 0.9),
    "coins": (coins, 0.7),
    "belt": (belt, 0.7),
    "cosmetics": (cosmetics, 0.9),
    "headphones": (headphones, 0.5),
    "fruit": (fruit, 0.5),
    "spectacles": (spectacles, 0.6),
    "camera": (camera, 0.35),
    "toy": (toy, 0.4),
}
"""Each thing, and how often it is packed relative to the others."""
