"""Electronic things that fill a bag, in millimetres, as in `xedge.sim.clutter`."""

from __future__ import annotations

import numpy as np

from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    Prism,
    Rod,
    arc,
    ellipse,
    rectangle,
    rounded_rectangle,
    smooth,
)


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
    area = (length * 0.62, width * 0.4)
    bx, by = rng.uniform(-0.12, 0.12) * length, -width * 0.24
    parts += board(rng, bx, by, area[0], area[1], 26)
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


def board(
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
    parts += board(rng, length * 0.05, -width * 0.3, length * 0.75, width * 0.24, 14)
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
    parts += board(rng, 0, 0, length - 10, width - 10, 12)
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
    parts += board(rng, 8, -width * 0.2, length * 0.6, width * 0.4, 16)
    return tuple(parts)
