"""The eleven kinds of labelled objects: parametric families of parts, in millimetres.

Each builder draws one object in its own frame, lying on its side and centred near the origin,
with sizes of its own every time. Dimensions are those of everyday examples. Hand tools and
knives are here, containers and batteries in `xedge.sim.containers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xedge.sim import containers
from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    F64,
    Prism,
    Rod,
    Turned,
    ellipse,
    rectangle,
    rounded_rectangle,
    smooth,
)

Builder = Callable[[np.random.Generator], tuple[Part, ...]]


def _cartridges(count: int, pitch: float, start: F64, step: F64, angle: float) -> list[Part]:
    """Brass cases with their bullets, one above the other."""
    case = np.array([[-8.0, 0], [-8.0, 4.8], [9.0, 4.8], [9.0, 4.4], [15.0, 2.5], [16.5, 0.0]])
    parts = []
    for k in range(count):
        x, y = start + step * pitch * k
        outline = turned(np.concatenate([case, case[::-1] * (1, -1)]), angle, x, y)
        parts.append(Part("brass", Prism(outline, 3.0, 4.5)))
        core = turned(rectangle(9.0, 8.4, 11.0, 0.0), angle, x, y)
        parts.append(Part("copper", Prism(core, 6.0, 4.0)))
    return parts


def _pistol(rng: np.random.Generator) -> tuple[Part, ...]:
    length, height = rng.uniform(150, 205), rng.uniform(20, 26)
    polymer = rng.random() < 0.6
    frame = "nylon" if polymer else ("aluminium" if rng.random() < 0.5 else "steel")
    frame_mm = 24.0 if polymer else 10.0
    grip_angle = rng.uniform(0.12, 0.32)
    left, right = -length * 0.42, length * 0.58
    slide = np.array(
        [
            [left, 0],
            [right, 0],
            [right, -height * 0.8],
            [right - 4, -height],
            [left + 6, -height],
            [left, -height + 5],
        ]
    )
    port = rectangle(length * 0.16, height * 0.35, length * 0.08, -height * 0.72)
    barrel = np.array([[left + length * 0.28, 6.5], [right + 2, 6.5]])
    bore = barrel * (1, 0) + (0, 4.5)
    dust_cover = np.array(
        [[left, 0], [right - 8, 0], [right - 10, 11], [left + 62, 12], [left, 14]]
    )
    grip_length = rng.uniform(78, 105)
    grip = smooth(
        turned(
            np.array(
                [
                    [-21, 0],
                    [21, 0],
                    [19, grip_length * 0.4],
                    [21, grip_length * 0.8],
                    [23, grip_length],
                    [-24, grip_length - 2],
                    [-22, grip_length * 0.5],
                ]
            ),
            grip_angle,
            left + 26,
            8,
        ),
        closed=True,
    )
    magazine = turned(rectangle(30, grip_length - 4, 0, grip_length / 2), grip_angle, left + 25, 10)
    walls = turned(rectangle(26, grip_length - 8, 0, grip_length / 2), grip_angle, left + 25, 10)
    guard = smooth(
        np.array(
            [[left + 50, 12], [left + 52, 34], [left + 72, 39], [left + 88, 28], [left + 90, 10]]
        )
    )
    trigger = smooth(np.array([[left + 66, 8], [left + 70, 20], [left + 66, 30]]))
    down = np.array([-np.sin(grip_angle), np.cos(grip_angle)])
    parts = [
        Part("steel", Prism(slide, rng.uniform(9, 13), 4.0, (port,))),
        Part("steel", _shifted(Turned(barrel, bore), 0.0, -height * 0.55)),
        Part(frame, Prism(dust_cover, frame_mm, 3.0)),
        Part(frame, Prism(grip, frame_mm * (0.6 if polymer else 1.0), 10.0)),
        Part("steel", Prism(magazine, 1.8, 0.0, ())),
        Part("steel", Prism(magazine, 8.0, 0.0, (walls,))),
        Part(frame if polymer else "steel", Rod(guard, 3.2)),
        Part("steel", Rod(trigger, 2.2)),
        Part("steel", Prism(rectangle(5, 4, left + 8, -height - 1.5), 6.0)),
        Part("steel", Prism(rectangle(4, 4, right - 8, -height - 1.5), 4.0)),
    ]
    start = np.array([left + 25, 16.0]) + down * 6
    loaded = int(rng.integers(0, int(grip_length / 11)))
    parts += _cartridges(loaded, 9.8, start, down, grip_angle)
    return tuple(parts)


def _shifted(shape: Turned, x: float, y: float) -> Prism:
    """A turned tube away from its axis, as a bar of the same chord."""
    (a, radius), (b, _) = shape.profile[0], shape.profile[-1]
    outline = rectangle(float(b - a), 2 * float(radius), float(a + b) / 2 + x, y)
    return Prism(outline, 2.4 * float(radius) * 0.6, float(radius))


def _revolver(rng: np.random.Generator) -> tuple[Part, ...]:
    barrel = rng.uniform(50, 115)
    drum = rng.uniform(17, 21)
    grip_length = rng.uniform(75, 100)
    grip = smooth(
        np.array(
            [
                [-48, 0],
                [-26, 8],
                [-32, 35],
                [-38, grip_length],
                [-72, grip_length - 6],
                [-66, 40],
                [-58, 12],
            ]
        ),
        closed=True,
    )
    frame = np.array(
        [[-52, -24], [24, -24], [24, -18], [22, 22], [-20, 24], [-30, 30], [-50, 20], [-58, 6]]
    )
    window = rectangle(40, 34, -2, 0)
    parts = [
        Part("steel", Prism(frame, 15.0, 4.0, (window,))),
        Part("steel", Prism(rectangle(barrel, 15, 22 + barrel / 2, -15), 12.0, 7.0)),
        Part("steel", Prism(rectangle(barrel * 0.8, 9, 22 + barrel * 0.4, -3), 7.0, 4.0)),
        Part("steel", Prism(rounded_rectangle(38, 2 * drum, 4, -2, 0), 17.0, drum)),
        Part("abs" if rng.random() < 0.6 else "paper", Prism(grip, 26.0, 9.0)),
        Part(
            "steel",
            Prism(turned(rectangle(8, grip_length * 0.8, 0, grip_length * 0.4), 0.3, -44, 10), 7.0),
        ),
        Part("steel", Rod(smooth(np.array([[-28, 26], [-24, 48], [-4, 50], [4, 26]])), 2.8)),
        Part("steel", Rod(smooth(np.array([[-14, 24], [-9, 36], [-14, 45]])), 2.4)),
        Part("steel", Prism(np.array([[-56, -10], [-66, -26], [-72, -24], [-62, -4]]), 7.0, 2.0)),
        Part("steel", Prism(rectangle(6, 5, 18 + barrel, -24), 3.0)),
    ]
    for y in (-0.6 * drum, 0.0, 0.6 * drum):
        if rng.random() < 0.7:
            parts += _cartridges(1, 0.0, np.array([-10.0, y]), np.zeros(2), 0.0)
    return tuple(parts)


def gun(rng: np.random.Generator) -> tuple[Part, ...]:
    """A pistol or a revolver, loaded or not."""
    return _pistol(rng) if rng.random() < 0.7 else _revolver(rng)


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


BUILDERS: dict[str, Builder] = {
    "gun": gun,
    "knife": knife,
    "scissors": scissors,
    "wrench": wrench,
    "pliers": pliers,
    "utility_knife": utility_knife,
    "plastic_bottle": containers.plastic_bottle,
    "glass_bottle": containers.glass_bottle,
    "can": containers.can,
    "lighter": containers.lighter,
    "battery_pack": containers.battery_pack,
}
"""How to draw each labelled class; its keys are `xedge.sim.CLASSES`."""


@dataclass(frozen=True, eq=False)
class Threat:
    """One labelled object in its own frame."""

    label: str
    parts: tuple[Part, ...]


def make_threat(label: str, rng: np.random.Generator) -> Threat:
    """A new object of a class, with sizes drawn from its family."""
    return Threat(label, BUILDERS[label](rng))
