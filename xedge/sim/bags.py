"""Packed bags: a shell, clothes, everyday things and labelled objects, as raw counts with truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge.sim import CLASSES, clutter, hardware
from xedge.sim.clutter import Builder
from xedge.sim.firearms import POLYMER
from xedge.sim.materials import grey
from xedge.sim.occlusion import covered_share, level, tight_box
from xedge.sim.parts import Part, Projection, project
from xedge.sim.physics import ScannerModel
from xedge.sim.shapes import Pose
from xedge.sim.shells import Shell, garment, make_shell
from xedge.sim.threats import make_threat
from xedge.types import F32, U16

_TRIES = 12
_TRIES_OF_A_THING = 3


@dataclass(frozen=True)
class BagConfig:
    """How bags are packed.

    Attributes:
        length_mm: Shortest and longest bag along the belt.
        width_mm: Narrowest and widest bag across it; both are cut to the detector.
        clean: Probability of a bag without any labelled object.
        objects: Most labelled objects in a bag that is not clean; one to this many.
        few: Each further object is this times as likely as the one before; 1 makes all
            counts alike.
        density: Everyday things in a bag of 450 x 350 mm, on average.
        garments: Pieces of clothing in such a bag, on average.
        margin_lines: Fewest and most lines of air before and after the bag.
        labels: Classes that labelled objects are drawn from; one given twice is twice as likely.
        polymers: Share of pistols whose frame is of polymer, which hardly shows beside steel.
        hardware: Odds and ends of metal (`xedge.sim.hardware`) in such a bag, on average.
        turn: Largest angle of a bag to the belt, degrees either way, all alike; a bag that would
            be wider than the detector lies less aslant.

    Raises:
        ConfigError: On values without meaning.
    """

    length_mm: tuple[float, float] = (360.0, 570.0)
    width_mm: tuple[float, float] = (280.0, 440.0)
    clean: float = 0.35
    objects: int = 4
    few: float = 0.5
    density: float = 8.0
    garments: float = 8.0
    margin_lines: tuple[int, int] = (12, 40)
    labels: tuple[str, ...] = CLASSES
    polymers: float = POLYMER
    hardware: float = 0.0
    turn: float = 0.0

    def __post_init__(self) -> None:
        for name in ("length_mm", "width_mm", "margin_lines"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(
                    f"{name} cannot be used",
                    expected="0 < smallest <= largest",
                    found=str((low, high)),
                )
        if self.length_mm[0] < 250 or self.width_mm[0] < 200:
            raise ConfigError(
                "bags are too small for what is packed",
                expected="at least 250 mm by 200 mm",
                found=f"{self.length_mm[0]} mm by {self.width_mm[0]} mm",
            )
        if not 0 <= self.clean <= 1 or not 1 <= self.objects <= 8:
            raise ConfigError(
                "number of labelled objects cannot be used",
                expected="clean in 0..1, objects in 1..8",
                found=f"clean {self.clean}, objects {self.objects}",
            )
        densities = (self.density, self.garments, self.hardware, self.few)
        if min(densities) < 0:
            raise ConfigError("a density is negative", found=", ".join(map(str, densities)))
        if not self.labels or not set(self.labels) <= set(CLASSES):
            raise ConfigError(
                "labelled objects cannot be packed",
                expected=f"one or more of {', '.join(CLASSES)}",
                found=", ".join(self.labels) or "none",
            )
        if not 0 <= self.polymers <= 1:
            raise ConfigError(
                "share of polymer frames cannot be used",
                expected="0..1",
                found=str(self.polymers),
            )
        if not 0 <= self.turn <= 90:
            raise ConfigError(
                "a bag cannot be turned", expected="0..90 degrees", found=str(self.turn)
            )


DEFAULT_BAG = BagConfig()
DEFAULT_SCANNER = ScannerModel()


@dataclass(frozen=True)
class TruthObject:
    """A labelled object in a bag.

    Attributes:
        label: One of `xedge.sim.CLASSES`.
        box: x1 y1 x2 y2, elements and lines of the bag's own image.
        occlusion: Level 1 to 3 (`xedge.sim.occlusion`).
    """

    label: str
    box: tuple[float, float, float, float]
    occlusion: int


@dataclass(frozen=True, eq=False)
class SimulatedBag:
    """One bag as the detector reads it.

    Attributes:
        low: Raw low-energy counts, uint16 ``[lines, elements]``.
        high: Raw high-energy counts, the same shape.
        truth: Its labelled objects.
        seed: What it was made from.
    """

    low: U16
    high: U16
    truth: tuple[TruthObject, ...]
    seed: int


@dataclass(frozen=True, eq=False)
class PackedBag:
    """A bag as matter: maps of basis materials in cm, float32 ``[3, lines, elements]``."""

    basis_cm: F32
    truth: tuple[TruthObject, ...]


def generate_bag(
    seed: int,
    config: BagConfig = DEFAULT_BAG,
    scanner: ScannerModel = DEFAULT_SCANNER,
) -> SimulatedBag:
    """A bag and its truth; the same seed gives the same bits.

    Args:
        seed: Seed of everything in the bag and of its noise, not below 0.
        config: How it is packed.
        scanner: What scans it; the fixed pattern has a seed of its own.
    """
    packed = compose(seed, config, scanner)
    low, high = scanner.expose(packed.basis_cm, seed)
    return SimulatedBag(low, high, packed.truth, seed)


def compose(seed: int, config: BagConfig, scanner: ScannerModel) -> PackedBag:
    """A packed bag as maps of matter, before any X-ray."""
    rng = np.random.Generator(np.random.PCG64(seed))
    scale = 1.0 / scanner.pitch_mm
    length = float(rng.uniform(*config.length_mm))
    width = min(float(rng.uniform(*config.width_mm)), scanner.elements * scanner.pitch_mm * 0.88)
    before, after = rng.integers(config.margin_lines[0], config.margin_lines[1] + 1, 2)
    angle = float(rng.normal(0, 0.03))
    shell = make_shell(rng, length, width)
    drawn = project(shell.parts, Pose(0.0, 0.0, np.pi / 2 + angle, 0.0, scale))
    _, h, w = drawn.basis_cm.shape
    canvas = np.zeros((3, h + int(before) + int(after), scanner.elements), np.float32)
    slack = max(0.0, (scanner.elements - w) / 2 - 4)
    centre_x = scanner.elements / 2 + float(rng.uniform(-slack, slack)) * 0.6
    origin = (round(centre_x), int(before) - drawn.y0)
    Projection(drawn.x0 + origin[0], drawn.y0 + origin[1], drawn.basis_cm).add_to(canvas)
    space = _Space(rng, shell, origin, scale, np.asarray(canvas.any(axis=0)))
    fullness = length * width / (450.0 * 350.0)
    _pack_clothes(space, canvas, config.garments * fullness)
    _pack_things(space, canvas, config.density * fullness, clutter.BUILDERS)
    if config.hardware:
        _pack_things(space, canvas, config.hardware * fullness, hardware.BUILDERS)
    placed = _pack_labelled(space, canvas, _labels(rng, config), config.polymers)
    if config.turn:
        canvas, placed = _turn(rng, canvas, placed, config)
    return PackedBag(
        canvas,
        tuple(t for label, drawn in placed if (t := _truth(label, drawn, canvas)) is not None),
    )


@dataclass(frozen=True, eq=False)
class _Space:
    rng: np.random.Generator
    shell: Shell
    origin: tuple[int, int]
    scale: float
    covers: npt.NDArray[np.bool_]

    def spot(self, margin: float) -> tuple[float, float]:
        """A place inside, at least ``margin`` mm from the wall where there is room."""
        half_x = max(5.0, self.shell.width / 2 - margin)
        half_y = max(5.0, self.shell.length / 2 - margin)
        x, y = self.rng.uniform(-1, 1, 2) * (half_x, half_y)
        return self.origin[0] + x * self.scale, self.origin[1] + y * self.scale

    def covered(self, drawn: Projection) -> npt.NDArray[np.bool_]:
        """Where the bag lies under a projection that is within the image, ``[h, w]``."""
        _, h, w = drawn.basis_cm.shape
        return self.covers[drawn.y0 : drawn.y0 + h, drawn.x0 : drawn.x0 + w]

    def holds(self, drawn: Projection) -> bool:
        """Whether a projection lies in the bag, but for a hundredth of it."""
        _, h, w = drawn.basis_cm.shape
        lines, elements = self.covers.shape
        if drawn.x0 < 0 or drawn.y0 < 0 or drawn.x0 + w > elements or drawn.y0 + h > lines:
            return False
        matter = drawn.basis_cm.any(axis=0)
        outside = np.count_nonzero(matter & ~self.covered(drawn))
        return bool(outside <= 0.01 * np.count_nonzero(matter))

    def place(self, parts: tuple[Part, ...], tilt: float) -> Projection | None:
        """The parts at a random place and angle, or None when they did not fit."""
        squeeze = float(abs(self.rng.normal(0, tilt)))
        flip = bool(self.rng.random() < 0.5)
        angle = float(self.rng.uniform(0, 2 * np.pi))
        here = project(parts, Pose(0.0, 0.0, angle, min(squeeze, 0.9), self.scale, flip))
        _, h, w = here.basis_cm.shape
        room_x = self.shell.width * self.scale - w
        room_y = self.shell.length * self.scale - h
        if room_x < 0 or room_y < 0:
            return None
        x = self.origin[0] - self.shell.width * self.scale / 2 + self.rng.random() * room_x
        y = self.origin[1] - self.shell.length * self.scale / 2 + self.rng.random() * room_y
        return Projection(int(x) + 1, int(y) + 1, here.basis_cm)


def _labels(rng: np.random.Generator, config: BagConfig) -> list[str]:
    if rng.random() < config.clean:
        return []
    weights = config.few ** np.arange(config.objects)
    count = 1 + int(rng.choice(config.objects, p=weights / weights.sum()))
    return [config.labels[int(k)] for k in rng.integers(0, len(config.labels), count)]


def _pack_clothes(space: _Space, canvas: F32, expected: float) -> None:
    rng = space.rng
    for _ in range(int(rng.poisson(expected))):
        length, width = rng.uniform(130, 300), rng.uniform(100, 220)
        x, y = space.spot(min(length, width) / 2)
        piece = garment(rng, x, y, length, width, space.scale)
        piece = _inside(space, piece)
        # Cloth gives way: what would stick out of the bag is not there.
        Projection(piece.x0, piece.y0, _cut(piece, space.covers)).add_to(canvas)


def _cut(piece: Projection, covers: npt.NDArray[np.bool_]) -> F32:
    lines, elements = covers.shape
    _, h, w = piece.basis_cm.shape
    rows = np.clip(np.arange(h) + piece.y0, 0, lines - 1)
    columns = np.clip(np.arange(w) + piece.x0, 0, elements - 1)
    return piece.basis_cm * covers[np.ix_(rows, columns)]


def _inside(space: _Space, piece: Projection) -> Projection:
    """The piece moved so that it lies in the bag, as far as it can."""
    _, h, w = piece.basis_cm.shape
    half_x, half_y = space.shell.width / 2 * space.scale, space.shell.length / 2 * space.scale
    x = np.clip(
        piece.x0,
        space.origin[0] - half_x,
        max(space.origin[0] + half_x - w, space.origin[0] - half_x),
    )
    y = np.clip(
        piece.y0,
        space.origin[1] - half_y,
        max(space.origin[1] + half_y - h, space.origin[1] - half_y),
    )
    return Projection(int(x), int(y), piece.basis_cm)


def _pack_things(
    space: _Space, canvas: F32, expected: float, builders: Mapping[str, tuple[Builder, float]]
) -> None:
    names = list(builders)
    weights = np.array([builders[name][1] for name in names])
    weights = weights / weights.sum()
    for _ in range(int(space.rng.poisson(expected))):
        name = names[int(space.rng.choice(len(names), p=weights))]
        for _ in range(_TRIES_OF_A_THING):
            drawn = space.place(builders[name][0](space.rng), 0.25)
            if drawn is not None and space.holds(drawn):
                drawn.add_to(canvas)
                break


Placed = list[tuple[str, Projection]]


def _pack_labelled(space: _Space, canvas: F32, labels: list[str], polymers: float) -> Placed:
    """The labelled objects, placed last; overlaps among them stay small."""
    placed: Placed = []
    for label in labels:
        for _ in range(_TRIES):
            drawn = space.place(make_threat(label, space.rng, polymers).parts, 0.3)
            if drawn is None or not space.holds(drawn):
                continue
            if all(_overlap(drawn, other) < 0.3 for _, other in placed):
                placed.append((label, drawn))
                break
    for _, drawn in placed:
        drawn.add_to(canvas)
    return placed


def _turn(
    rng: np.random.Generator, canvas: F32, placed: Placed, config: BagConfig
) -> tuple[F32, Placed]:
    """The bag and its labelled objects aslant on the belt, on a canvas of as many lines."""
    _, lines, elements = canvas.shape
    rows, columns = (np.flatnonzero(canvas.any(axis=(0, axis))) for axis in (2, 1))
    corners = np.array([(x, y) for x in columns[[0, -1]] for y in rows[[0, -1]]], np.float64)
    angle = np.deg2rad(float(rng.uniform(-config.turn, config.turn)))
    while True:
        c, s = np.cos(angle), np.sin(angle)
        turned = corners @ np.array([[c, s], [-s, c]])
        (left, top), (right, bottom) = turned.min(axis=0), turned.max(axis=0) + 1
        if right - left <= elements or abs(angle) < 0.02:
            break
        angle *= 0.8
    before, after = rng.integers(config.margin_lines[0], config.margin_lines[1] + 1, 2)
    slack = max(0.0, elements - (right - left))
    shift = np.array([float(rng.uniform(0, slack)) - left, float(before) - top])
    matrix = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    lines = int(np.ceil(bottom - top)) + int(before) + int(after)
    size = (elements, lines)

    def moved(drawn: Projection) -> Projection:
        # Over the whole canvas, so that its pixels fall on those of the bag.
        own = np.zeros_like(canvas)
        drawn.add_to(own)
        return Projection(0, 0, _warped(own, matrix, size))

    return _warped(canvas, matrix, size), [(label, moved(drawn)) for label, drawn in placed]


def _warped(matter: F32, matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> F32:
    planes = [cv2.warpAffine(p, matrix, size, flags=cv2.INTER_LINEAR) for p in matter]
    return np.stack(planes).astype(np.float32, copy=False)


def _overlap(a: Projection, b: Projection) -> float:
    """Shared area of two bounding boxes over the smaller one's."""
    (_, ha, wa), (_, hb, wb) = a.basis_cm.shape, b.basis_cm.shape
    w = min(a.x0 + wa, b.x0 + wb) - max(a.x0, b.x0)
    h = min(a.y0 + ha, b.y0 + hb) - max(a.y0, b.y0)
    return float(max(0, w) * max(0, h) / min(ha * wa, hb * wb))


def _truth(label: str, drawn: Projection, canvas: F32) -> TruthObject | None:
    own = grey(drawn.basis_cm)
    box = tight_box(own, drawn.x0, drawn.y0)
    if box is None:
        return None
    h, w = own.shape
    around = canvas[:, drawn.y0 : drawn.y0 + h, drawn.x0 : drawn.x0 + w]
    other = grey(around) - own
    return TruthObject(label, box, level(covered_share(own, other)))
