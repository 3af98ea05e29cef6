"""The bags themselves, and the clothes in them: what lies everywhere in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from xedge.sim.parts import Part, Projection, add_patch, project
from xedge.sim.shapes import (
    F64,
    Patch,
    Pose,
    Prism,
    Rod,
    ellipse,
    rectangle,
    rounded_rectangle,
    smooth,
)
from xedge.types import F32


@dataclass(frozen=True, eq=False)
class Shell:
    """An empty bag.

    Attributes:
        parts: What it is made of, in millimetres about its centre.
        length: Along the belt, millimetres, of the space inside.
        width: Across the belt.
    """

    parts: tuple[Part, ...]
    length: float
    width: float


def make_shell(rng: np.random.Generator, length: float, width: float) -> Shell:
    """A suitcase, a backpack or a plain tray of the outer size given in millimetres."""
    kind = rng.random()
    if kind < 0.5:
        return _suitcase(rng, length, width)
    if kind < 0.85:
        return _backpack(rng, length, width)
    return _tray(rng, length, width)


def _zip(path: F64) -> list[Part]:
    """Teeth of a zip: a row of dots, and the tape."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()
    at = np.arange(0, steps[-1], 3.2)
    x = np.interp(at, np.concatenate([[0], steps]), path[:, 0])
    y = np.interp(at, np.concatenate([[0], steps]), path[:, 1])
    teeth = np.stack([x, y], axis=1)
    pairs = [teeth[k : k + 2] for k in range(0, len(teeth) - 1, 2)]
    parts = [Part("nylon", Rod(path, 2.5))]
    parts += [Part("brass", Rod(pair, 0.55)) for pair in pairs]
    slider = path[len(path) // 3]
    parts.append(Part("zinc", Prism(rounded_rectangle(13, 8, 3, *slider), 4.0, 2.0)))
    parts.append(Part("zinc", Prism(rounded_rectangle(26, 4, 2, slider[0] + 16, slider[1]), 1.8)))
    return parts


def _suitcase(rng: np.random.Generator, length: float, width: float) -> Shell:
    soft = rng.random() < 0.4
    wall = "nylon" if soft else "abs"
    outline = rounded_rectangle(length, width, 35)
    parts = [
        Part(wall, Prism(outline, rng.uniform(3.5, 6.0))),
        Part(
            wall,
            Prism(
                outline, rng.uniform(12, 24), 9.0, (rounded_rectangle(length - 14, width - 14, 30),)
            ),
        ),
        Part(
            "steel" if soft else "aluminium",
            Rod(rounded_rectangle(length - 12, width - 12, 30), 1.6, closed=True),
        ),
    ]
    parts += _zip(rounded_rectangle(length - 26, width - 26, 26))
    if not soft:
        for y in np.linspace(-width * 0.36, width * 0.36, int(rng.integers(4, 8))):
            parts.append(Part("abs", Rod(np.array([[-length * 0.42, y], [length * 0.44, y]]), 3.0)))
    parts += _trolley(length, width, rng.uniform(0.2, 0.3) * width, rng.uniform(0.45, 0.9) * length)
    for sign in (-1, 1):
        y = sign * (width / 2 - 34)
        x = -length / 2 + 22
        parts += [
            Part("rubber", Prism(rounded_rectangle(44, 22, 8, x, y), 22.0, 8.0)),
            Part("steel", Prism(rectangle(7, 30, x, y), 6.0, 3.4)),
            Part("abs", Prism(rounded_rectangle(54, 40, 10, x + 4, y), 6.0, 3.0)),
            Part("steel", Prism(ellipse(5, 5, x + 24, y), 5.0)),
        ]
    grip = smooth(
        np.array(
            [
                [length / 2 - 8, -55],
                [length / 2 + 14, -42],
                [length / 2 + 14, 42],
                [length / 2 - 8, 55],
            ]
        )
    )
    parts.append(Part("pvc", Rod(grip, 6.0)))
    return Shell(tuple(parts), length - 40, width - 40)


def _trolley(length: float, width: float, half: float, reach: float) -> list[Part]:
    """Two telescopic tubes with their guides, the bridge and the push button."""
    top = length / 2 - 4
    parts = []
    for y in (-half, half):
        outer = np.array([[top - reach, y], [top - 10, y]])
        inner = np.array([[top - reach * 0.6, y], [top, y]])
        parts += [
            Part("aluminium", Rod(outer, 7.0, bore=5.8)),
            Part("aluminium", Rod(inner, 5.4, bore=4.4)),
            Part("abs", Prism(rounded_rectangle(24, 24, 4, top - reach, y), 9.0, 3.0)),
            Part("steel", Prism(ellipse(2.5, 2.5, top - reach, y), 8.0)),
        ]
    parts.append(Part("abs", Prism(rounded_rectangle(24, 2 * half + 26, 9, top, 0), 14.0, 7.0)))
    parts.append(Part("steel", Rod(np.array([[top, -half], [top, half]]), 2.0)))
    return parts


def _backpack(rng: np.random.Generator, length: float, width: float) -> Shell:
    a, b = length / 2, width / 2
    outline = smooth(
        np.array(
            [
                [-a, -b * 0.9],
                [0, -b],
                [a * 0.75, -b * 0.86],
                [a, -b * 0.3],
                [a, b * 0.3],
                [a * 0.75, b * 0.86],
                [0, b],
                [-a, b * 0.9],
            ]
        ),
        closed=True,
    )
    pocket = rounded_rectangle(length * 0.42, width * 0.66, 25, -length * 0.2, 0)
    parts = [
        Part("nylon", Prism(outline, rng.uniform(2.5, 4.5))),
        Part("nylon", Prism(outline, 7.0, 4.0, (outline * 0.975,))),
        Part("nylon", Prism(pocket, 2.0)),
        Part("polyethylene", Prism(rounded_rectangle(length * 0.8, width * 0.7, 20), 7.0), 0.25),
    ]
    parts += _zip(outline[10 : len(outline) - 8] * 0.93)
    parts += _zip(pocket[2:14])
    for sign in (-1, 1):
        strap = smooth(
            np.array(
                [
                    [a * 0.85, sign * b * 0.25],
                    [a * 0.2, sign * b * (0.5 + 0.2 * rng.random())],
                    [-a * 0.5, sign * b * 0.72],
                    [-a * 0.9, sign * b * 0.55],
                ]
            )
        )
        parts.append(Part("polyethylene", Rod(strap, 11.0), 0.25))
        parts.append(Part("nylon", Rod(strap, 7.0), 0.35))
        buckle = rounded_rectangle(30, 24, 5, -a * 0.62, sign * b * 0.72)
        slot = rounded_rectangle(17, 15, 3, -a * 0.62, sign * b * 0.72)
        material = "zinc" if rng.random() < 0.3 else "nylon"
        parts.append(Part(material, Prism(buckle, 5.0, 2.0, (slot,))))
    parts.append(Part("steel", Rod(ellipse(9, 11, a * 0.9, 0), 1.6, closed=True)))
    return Shell(tuple(parts), length * 0.88, width * 0.82)


def _tray(rng: np.random.Generator, length: float, width: float) -> Shell:
    outline = rounded_rectangle(length, width, 22)
    parts = [
        Part("polyethylene", Prism(outline, 3.5)),
        Part(
            "polyethylene",
            Prism(
                outline, rng.uniform(35, 55), 0.0, (rounded_rectangle(length - 9, width - 9, 18),)
            ),
        ),
        Part(
            "polyethylene",
            Prism(outline, 8.0, 0.0, (rounded_rectangle(length - 26, width - 26, 14),)),
        ),
    ]
    for x in np.linspace(-length * 0.42, length * 0.42, 9):
        parts.append(Part("polyethylene", Prism(rectangle(3.0, width - 20, float(x), 0), 2.5)))
    return Shell(tuple(parts), length - 30, width - 30)


def garment(
    rng: np.random.Generator, x: float, y: float, length: float, width: float, pixels_per_mm: float
) -> Projection:
    """A folded piece of clothing: layers of cloth with folds and creases, its seams and buttons."""
    outline = rounded_rectangle(length, width, rng.uniform(12, 45))
    outline = smooth(
        outline[::2] + rng.normal(0, 5.0, (len(outline[::2]), 2)), closed=True, per_span=4
    )
    cloth = "nylon" if rng.random() < 0.25 else "cotton"
    pose = Pose(x, y, float(rng.uniform(0, np.pi)), 0.0, pixels_per_mm)
    layers = rng.uniform(1.0, 6.5)
    patch = Prism(outline, layers, 18.0).render(pose)
    folds = crumpled(rng, patch.mm.shape, 30.0)
    # A deep crease is a hole at most: cloth never takes matter away.
    mm = patch.mm * np.maximum(np.float32(0.75) + np.float32(0.55) * folds, 0)
    extras = _sewn(rng, length, width)
    sewn = project(extras, pose)
    x0, y0 = min(patch.x0, sewn.x0), min(patch.y0, sewn.y0)
    x1 = max(patch.x0 + mm.shape[1], sewn.x0 + sewn.basis_cm.shape[2])
    y1 = max(patch.y0 + mm.shape[0], sewn.y0 + sewn.basis_cm.shape[1])
    basis = np.zeros((3, y1 - y0, x1 - x0), np.float32)
    add_patch(basis, Patch(patch.x0 - x0, patch.y0 - y0, mm), cloth)
    Projection(sewn.x0 - x0, sewn.y0 - y0, sewn.basis_cm).add_to(basis)
    return Projection(x0, y0, basis)


def _sewn(rng: np.random.Generator, length: float, width: float) -> list[Part]:
    """Seams, and sometimes buttons or rivets."""
    parts = [
        Part("cotton", Rod(rounded_rectangle(length * 0.9, width * 0.88, 20), 1.3, closed=True))
    ]
    fold = rng.uniform(-0.3, 0.3) * width
    wave = np.stack(
        [np.linspace(-length * 0.45, length * 0.45, 6), fold + rng.normal(0, 6, 6)], axis=1
    )
    parts.append(Part("cotton", Rod(smooth(wave), 2.2)))
    if rng.random() < 0.35:
        metal = rng.random() < 0.3
        for x in np.linspace(-length * 0.35, length * 0.35, 5):
            spot = ellipse(5.0, 5.0, float(x), fold, 14)
            parts.append(Part("brass" if metal else "abs", Prism(spot, 0.9 if metal else 2.2)))
    return parts


def crumpled(rng: np.random.Generator, shape: tuple[int, ...], wavelength: float) -> F32:
    """A smooth random field around zero with ridges, float32 of ``shape``, deviation about one."""
    h, w = shape
    total = np.zeros((h, w), np.float32)
    for scale, weight in ((4.0, 0.55), (1.6, 0.4), (0.5, 0.22)):
        size = (int(h / (wavelength * scale)) + 4, int(w / (wavelength * scale)) + 4)
        coarse = rng.standard_normal(size, dtype=np.float32)
        fine = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        # A folded sheet makes ridges: the absolute value creases the field where it is zero.
        total += np.float32(weight) * (1.0 - 1.6 * np.abs(fine))
    return total
