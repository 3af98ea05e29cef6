"""Labelled containers and batteries: bottles, cans, lighters, battery packs."""

from __future__ import annotations

import numpy as np

from xedge.sim.parts import Part
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


def _bottle_profile(length: float, radius: float, neck: float, shoulder: float) -> F64:
    """Radius along a bottle lying with its foot at x = -length / 2."""
    a, b = -length / 2, length / 2
    start = b - shoulder - 28.0
    curve = np.linspace(0, 1, 14)
    slope = neck + (radius - neck) * 0.5 * (1 + np.cos(np.pi * curve))
    return np.concatenate(
        [
            [[a, radius * 0.75], [a + 4, radius * 0.97], [a + 8, radius]],
            np.stack([start + shoulder * curve, slope], axis=1),
            [[b, neck]],
        ]
    )


def _inside(profile: F64, wall: float, floor: float) -> F64:
    inner = profile - (0.0, wall)
    inner[0, 0] += floor
    inner[1, 0] = max(inner[1, 0], inner[0, 0] + 0.5)
    inner[2, 0] = max(inner[2, 0], inner[1, 0] + 0.5)
    return inner


def _level(rng: np.random.Generator) -> float:
    """Height of the liquid: mostly full, sometimes half, seldom nearly empty."""
    return float(
        rng.choice([0.95, rng.uniform(0.4, 0.95), rng.uniform(-0.5, 0.4)], p=[0.5, 0.35, 0.15])
    )


def plastic_bottle(rng: np.random.Generator) -> tuple[Part, ...]:
    """A bottle of PET or polyethylene with a cap, filled with a drink, spirit or lotion."""
    length, radius = rng.uniform(130, 260), rng.uniform(24, 42)
    neck = rng.uniform(11, 14)
    wall = rng.uniform(0.5, 1.2)
    profile = _bottle_profile(length, radius, neck, rng.uniform(25, 60))
    wavy = rng.random() < 0.5
    if wavy:
        x = np.linspace(profile[2, 0] + 4, profile[3, 0] - 4, 60)
        ripple = radius - rng.uniform(1.0, 2.5) * (
            0.5 + 0.5 * np.cos(2 * np.pi * (x - x[0]) / rng.uniform(12, 22))
        )
        profile = np.concatenate([profile[:3], np.stack([x, ripple], axis=1), profile[3:]])
    inner = _inside(profile, wall, 1.5)
    liquid = str(rng.choice(["water", "juice", "spirit", "cream"], p=[0.45, 0.25, 0.2, 0.1]))
    end = length / 2
    cap = np.array([[end - 14, neck + 2.5], [end + 3, neck + 2.5]])
    return (
        Part("pet" if rng.random() < 0.7 else "polyethylene", Turned(profile, inner)),
        Part(liquid, Turned(inner, level=_level(rng))),
        Part(
            "polyethylene", Turned(cap, np.array([[end - 13, neck + 0.6], [end + 1, neck + 0.6]]))
        ),
        Part("polyethylene", Turned(np.array([[end - 18, neck + 4], [end - 16, neck + 4]]))),
    )


def glass_bottle(rng: np.random.Generator) -> tuple[Part, ...]:
    """A wine, beer or perfume-like bottle of soda-lime glass with its drink and closure."""
    small = rng.random() < 0.35
    length = rng.uniform(95, 150) if small else rng.uniform(190, 300)
    radius = rng.uniform(20, 28) if small else rng.uniform(29, 39)
    neck = rng.uniform(9, 12) if small else rng.uniform(12, 14.5)
    wall = rng.uniform(2.2, 3.8)
    profile = _bottle_profile(length, radius, neck, rng.uniform(20, min(80, length * 0.3)))
    inner = _inside(profile, wall, rng.uniform(5, 11))
    end = length / 2
    metal = rng.random() < 0.5
    cap = np.array([[end - 12, neck + 1.2], [end + 2, neck + 1.2]])
    hollow = np.array(
        [[end - 12, neck + (0.9 if metal else -4)], [end + 1.2, neck + (0.9 if metal else -4)]]
    )
    liquid = str(rng.choice(["water", "juice", "spirit"], p=[0.3, 0.3, 0.4]))
    return (
        Part("glass", Turned(profile, inner)),
        Part(
            "glass",
            Turned(
                np.array([[end - 20, neck + 2.2], [end - 16, neck + 2.2]]),
                np.array([[end - 20, neck], [end - 16, neck]]),
            ),
        ),
        Part(liquid, Turned(inner, level=_level(rng))),
        Part("aluminium" if metal else "polyethylene", Turned(cap, hollow)),
    )


def can(rng: np.random.Generator) -> tuple[Part, ...]:
    """A drink can, a food can or an aerosol of aluminium or tin-plate."""
    kind = rng.random()
    if kind < 0.4:
        return _drink_can(rng)
    if kind < 0.65:
        return _food_can(rng)
    return _aerosol(rng)


def _drink_can(rng: np.random.Generator) -> tuple[Part, ...]:
    length, radius = rng.uniform(88, 170), rng.uniform(26, 33.5)
    a, b = -length / 2, length / 2
    profile = np.array(
        [
            [a, radius * 0.72],
            [a + 3, radius * 0.78],
            [a + 9, radius],
            [b - 12, radius],
            [b - 3, radius * 0.82],
            [b, radius * 0.84],
        ]
    )
    inner = _inside(profile, 0.25, 2.0)
    return (
        Part("aluminium", Turned(profile, inner)),
        Part("juice", Turned(inner, level=_level(rng))),
        Part(
            "aluminium",
            Turned(
                np.array([[b - 2.5, radius * 0.86], [b, radius * 0.86]]),
                np.array([[b - 2.5, radius * 0.72], [b, radius * 0.72]]),
            ),
        ),
        Part(
            "aluminium",
            Turned(
                np.array([[a + 0.5, radius * 0.74], [a + 2.5, radius * 0.74]]),
                np.array([[a + 0.5, radius * 0.62], [a + 2.5, radius * 0.62]]),
            ),
        ),
        Part("aluminium", Prism(rectangle(1.2, radius * 0.8, b - 4, 0), 10.0)),
    )


def _food_can(rng: np.random.Generator) -> tuple[Part, ...]:
    length, radius = rng.uniform(60, 115), rng.uniform(32, 43)
    a, b = -length / 2, length / 2
    x = np.linspace(a + 1, b - 1, 80)
    beads = radius - 0.8 * (np.abs(x) < length * 0.33) * (0.5 + 0.5 * np.cos(2 * np.pi * x / 5.5))
    profile = np.stack([x, beads], axis=1)
    inner = _inside(profile, 0.2, 0.6)
    rims = [
        np.array([[a - 1, radius + 1.6], [a + 2, radius + 1.6]]),
        np.array([[b - 2, radius + 1.6], [b + 1, radius + 1.6]]),
    ]
    return (
        Part("steel", Turned(profile, inner)),
        Part(str(rng.choice(["juice", "cream"])), Turned(inner)),
        *(Part("steel", Turned(rim, rim - (0.0, 2.4))) for rim in rims),
        *(
            Part("steel", Prism(rectangle(0.5, 2 * radius, end, 0), radius))
            for end in (a + 1, b - 1)
        ),
    )


def _aerosol(rng: np.random.Generator) -> tuple[Part, ...]:
    length, radius = rng.uniform(120, 215), rng.uniform(18, 30)
    metal, wall = ("steel", 0.22) if rng.random() < 0.5 else ("aluminium", 0.45)
    a, b = -length / 2, length / 2
    curve = np.linspace(0, np.pi / 2, 10)
    dome = np.stack([b - 14 + 14 * np.sin(curve), 12 + (radius - 12) * np.cos(curve)], axis=1)
    profile = np.concatenate([[[a, radius], [b - 15, radius]], dome])
    inner = _inside_open(profile, wall)
    seam = np.array([[a - 1, radius + 1], [a + 2, radius + 1]])
    tube = smooth(np.array([[b, 0], [0, radius * 0.3], [a + 8, -radius * 0.4]]))
    return (
        Part(metal, Turned(profile, inner)),
        Part(
            "cream" if rng.random() < 0.5 else "spirit",
            Turned(inner, level=float(rng.uniform(-0.2, 0.7))),
        ),
        Part(metal, Turned(seam, seam - (0.0, 2.0))),
        Part(metal, Prism(rectangle(1.0, 2 * radius * 0.9, a + 4, 0), radius)),
        Part(
            "steel",
            Turned(np.array([[b, 12.5], [b + 3, 12.5]]), np.array([[b, 9.0], [b + 3, 9.0]])),
        ),
        Part("polyethylene", Turned(np.array([[b + 2, 5.0], [b + 16, 4.0]]))),
        Part("polyethylene", Rod(tube, 1.8)),
        Part(
            "polyethylene",
            Turned(
                np.array([[b - 10, radius], [b + 24, radius * 0.95]]),
                np.array([[b - 10, radius - 1.4], [b + 22.5, radius * 0.95 - 1.4]]),
            ),
        ),
    )


def _inside_open(profile: F64, wall: float) -> F64:
    inner = profile - (0.0, wall)
    inner[0, 0] += 1.0
    return inner


def lighter(rng: np.random.Generator) -> tuple[Part, ...]:
    """A disposable gas lighter or a metal petrol lighter."""
    if rng.random() < 0.3:
        return _petrol_lighter(rng)
    length, width = rng.uniform(50, 64), rng.uniform(21, 26)
    thick = rng.uniform(9, 13)
    body = rounded_rectangle(length, width, 6)
    tank = rounded_rectangle(length - 5, width - 4, 5)
    top = length / 2
    hood = np.array(
        [
            [top - 2, -width / 2],
            [top + 15, -width * 0.42],
            [top + 15, 0.1 * width],
            [top - 2, 0.15 * width],
        ]
    )
    return (
        Part("abs", Prism(body, thick, 4.0)),
        Part("abs", Prism(body, 3.0, 0.0, (tank,))),
        Part(
            "butane",
            Prism(rectangle(length * rng.uniform(0.4, 0.8), width - 5, -3, 0), thick - 3, 4.0),
        ),
        Part("steel", Prism(hood, 1.2)),
        Part(
            "steel", Prism(hood, 5.0, 0.0, (hood * 0.96 + (0.04 * (top + 6), -0.04 * width * 0.2),))
        ),
        Part(
            "steel",
            Prism(
                ellipse(4.6, 4.6, top + 8, 0.28 * width),
                5.0,
                1.5,
                (ellipse(1.4, 1.4, top + 8, 0.28 * width),),
            ),
        ),
        Part("abs", Prism(rectangle(5, 8, top + 3, 0.42 * width), 8.0, 2.0)),
        Part("brass", Prism(rectangle(13, 4.2, top + 1, -0.2 * width), 3.5, 2.0)),
        Part("steel", Prism(rectangle(22, 2.6, top - 10, 0.28 * width), 2.0, 1.2)),
        Part("nylon", Prism(rectangle(length - 12, 2.2, -3, -0.1 * width), 3.0)),
    )


def _petrol_lighter(rng: np.random.Generator) -> tuple[Part, ...]:
    length, width = rng.uniform(53, 60), rng.uniform(35, 39)
    material = "brass" if rng.random() < 0.5 else "steel"
    case = rounded_rectangle(length, width, 4)
    hollow = rounded_rectangle(length - 2.4, width - 2.4, 3)
    top = length / 2
    chimney = rectangle(14, 17, top - 11, 2)
    holes = tuple(
        ellipse(1.5, 1.5, top - 14 + 6 * i, -3 + 5 * j) for i in range(2) for j in range(3)
    )
    return (
        Part(material, Prism(case, 1.2)),
        Part(material, Prism(case, 11.0, 0.0, (hollow,))),
        Part("steel", Prism(rectangle(1.0, width, top - 20, 0), 10.0)),
        Part("steel", Prism(chimney, 1.4, 0.0, holes)),
        Part("steel", Prism(ellipse(3.8, 3.8, top - 8, 13), 6.0, 1.0)),
        Part("cotton", Prism(rectangle(length - 24, width - 4, -10, 0), 9.0), 0.4),
        Part("steel", Prism(rectangle(12, 3.5, top - 18, -width / 2 - 1.2), 3.5, 1.7)),
        Part("steel", Rod(np.array([[-length / 2 + 3, 10.0], [top - 12, 10.0]]), 2.0)),
    )


def battery_pack(rng: np.random.Generator) -> tuple[Part, ...]:
    """Round cells side by side in a tool pack, or the pouches of a power bank."""
    return _cell_pack(rng) if rng.random() < 0.6 else _power_bank(rng)


def _cell_pack(rng: np.random.Generator) -> tuple[Part, ...]:
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(1, 3))
    radius, length = (9.1, 65.0) if rng.random() < 0.7 else (10.6, 70.0)
    pitch = 2 * radius + 0.8
    layers = 1 if rng.random() < 0.6 else 2
    parts: list[Part] = []
    for row in range(rows):
        x = (row - (rows - 1) / 2) * (length + 3)
        for column in range(columns):
            y = (column - (columns - 1) / 2) * pitch
            parts += _round_cell(x, y, length, radius, layers)
        ends = pitch * columns
        for end in (x - length / 2 - 0.5, x + length / 2 + 0.5):
            strip = rectangle(1.0, ends * 0.8, end, 0)
            parts.append(Part("stainless", Prism(strip, 7.0)))
    whole = (rows * (length + 3) + 10, columns * pitch + 8)
    shell = rounded_rectangle(*whole, 5)
    parts += [
        Part("abs", Prism(shell, 4.0)),
        Part("abs", Prism(shell, 16.0, 0.0, (rounded_rectangle(whole[0] - 5, whole[1] - 5, 4),))),
        Part("fr4", Prism(rectangle(whole[0] * 0.5, 10, 0, whole[1] / 2 - 8), 1.6)),
        Part("chip", Prism(rectangle(6, 5, whole[0] * 0.1, whole[1] / 2 - 8), 2.0)),
    ]
    for sign in (-1, 1):
        wire = smooth(
            np.array(
                [
                    [whole[0] / 2 - 4, 4.0 * sign],
                    [whole[0] / 2 + 18, 7.0 * sign],
                    [whole[0] / 2 + 34, 2.0 * sign],
                ]
            )
        )
        parts += [Part("copper", Rod(wire, 0.9)), Part("pvc", Rod(wire, 1.8))]
    return tuple(parts)


def _round_cell(x: float, y: float, length: float, radius: float, layers: int) -> list[Part]:
    outline = rectangle(length, 2 * radius, x, y)
    core = rectangle(length - 6, 2 * radius - 1, x - 0.5, y)
    button = rectangle(2.2, radius * 0.7, x + length / 2, y)
    return [
        Part("steel", Prism(outline, 0.5 * layers, 0.8)),
        Part("cell", Prism(core, 2 * radius * layers, radius)),
        Part("steel", Prism(rectangle(1.2, 2 * radius - 1, x + length / 2 - 2.5, y), 8.0 * layers)),
        Part("steel", Prism(rectangle(0.8, 2 * radius - 1, x - length / 2 + 0.6, y), 8.0 * layers)),
        Part("steel", Prism(button, 4.0 * layers, 1.0)),
    ]


def _power_bank(rng: np.random.Generator) -> tuple[Part, ...]:
    length, width = rng.uniform(95, 150), rng.uniform(58, 78)
    metal = rng.random() < 0.4
    case, inner = rounded_rectangle(length, width, 9), rounded_rectangle(length - 4, width - 4, 7)
    pouches = int(rng.integers(1, 3))
    each = (width - 8) / pouches
    parts = [
        Part("aluminium" if metal else "abs", Prism(case, 2.4)),
        Part("aluminium" if metal else "abs", Prism(case, 11.0, 0.0, (inner,))),
        Part("fr4", Prism(rectangle(18, width - 10, length / 2 - 13, 0), 1.4)),
    ]
    for k in range(pouches):
        y = (k - (pouches - 1) / 2) * each
        body = rounded_rectangle(length - 32, each - 3, 2, -9, y)
        parts.append(Part("cell", Prism(body, rng.uniform(7, 11), 2.5)))
        parts.append(Part("copper", Prism(rectangle(10, 5, length / 2 - 27, y - each * 0.2), 0.3)))
        parts.append(
            Part("aluminium", Prism(rectangle(10, 5, length / 2 - 27, y + each * 0.2), 0.4))
        )
    for k in range(int(rng.integers(1, 4))):
        y = (k - 1) * 17.0
        socket = rectangle(12, 12, length / 2 - 6, y)
        parts.append(Part("stainless", Prism(socket, 0.6)))
        parts.append(
            Part("stainless", Prism(socket, 4.0, 0.0, (rectangle(11, 10.5, length / 2 - 6, y),)))
        )
    for _ in range(int(rng.integers(4, 9))):
        x, y = length / 2 - 13 + rng.uniform(-6, 6), rng.uniform(-0.4, 0.4) * width
        parts.append(
            Part("chip", Prism(rectangle(rng.uniform(3, 7), rng.uniform(3, 7), x, y), 1.2))
        )
    coil = arc(4.5, 0, 2 * np.pi, length / 2 - 16, 0.3 * width)
    parts.append(Part("copper", Rod(coil, 1.3)))
    return tuple(parts)
