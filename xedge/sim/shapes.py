"""Projected thickness of parametric solids, anti-aliased, in the plane of the belt.

A solid is drawn in its own frame in millimetres (x along its length, y across, the beam along
z) and placed by a `Pose`. Three kinds are enough for everything in a bag: `Prism` (an outline
with a thickness, edges rounded or not), `Turned` (a profile revolved about x, lying in the
plane, with an optional liquid level) and `Rod` (a curve with a round section: cables, wires,
rings).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xedge.types import F32, U8

F64 = npt.NDArray[np.float64]

_SUPERSAMPLING = 2
_SHIFT = 4


@dataclass(frozen=True)
class Pose:
    """Where a solid lies.

    Attributes:
        x: Detector element of its origin.
        y: Line of its origin.
        angle: Rotation in the plane, radians.
        tilt: Rotation out of the plane about its y axis, radians below 1.3: the length is
            foreshortened by the cosine and every thickness grows by its inverse.
        scale: Pixels a millimetre.
        flip: Mirror the solid (lying on its other side).
    """

    x: float
    y: float
    angle: float
    tilt: float = 0.0
    scale: float = 1.0 / 0.62
    flip: bool = False

    def matrix(self) -> F64:
        """Affine map from millimetres of the solid to pixels, ``[2, 3]``."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        length = self.scale * np.cos(self.tilt)
        side = -self.scale if self.flip else self.scale
        return np.array([[c * length, -s * side, self.x], [s * length, c * side, self.y]])

    def apply(self, points: F64) -> F64:
        """Points ``[n, 2]`` in millimetres, in pixels."""
        m = self.matrix()
        moved: F64 = points @ m[:, :2].T + m[:, 2]
        return moved

    @property
    def stretch(self) -> float:
        """How much longer a ray's way through the tilted solid is."""
        return float(1.0 / np.cos(self.tilt))


@dataclass(frozen=True, eq=False)
class Patch:
    """Thickness in mm, float32 ``[h, w]``, whose first pixel is at ``(x0, y0)``."""

    x0: int
    y0: int
    mm: F32


@dataclass(frozen=True, eq=False)
class Prism:
    """An outline of constant thickness.

    Attributes:
        outline: Millimetres, ``[n, 2]``.
        mm: Thickness along the beam.
        rounding: Radius of the rounded edge; half the width or more gives a round bar.
        holes: Outlines left out.
    """

    outline: F64
    mm: float
    rounding: float = 0.0
    holes: tuple[F64, ...] = ()

    def render(self, pose: Pose) -> Patch:
        """Projected thickness."""
        points = pose.apply(self.outline)
        x0, y0, w, h = _bounds(points)
        mask = np.zeros((h * _SUPERSAMPLING, w * _SUPERSAMPLING), np.uint8)
        cv2.fillPoly(mask, [_fixed_point(points, x0, y0)], 255, shift=_SHIFT)
        for hole in self.holes:
            cv2.fillPoly(mask, [_fixed_point(pose.apply(hole), x0, y0)], 0, shift=_SHIFT)
        if self.rounding <= 0:
            cover = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA)
            return Patch(
                x0, y0, cover.astype(np.float32) * np.float32(self.mm / 255 * pose.stretch)
            )
        depth = _distance(mask)
        profile = _rounded(depth, self.rounding * pose.scale * _SUPERSAMPLING)
        profile *= np.float32(self.mm * pose.stretch)
        return Patch(x0, y0, _shrunk(profile, w, h))


@dataclass(frozen=True, eq=False)
class Turned:
    """A profile revolved about the x axis, lying in the plane.

    Attributes:
        profile: Position along x and radius there, millimetres, ``[n, 2]``, x rising.
        bore: The same of a hollow inside it, or None for a solid.
        level: None, or for a liquid: how high it stands, from -1 (empty) to 1 (full) of the
            radius of a body that lies on its side and is seen from above.
    """

    profile: F64
    bore: F64 | None = None
    level: float | None = None

    def render(self, pose: Pose) -> Patch:
        """Projected thickness."""
        ends, widest = self.profile[[0, -1], 0], float(self.profile[:, 1].max())
        corners = np.array([[x, y] for x in ends for y in (-widest, widest)])
        x0, y0, w, h = _bounds(pose.apply(corners))
        inverse = np.linalg.inv(pose.matrix()[:, :2])
        # Pixel centres, in the solid's millimetres.
        px = (np.arange(w) + x0 + 0.5 - pose.x).astype(np.float32)[None, :]
        py = (np.arange(h) + y0 + 0.5 - pose.y).astype(np.float32)[:, None]
        along = np.float32(inverse[0, 0]) * px + np.float32(inverse[0, 1]) * py
        across = np.float32(inverse[1, 0]) * px + np.float32(inverse[1, 1]) * py
        half = _half_chord(along, across, self.profile)
        if self.level is not None:
            deepest = np.float32(self.level * widest)
            thickness = np.clip(half + deepest, 0, 2 * half)
        else:
            thickness = 2 * half
        if self.bore is not None:
            thickness -= 2 * _half_chord(along, across, self.bore)
            np.maximum(thickness, 0, out=thickness)
        return Patch(x0, y0, (thickness * np.float32(pose.stretch)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Rod:
    """A curve with a round section.

    Attributes:
        path: Millimetres, ``[n, 2]``.
        radius: Of the section, millimetres.
        closed: Whether the last point joins the first.
        bore: Radius of a hollow inside, for tubes.
    """

    path: F64
    radius: float
    closed: bool = False
    bore: float = 0.0

    def render(self, pose: Pose) -> Patch:
        """Projected thickness."""
        points = pose.apply(self.path)
        radius = self.radius * pose.scale
        x0, y0, w, h = _bounds(points, radius)
        factor = _SUPERSAMPLING
        canvas = np.full((h * factor, w * factor), 255, np.uint8)
        line = _fixed_point(points, x0, y0)
        cv2.polylines(canvas, [line], self.closed, 0, 1, cv2.LINE_8, _SHIFT)
        distance = _distance(canvas)
        distance *= np.float32(1.0 / factor)
        thickness = _chord(distance, max(radius, 0.5))
        if self.bore > 0:
            thickness -= _chord(distance, self.bore * pose.scale)
        # A wire thinner than a pixel keeps its mass: its chord is spread over that pixel.
        thickness *= np.float32(min(1.0, radius / 0.5) ** 2 / pose.scale)
        return Patch(x0, y0, _shrunk(thickness, w, h))


Shape = Prism | Turned | Rod


def _bounds(points: F64, margin: float = 0.0) -> tuple[int, int, int, int]:
    low = np.floor(points.min(axis=0) - margin - 1).astype(int)
    high = np.ceil(points.max(axis=0) + margin + 1).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _fixed_point(points: F64, x0: int, y0: int) -> npt.NDArray[np.int32]:
    # cv2 puts a pixel's centre at its integer coordinate, we put it at one half.
    scaled = (points - (x0, y0)) * _SUPERSAMPLING - 0.5
    return np.rint(scaled * (1 << _SHIFT)).astype(np.int32)


def _distance(mask: U8) -> F32:
    """Distance of every pixel to the nearest zero of a mask, float32."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), np.float32)


def _shrunk(supersampled: F32, w: int, h: int) -> F32:
    return np.asarray(cv2.resize(supersampled, (w, h), interpolation=cv2.INTER_AREA), np.float32)


def _rounded(depth: F32, radius: float) -> F32:
    """Share of the full thickness at a depth inside the outline, for a rounded edge."""
    rise = np.minimum(depth * np.float32(1.0 / radius), 1.0)
    rise = 1.0 - (1.0 - rise) ** 2
    np.sqrt(rise, out=rise)
    rounded: F32 = rise
    return rounded


def _chord(distance: F32, radius: float) -> F32:
    square = np.float32(radius * radius) - distance * distance
    np.maximum(square, 0, out=square)
    np.sqrt(square, out=square)
    square *= 2
    return square


def _half_chord(along: F32, across: F32, profile: F64) -> F32:
    radius = np.interp(along, profile[:, 0], profile[:, 1], left=0.0, right=0.0).astype(np.float32)
    square = radius * radius - across * across
    np.maximum(square, 0, out=square)
    half: F32 = np.sqrt(square)
    return half


def rectangle(length: float, width: float, x: float = 0.0, y: float = 0.0) -> F64:
    """Outline of a rectangle centred at ``(x, y)``."""
    a, b = length / 2, width / 2
    return np.array([[x - a, y - b], [x + a, y - b], [x + a, y + b], [x - a, y + b]])


def rounded_rectangle(
    length: float, width: float, corner: float, x: float = 0.0, y: float = 0.0
) -> F64:
    """Outline of a rectangle with round corners centred at ``(x, y)``."""
    corner = min(corner, length / 2, width / 2)
    turn = np.linspace(0, np.pi / 2, 6)
    points = []
    for k, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        cx, cy = sx * (length / 2 - corner), sy * (width / 2 - corner)
        angle = turn + k * np.pi / 2
        points.append(np.stack([cx + corner * np.cos(angle), cy + corner * np.sin(angle)], axis=1))
    outline: F64 = np.concatenate(points) + np.array([x, y])
    return outline


def ellipse(rx: float, ry: float, x: float = 0.0, y: float = 0.0, count: int = 40) -> F64:
    """Outline of an ellipse centred at ``(x, y)``."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def smooth(points: F64, closed: bool = False, per_span: int = 8) -> F64:
    """A curve through ``points`` (Catmull-Rom), ``[n * per_span, 2]``."""
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate(
            [2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]]
        )
    t = np.linspace(0, 1, per_span, endpoint=False)[None, :, None]
    a, b, c, d = (padded[k : len(padded) - 3 + k, None, :] for k in range(4))
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    flat: F64 = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, points[-1:]])


def arc(radius: float, start: float, stop: float, x: float = 0.0, y: float = 0.0) -> F64:
    """Points on a circle about ``(x, y)`` from ``start`` to ``stop`` radians."""
    angle = np.linspace(start, stop, 24)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
