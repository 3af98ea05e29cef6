"""Knives, scissors and hand tools, in millimetres, lying flat."""

from __future__ import annotations

import numpy as np

from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    Prism,
    Rod,
    ellipse,
    rectangle,
    rounded_rectangle,
    smooth,
)


def knife(rng: np.random.Generator) -> tuple[Part, ...]:
    """A kitchen, hunting or folding knife, its blade flat or nearly so."""
    blade, width = rng.uniform(85, 200), rng.uniform(16, 38)
    handle = rng.uniform(90, 125)
    grip_width = rng.uniform(18, 27)
    tip = rng.uniform(0.15, 0.5)
    edge = np.array(
        [
            [0, -width / 2],
            [blade * 0.75, -width / 2],
            [blade, -width / 2 + width * tip],
            [blade * 0.8, width * 0.42],
            [blade * 0.5, width / 2],
            [0, width / 2],
        ]
    )
    spine = np.array([[0, -width / 2], [blade * 0.9, -width / 2 + 2], [0, 0]])
    outline = smooth(
        np.array(
            [
                [2, -grip_width * 0.45],
                [-handle * 0.4, -grip_width * 0.5],
                [-handle, -grip_width * 0.45],
                [-handle - 4, grip_width * 0.4],
                [-handle * 0.6, grip_width * 0.38],
                [-handle * 0.2, grip_width * 0.5],
                [0, grip_width * 0.4],
            ]
        ),
        closed=True,
    )
    metal_grip = rng.random() < 0.2
    parts = [
        Part("stainless", Prism(edge, rng.uniform(1.2, 2.6), width * 0.3)),
        Part("stainless", Prism(spine, 0.8)),
        Part(
            "stainless" if metal_grip else str(rng.choice(["abs", "nylon", "paper"])),
            Prism(outline, 5.0 if metal_grip else rng.uniform(14, 20), 6.0),
        ),
        Part(
            "stainless",
            Prism(
                rectangle(handle * rng.uniform(0.7, 0.95), grip_width * 0.45, -handle * 0.45, 0),
                2.0,
            ),
        ),
    ]
    for k in range(int(rng.integers(2, 4))):
        parts.append(Part("brass", Prism(ellipse(3, 3, -handle * (0.15 + 0.3 * k), 0), 16.0)))
    if rng.random() < 0.4:
        parts.append(
            Part("stainless", Prism(rounded_rectangle(7, grip_width * 1.5, 3, 1, 0), 8.0, 2.0))
        )
    return tuple(parts)


def scissors(rng: np.random.Generator) -> tuple[Part, ...]:
    """A pair of scissors, closed to wide open, with plastic or steel finger rings."""
    blade, opening = rng.uniform(55, 105), rng.uniform(0.03, 0.5)
    width = blade * rng.uniform(0.13, 0.19)
    ring_x, ring_y = rng.uniform(19, 26), rng.uniform(13, 17)
    plastic = rng.random() < 0.75
    reach = rng.uniform(35, 60)
    parts: list[Part] = []
    for sign in (-1, 1):
        angle = sign * opening / 2
        half = np.array(
            [
                [-8, -width / 2],
                [blade * 0.6, -width * 0.45],
                [blade, 0.2 * width],
                [blade * 0.5, width / 2],
                [-8, width / 2],
            ]
        ) * (1, sign)
        parts.append(
            Part("stainless", Prism(turned(half, angle, 0, 0), rng.uniform(1.3, 2.2), 5.0))
        )
        shank = smooth(np.array([[0, 0], [-reach * 0.5, 3.0 * sign], [-reach, 9.0 * sign]])) * (
            1,
            -1,
        )
        parts.append(Part("stainless", Rod(turned(shank, angle, 0, 0), rng.uniform(2.0, 3.2))))
        centre = np.array([-reach - ring_x * 0.75, -sign * (ring_y * 0.95 + 2)])
        ring = turned(ellipse(ring_x, ring_y, *centre), angle, 0, 0)
        thick = rng.uniform(3.8, 5.5) if plastic else rng.uniform(2.2, 3.2)
        parts.append(Part("abs" if plastic else "stainless", Rod(ring, thick, closed=True)))
        if plastic:
            parts.append(Part("abs", Rod(turned(shank[8:], angle, 0, 0), 5.5)))
    parts.append(Part("steel", Prism(ellipse(4.2, 4.2), 5.0, 1.5)))
    return tuple(parts)


def wrench(rng: np.random.Generator) -> tuple[Part, ...]:
    """An open-end, ring or adjustable wrench of drop-forged steel."""
    length = rng.uniform(110, 230)
    head = length * rng.uniform(0.115, 0.15)
    neck = head * rng.uniform(0.5, 0.65)
    thick = rng.uniform(5, 9)
    a, b = -length / 2 + head, length / 2 - head
    shaft = np.array([[a, -neck / 2], [b, -neck * 0.45], [b, neck * 0.45], [a, neck / 2]])
    web = rectangle((b - a) * 0.7, neck * 0.45)
    parts = [
        Part("steel", Prism(shaft, thick * 0.75, neck * 0.3)),
        Part("steel", Prism(shaft, thick * 0.2, 0.0, (web,))),
    ]
    kind = rng.random()
    if kind < 0.25:
        parts += _adjustable_head(b, head, thick)
    else:
        parts.append(_open_head(b, head, thick, 0.26))
    if kind < 0.25:
        parts.append(
            Part(
                "steel",
                Prism(
                    ellipse(neck * 0.75, neck * 0.75, a, 0),
                    thick,
                    3.0,
                    (ellipse(neck * 0.3, neck * 0.3, a, 0),),
                ),
            )
        )
    elif kind < 0.7:
        hole = ellipse(head * 0.58, head * 0.58, -length / 2 + head, 0, count=12)
        parts.append(
            Part("steel", Prism(ellipse(head * 0.9, head * 0.9, a, 0), thick * 1.3, 2.5, (hole,)))
        )
    else:
        parts.append(_open_head(-a, head * 0.9, thick, 0.26, mirror=True))
    return tuple(parts)


def _open_head(x: float, head: float, thick: float, angle: float, mirror: bool = False) -> Part:
    jaw = np.array(
        [
            [-head * 0.9, -head * 0.55],
            [-head * 0.3, -head],
            [head * 0.5, -head * 0.95],
            [head * 0.95, -head * 0.62],
            [head * 0.95, -head * 0.45],
            [-head * 0.1, -head * 0.45],
            [-head * 0.35, 0],
            [-head * 0.1, head * 0.45],
            [head * 0.95, head * 0.45],
            [head * 0.95, head * 0.62],
            [head * 0.5, head * 0.95],
            [-head * 0.3, head],
            [-head * 0.9, head * 0.55],
        ]
    )
    outline = turned(jaw, angle, x, 0)
    return Part("steel", Prism(outline * (-1, -1) if mirror else outline, thick, 2.5))


def _adjustable_head(x: float, head: float, thick: float) -> list[Part]:
    fixed = np.array(
        [
            [-head * 0.9, -head * 0.4],
            [0, -head],
            [head * 1.2, -head * 0.9],
            [head * 1.3, -head * 0.5],
            [head * 0.2, -head * 0.45],
            [head * 0.1, head * 0.9],
            [-head * 0.7, head * 0.8],
        ]
    )
    moving = np.array(
        [
            [head * 0.15, head * 0.2],
            [head * 1.25, head * 0.25],
            [head * 1.2, head * 0.6],
            [head * 0.1, head * 1.05],
        ]
    )
    worm = rectangle(head * 0.35, head * 0.7, -head * 0.15, head * 0.35)
    return [
        Part("steel", Prism(turned(fixed, 0.2, x, 0), thick * 1.1, 3.0)),
        Part("steel", Prism(turned(moving, 0.2, x, 0), thick, 2.0)),
        Part("steel", Prism(turned(worm, 0.2, x, 0), thick * 0.8, 4.0)),
    ]


def pliers(rng: np.random.Generator) -> tuple[Part, ...]:
    """Combination, needle-nose or cutting pliers with dipped or two-part grips."""
    jaw = rng.uniform(32, 62)
    width = rng.uniform(9, 14) * (0.8 if jaw > 50 else 1.0)
    opening = rng.uniform(0.03, 0.35)
    handle = rng.uniform(90, 130)
    thick = rng.uniform(8, 12)
    sleeve = str(rng.choice(["pvc", "rubber", "abs"]))
    parts: list[Part] = []
    for sign in (-1, 1):
        angle = sign * opening / 2
        nose = np.array(
            [
                [-10, -2],
                [4, width],
                [jaw * 0.45, width * 0.95],
                [jaw, width * 0.35],
                [jaw, 0.4],
                [2, 0.4],
            ]
        ) * (1, sign)
        parts.append(Part("steel", Prism(turned(nose, angle, 0, 0), thick, 3.0)))
        lever = smooth(
            np.array([[0, 2], [-22, 11], [-handle * 0.5, 21], [-handle * 0.8, 19], [-handle, 16]])
        ) * (1, -sign)
        lever = turned(lever, angle, 0, 0)
        parts.append(Part("steel", Rod(lever, rng.uniform(3.2, 4.2))))
        parts.append(Part(sleeve, Rod(lever[8:], rng.uniform(6.5, 8.5))))
    parts.append(Part("steel", Prism(ellipse(12, 12), thick * 1.2, 4.0)))
    parts.append(Part("steel", Prism(ellipse(4.5, 4.5), 4.0)))
    return tuple(parts)


def utility_knife(rng: np.random.Generator) -> tuple[Part, ...]:
    """A snap-off cutter: scored thin blade in a steel channel in a plastic or metal body."""
    length, width = rng.uniform(125, 170), rng.uniform(16, 26)
    blade_width = width * rng.uniform(0.5, 0.68)
    out = rng.uniform(0, 70)
    body_metal = rng.random() < 0.3
    body = rounded_rectangle(length, width, width * 0.3)
    slot = rounded_rectangle(length * 0.62, width * 0.22, 2, length * 0.1, 0)
    front = length / 2 + out
    blade = np.array(
        [
            [-length * 0.35, -blade_width / 2],
            [front, -blade_width / 2],
            [front - blade_width * 0.55, blade_width / 2],
            [-length * 0.35, blade_width / 2],
        ]
    )
    channel = rectangle(length * 0.9, blade_width * 1.25, length * 0.04, 0)
    parts = [
        Part(
            "zinc" if body_metal else "abs",
            Prism(body, 3.0 if body_metal else rng.uniform(9, 13), 3.5, (slot,)),
        ),
        Part("stainless", Prism(channel, 0.7, 0.0, (slot,))),
        Part("steel", Prism(blade, rng.uniform(0.6, 0.9))),
        Part(
            "abs",
            Prism(
                rounded_rectangle(22, width * 0.7, 4, rng.uniform(-0.2, 0.3) * length, 0), 7.0, 3.0
            ),
        ),
        Part("stainless", Prism(rectangle(12, width * 0.8, -length / 2 + 7, 0), 0.8)),
        Part("steel", Prism(ellipse(3, 3, -length * 0.4, 0), 6.0)),
    ]
    for x in np.arange(-length * 0.3, front - blade_width, rng.uniform(5, 9)):
        score = np.array([[x, blade_width / 2], [x + 0.55 * blade_width, -blade_width / 2]])
        parts.append(Part("steel", Rod(score, 0.35)))
    return tuple(parts)
