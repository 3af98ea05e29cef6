"""Pistols and revolvers, in millimetres, lying on their side."""

from __future__ import annotations

import numpy as np

from xedge.sim.parts import Part, turned
from xedge.sim.shapes import (
    F64,
    Prism,
    Rod,
    Turned,
    rectangle,
    rounded_rectangle,
    smooth,
)


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


POLYMER = 0.6
"""Share of pistols with a frame of polymer, the others' is of aluminium or steel."""


def _pistol(rng: np.random.Generator, polymers: float) -> tuple[Part, ...]:
    length, height = rng.uniform(150, 205), rng.uniform(20, 26)
    polymer = rng.random() < polymers
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


def gun(rng: np.random.Generator, polymers: float = POLYMER) -> tuple[Part, ...]:
    """A pistol or a revolver, loaded or not; so large a share of pistols has a polymer frame."""
    return _pistol(rng, polymers) if rng.random() < 0.7 else _revolver(rng)
