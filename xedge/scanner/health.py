"""What the lines say about the detector while it runs: faults found, repaired and counted.

Matter and a faulty element can look alike: a blade seen edge-on is one element wide and dark
for hundreds of lines. So an element is called faulty only on *idle* lines, where nearly all
others see air; what is known from there is repaired in the bags that follow, wherever it
disagrees with both its neighbours. A single sample that is dark against all eight neighbours
is no object (0.6 mm both ways): it is repaired at sight and counted as a glitch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xedge.scanner.flatfield import (
    MAX_ADJACENT_DEAD,
    SATURATED,
    FlatField,
    Mask,
    Repair,
    count_true,
    longest_run,
)
from xedge.types import AIR_COUNTS, F32, U16

Indices = npt.NDArray[np.intp]

AIR_LEVEL = np.uint16(AIR_COUNTS * 9 // 10)
"""Corrected counts from which a sample is air when a faulty element is looked for."""

DARK_SHARE = 0.5
"""A sample below this share of its neighbours disagrees with them."""

MATTER_SHARE = 0.8
"""Where one energy is halved by matter, the other one falls below this share."""

SHADOW = np.uint16(AIR_COUNTS // 30)
"""Below this, noise alone halves a sample: nothing is judged in so deep a shadow."""

FAILED_LINES = 8
"""Idle lines that an element must stand out of, alone, to be called faulty."""

RUN_FAILED_LINES = 64
"""The same for 2 to `MAX_ADJACENT_DEAD` neighbours together: 40 mm, for a thin wire is as wide."""

BLOCK_FAILED_LINES = 1200
"""The same for more neighbours, without a line of air between: longer than any bag."""

RECOVERED_LINES = 64
"""Idle lines in a row that a faulty element must agree on to be trusted again."""

DRIFTED = 0.03
"""Share of air by which air may drift before a new correction is due: bags begin at 0.08."""

DRIFT_LINES = 1024
"""Idle lines over which the level of air is averaged: more than what lies on a belt unseen."""


@dataclass(frozen=True)
class DetectorHealth:
    """What was found wrong with a detector, by element; index 0 is low energy, 1 high.

    Attributes:
        elements: Detector elements in a line.
        lines: Lines looked at.
        dead: Elements that the flat field interpolates throughout.
        intermittent: Elements found faulty during the scan, with the number of lines repaired.
        glitches: Single samples repaired.
        saturated_share: Share of the living elements' raw samples at full scale.
        gain_from_saturated_air: True when the flat field's gain came from saturated air, so that
            the gain of single elements is not known.
        fault: True when more neighbouring elements fail, or read too much, than interpolation can
            bridge.
        air: What idle lines read by now, as a share of the air that the correction was made with;
            1 before there were any.
        version: How often the correction in force has changed, see `xedge.scanner.follow`.
        wanted: Why a new correction should be made, where it follows the detector; else empty.
        displaced: Which view shows bags at another place than the others; empty while none does.
    """

    elements: int
    lines: int = 0
    dead: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    intermittent: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    glitches: tuple[int, int] = (0, 0)
    saturated_share: tuple[float, float] = (0.0, 0.0)
    gain_from_saturated_air: bool = False
    fault: bool = False
    air: tuple[float, float] = (1.0, 1.0)
    version: int = 0
    wanted: str = ""
    displaced: str = ""

    @property
    def recalibrate(self) -> tuple[str, ...]:
        """Why a new correction should be made, one sentence each; empty while none need be."""
        drifted = [
            f"{name} energy: air reads {100 * air:.1f} % of what it did when the correction was "
            "made: make a new one"
            for name, air in zip(("low", "high"), self.air, strict=True)
            if abs(air - 1) > DRIFTED and not self.gain_from_saturated_air
        ]
        return (*drifted, self.wanted) if self.wanted else tuple(drifted)

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person has to see to, one sentence each."""
        failing = f"more than {MAX_ADJACENT_DEAD} neighbouring elements fail"
        return (*self.recalibrate, *[failing] * self.fault, *filter(None, [self.displaced]))

    def sentences(self) -> tuple[str, ...]:
        """The findings for a person, one sentence each; empty for a detector without any."""
        said: list[str] = []
        for name, dead, failing, glitches, share in zip(
            ("low", "high"), self.dead, self.intermittent, self.glitches, self.saturated_share,
            strict=True,
        ):  # fmt: skip
            if dead:
                said.append(f"{name} energy: dead elements {_listed(dead)}, interpolated")
            for element, lines in failing.items():
                said.append(
                    f"{name} energy: element {element} failed during the scan, {lines} of "
                    f"{self.lines} lines interpolated"
                )
            if glitches:
                said.append(f"{name} energy: {glitches} single dead samples interpolated")
            if share > 0:
                said.append(f"{name} energy: {100 * share:.1f} % of the raw samples are saturated")
        if self.gain_from_saturated_air:
            said.append("no dark and air runs: offset 0, one gain for all elements, taken from "
                        "saturated air")  # fmt: skip
        return (*said, *self.problems)


def _listed(elements: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, elements[:12]))
    return shown if len(elements) <= 12 else f"{shown} and {len(elements) - 12} more"


class DetectorMonitor:
    """Watches one detector line by line and repairs what it knows to be faulty.

    Deterministic and without clock or I/O; strips must come in the order of the belt.
    """

    def __init__(self, flat_field: FlatField) -> None:
        self._flat = flat_field
        shape = (2, flat_field.elements)
        self._faulty: Mask = np.zeros(shape, np.bool_)
        # In units that make RUN_FAILED_LINES a fault; a line alone weighs more than one in a run.
        self._evidence: npt.NDArray[np.int64] = np.zeros(shape, np.int64)
        self._dark_lines: npt.NDArray[np.int64] = np.zeros(shape, np.int64)  # idle ones, in a row
        self._sound_lines: npt.NDArray[np.int64] = np.zeros(shape, np.int64)
        self._repaired: npt.NDArray[np.int64] = np.zeros(shape, np.int64)
        self._dead_columns = [np.flatnonzero(dead) for dead in flat_field.dead]
        self._glitches = [0, 0]
        self._saturated = [0, 0]
        self._lines = 0
        self._air = [1.0, 1.0]
        self._idle_lines = 0
        self._previous: list[U16 | None] = [None, None]

    @property
    def fault(self) -> bool:
        """True while more neighbouring elements fail than interpolation can bridge."""
        if not self._faulty.any():
            return False
        return max(map(longest_run, self._faulty | self._flat.dead)) > MAX_ADJACENT_DEAD

    def replace(self, flat_field: FlatField) -> None:
        """Correct by another flat field of the same detector from now on."""
        self._flat = flat_field
        self._dead_columns = [np.flatnonzero(dead) for dead in flat_field.dead]

    def correct(self, low: U16, high: U16, levels: F32 | None = None) -> tuple[U16, U16]:
        """Corrected and repaired lines from raw ones, uint16 of the same shape.

        Args:
            low: Raw low-energy lines.
            high: Raw high-energy lines.
            levels: What the tube gives in each line, as of `FlatField.apply`.

        Raises:
            LineError: When the lines are not as wide as the detector.
        """
        pair = self._flat.apply(low, high, levels)
        self._lines += len(low)
        for energy, raw in enumerate((low, high)):
            self._saturated[energy] += self._count_saturated(energy, raw)
        air = self._judge_idle(pair)
        failing = bool(self._faulty.any())
        for energy in (0, 1):
            if failing:
                self._repair_faulty(energy, pair[energy])
            self._repair_glitches(energy, pair[energy], pair[1 - energy][-1], air)
        return pair

    def health(self) -> DetectorHealth:
        """What has been found so far."""
        alive = (~self._flat.dead).sum(axis=1)
        shares = [
            n / max(1, self._lines * int(a)) for n, a in zip(self._saturated, alive, strict=True)
        ]
        dead = [tuple(np.flatnonzero(mask).tolist()) for mask in self._flat.dead]
        failing = [
            {int(e): int(row[e]) for e in np.flatnonzero(row)} for row in self._repaired
        ]  # fmt: skip
        return DetectorHealth(
            elements=self._flat.elements,
            lines=self._lines,
            dead=(dead[0], dead[1]),
            intermittent=(failing[0], failing[1]),
            glitches=(self._glitches[0], self._glitches[1]),
            saturated_share=(shares[0], shares[1]),
            gain_from_saturated_air=max(self._flat.saturated_share) > 0,
            fault=self.fault,
            air=(self._air[0], self._air[1]),
        )

    def _count_saturated(self, energy: int, raw: U16) -> int:
        """Samples at full scale; what a dead element reads is not said to be saturation."""
        if raw.max() < SATURATED:  # nearly always, and a fraction of the counting
            return 0
        dead = raw[:, self._dead_columns[energy]]
        return int(np.count_nonzero(raw == SATURATED) - np.count_nonzero(dead == SATURATED))

    def _judge_idle(self, pair: tuple[U16, U16]) -> bool:
        """Learn from lines that see nearly nothing but air which elements do not.

        True when all that these lines hold is air.
        """
        lines = len(pair[0])
        if all(energy.min() >= AIR_LEVEL for energy in pair):
            self._watch_air([energy[-1] for energy in pair], lines)
            self._agree(slice(None), lines)
            self._find_faulty()
            return True
        few = max(4, self._flat.elements // 32)
        dark, idle = [], np.ones(lines, np.bool_)
        for energy, columns in zip(pair, self._dead_columns, strict=True):
            below: Mask = energy < AIR_LEVEL
            below[:, columns] = False
            dark.append(below)
            # Both energies must be idle: thin matter shows in the low one only.
            idle &= count_true(below) <= few
            if not idle.any():
                return False
        self._watch_air([energy[idle][-1] for energy in pair], int(np.count_nonzero(idle)))
        for k in (0, 1):
            self._judge(k, dark[k][idle])
        self._find_faulty()
        return False

    def _find_faulty(self) -> None:
        # Found in one energy, an element is suspect in both: they share its electronics.
        failed = np.maximum(*self._evidence) >= RUN_FAILED_LINES
        self._faulty = np.array((failed, failed))

    def _watch_air(self, last: list[U16], lines: int) -> None:
        """Follow the level of air on idle lines, by the last of them: quickly at first."""
        self._idle_lines = min(self._idle_lines + lines, DRIFT_LINES)
        share = lines / max(lines, self._idle_lines)
        for energy in (0, 1):
            # The median: what few elements see, matter or a fault, is not the level of air.
            level = _median(last[energy]) / AIR_COUNTS
            self._air[energy] += share * (level - self._air[energy])

    def _judge(self, energy: int, idle: Mask) -> None:
        if not idle.any():
            self._agree(energy, len(idle))
            return
        sound, evidence = self._sound_lines[energy], self._evidence[energy]
        dark_lines = self._dark_lines[energy]
        agreeing = ~idle.any(axis=0)
        sound[agreeing] += len(idle)
        sound[~agreeing] = 0
        dark_lines += len(idle)
        dark_lines[~idle.all(axis=0)] = 0
        evidence += _evidence(idle)
        evidence[dark_lines >= BLOCK_FAILED_LINES] = RUN_FAILED_LINES
        evidence[sound >= RECOVERED_LINES] = 0

    def _agree(self, energy: int | slice, lines: int) -> None:
        """In so many idle lines all elements of an energy saw air."""
        sound, evidence = self._sound_lines[energy], self._evidence[energy]
        sound += lines
        self._dark_lines[energy] = 0
        if evidence.any():
            evidence[sound >= RECOVERED_LINES] = 0

    def _repair_faulty(self, energy: int, lines: U16) -> None:
        """Interpolate faulty elements where they disagree with the living ones beside them."""
        dead = self._flat.dead[energy]
        bad = self._faulty[energy] | dead
        if bad.all():
            return
        repair = Repair.of(bad)
        wanted = repair.values(lines)
        found = lines[:, repair.columns]
        wrong = (found < DARK_SHARE * wanted) & (wanted > SHADOW) & ~dead[repair.columns]
        self._repaired[energy][repair.columns] += wrong.sum(axis=0)
        # Dead elements too: the flat field may have interpolated them from a faulty one.
        write = wrong | dead[repair.columns]
        lines[:, repair.columns] = np.where(write, wanted + np.float32(0.5), found)

    def _repair_glitches(self, energy: int, lines: U16, other_last: U16, air: bool) -> None:
        """Repair samples that are dark against all eight around them, diagonals included: a
        thin wire across the belt at an angle is dark against the four beside each sample.
        """
        before, self._previous[energy] = self._previous[energy], lines[-1].copy()
        if air:  # nothing in it is half of anything
            return
        rows, columns = _below_half(lines, before)
        if rows.size:
            alone = _alone(lines, before, rows, columns, other_last)
            if not alone.any():
                return
            rows, columns = rows[alone], columns[alone]
            left, right = _beside(columns, lines.shape[1])
            mean = (lines[rows, left].astype(np.uint32) + lines[rows, right] + 1) // 2
            lines[rows, columns] = mean
            self._glitches[energy] += len(rows)


def _median(values: U16) -> float:
    ordered = np.sort(values)  # of so few far quicker than np.median
    middle = len(ordered) // 2
    return (int(ordered[middle]) + int(ordered[-1 - middle])) / 2


def _beside(columns: Indices, width: int) -> tuple[Indices, Indices]:
    """The columns at both sides; at an end of the array the one neighbour stands for both."""
    last = width - 1
    return np.abs(columns - 1), last - np.abs(last - columns - 1)


def _below_half(lines: U16, before: U16 | None) -> tuple[Indices, Indices]:
    """Samples below half of the four nearest around them, and those not in deep shadow.

    In front of the first line ever the second stands for both; behind the last one, as the next
    strip is not there yet, the last but one.
    """
    if len(lines) == 1:
        half = (lines if before is None else before[None]) >> 1
    else:
        half = np.empty_like(lines)
        np.minimum(lines[:-2], lines[2:], out=half[1:-1])
        np.minimum(lines[1] if before is None else before, lines[1], out=half[0])
        half[-1] = lines[-2]
        half >>= 1
    # Of one axis, which is ten times faster than of two; few of them are left by those beside.
    found = np.flatnonzero(lines < half)
    if not found.size:
        return found, found
    found = found[half.ravel()[found] >= SHADOW // 2]
    rows, columns = np.divmod(found, lines.shape[1])
    left, right = _beside(columns, lines.shape[1])
    darker = lines[rows, columns] < np.minimum(lines[rows, left], lines[rows, right]) >> 1
    return rows[darker], columns[darker]


def _alone(
    lines: U16, before: U16 | None, rows: Indices, columns: Indices, other_last: U16
) -> Mask:
    """Which of those samples are below half of all eight around them."""
    front = lines[1:2] if before is None else before[None]
    around = np.concatenate((front, lines, lines[-2:-1] if len(lines) > 1 else front))
    left, right = _beside(columns, lines.shape[1])
    darkest = np.minimum.reduce([
        around[rows + line, beside]
        for line in (0, 1, 2) for beside in (left, columns, right)
        if not (line == 1 and beside is columns)
    ])  # fmt: skip
    alone: Mask = (lines[rows, columns] < darkest >> 1) & (darkest > SHADOW)
    # A wire may begin in the last line. Matter that halves the low energy takes a fifth of the
    # high one at the least (iron: ln-low / ln-high is 2.55, so 0.5 there is 0.76 here).
    seen = np.minimum(other_last[left], other_last[right]) * np.float32(MATTER_SHARE)
    inner = (columns > 0) & (columns < lines.shape[1] - 1)
    alone &= (rows < len(lines) - 1) | (inner & (other_last[columns] > seen))
    return alone


def _evidence(idle: Mask) -> npt.NDArray[np.int64]:
    """What dark samples among air say against their elements, int64 ``[elements]``.

    Samples with less than two of air between them are one run. A run wider than interpolation can
    bridge says nothing: it may be the rim of an object.
    """
    rows, columns = np.nonzero(idle)
    begins = (np.diff(rows) != 0) | (np.diff(columns) > 2)
    first = np.flatnonzero(np.concatenate(([True], begins)))
    last = np.append(first[1:], len(rows)) - 1
    width = np.repeat(columns[last] - columns[first] + 1, last - first + 1)
    weight = np.where(width == 1, RUN_FAILED_LINES // FAILED_LINES, 1)
    said = np.zeros(idle.shape[1], np.int64)
    np.add.at(said, columns, np.where(width <= MAX_ADJACENT_DEAD, weight, 0))
    return said
