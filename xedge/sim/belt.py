"""A belt with bags on it, read out in strips, as a lane gets them from a detector.

The bags are made one at a time while the belt runs, so that a belt of any length needs the
memory of one bag. A virtual clock starts at zero: a line's time is its number over the lines a
second that the speed means. One encoder count is one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.source import Source
from xedge.sim.bags import (
    DEFAULT_BAG,
    DEFAULT_SCANNER,
    BagConfig,
    TruthObject,
    compose,
    generate_bag,
)
from xedge.sim.physics import ScannerModel
from xedge.types import U16, Strip

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class BeltTruth:
    """Where one bag went by and what was in it.

    Attributes:
        bag: Number of the bag on its belt, from 1.
        first_line: Line counter at the first line of the bag's own image, its margin included.
        last_line: Line counter at the last line of it.
        objects: Labelled objects; x in detector elements, y in lines from ``first_line``.
    """

    bag: int
    first_line: int
    last_line: int
    objects: tuple[TruthObject, ...]


@dataclass(eq=False)
class SimulatedBelt(Source):
    """Strips of raw counts of a belt that carries bags; each iteration starts it anew.

    The first thing on the belt is a gap of air, and so is the last.

    Attributes:
        seed: Seed of the bags; bag ``k`` is ``generate_bag(belt.bag_seed(k))``.
        bags: How many bags there are.
        speed_m_s: Speed of the belt.
        gap_mm: Shortest and longest stretch of empty belt between the bags' own images.
        strip_lines: Lines in a strip; the last one may be shorter.
        scanner: What scans it.
        config: How the bags are packed.

    Raises:
        ConfigError: On values without meaning.
    """

    seed: int
    bags: int
    speed_m_s: float
    gap_mm: tuple[float, float] = (200.0, 400.0)
    strip_lines: int = 32
    scanner: ScannerModel = DEFAULT_SCANNER
    config: BagConfig = DEFAULT_BAG
    _truth: dict[int, BeltTruth] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.bags < 0 or self.seed < 0 or self.speed_m_s <= 0 or self.strip_lines < 1:
            raise ConfigError(
                "a belt cannot be simulated",
                expected="seed and bags not below 0, speed above 0, a line or more in a strip",
                found=f"seed {self.seed}, {self.bags} bags, {self.speed_m_s} m/s, "
                f"{self.strip_lines} lines",
            )
        if not 0 <= self.gap_mm[0] <= self.gap_mm[1]:
            raise ConfigError(
                "gap_mm cannot be used", expected="0 <= shortest <= longest", found=str(self.gap_mm)
            )

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return self.scanner.elements

    def bag_seed(self, bag: int) -> int:
        """Seed of bag number ``bag``, from 1; different belts share no bag."""
        return int(np.random.SeedSequence([self.seed, bag]).generate_state(1, np.uint32)[0])

    @property
    def lines_per_s(self) -> float:
        """Lines read out a second."""
        return self.speed_m_s * 1000.0 / self.scanner.pitch_mm

    @property
    def truth(self) -> tuple[BeltTruth, ...]:
        """Truth of every bag, in order.

        Bags that have been read out are remembered; the others are packed, without X-rays,
        only to see what is in them.
        """
        line, known = 0, []
        for bag in range(1, self.bags + 1):
            line += self._gap_lines(bag)
            if bag not in self._truth:
                packed = compose(self.bag_seed(bag), self.config, self.scanner)
                self._remember(bag, line, packed.basis_cm.shape[1], packed.truth)
            known.append(self._truth[bag])
            line = self._truth[bag].last_line + 1
        return tuple(known)

    @property
    def truth_so_far(self) -> tuple[BeltTruth, ...]:
        """Truth of the bags that have been read out, in order; packs none to find out."""
        return tuple(self._truth[bag] for bag in sorted(self._truth))

    def __iter__(self) -> Iterator[Strip]:
        """All strips from the first line to the last."""
        low: list[U16] = []
        high: list[U16] = []
        first = held = 0
        for block_low, block_high in self._blocks():
            low.append(block_low)
            high.append(block_high)
            held += len(block_low)
            if held < self.strip_lines:
                continue
            whole_low, whole_high = np.concatenate(low), np.concatenate(high)
            cut = held - held % self.strip_lines
            for start in range(0, cut, self.strip_lines):
                stop = start + self.strip_lines
                yield self._strip(first, whole_low[start:stop], whole_high[start:stop])
                first += self.strip_lines
            low, high, held = [whole_low[cut:]], [whole_high[cut:]], held - cut
        if held:
            yield self._strip(first, np.concatenate(low), np.concatenate(high))

    def _strip(self, first: int, low: U16, high: U16) -> Strip:
        encoder = np.arange(first, first + len(low), dtype=np.int64)
        read_out = round((first + len(low)) / self.lines_per_s * NS_PER_S)
        return Strip(first, encoder, low.copy(), high.copy(), read_out)

    def _blocks(self) -> Iterator[tuple[U16, U16]]:
        """Gap, bag, gap, ..., bag, gap."""
        line = 0
        for bag in range(1, self.bags + 1):
            gap = self._gap_lines(bag)
            yield from self._air(bag, gap)
            made = generate_bag(self.bag_seed(bag), self.config, self.scanner)
            self._remember(bag, line + gap, len(made.low), made.truth)
            line += gap + len(made.low)
            yield made.low, made.high
        yield from self._air(self.bags + 1, self._gap_lines(self.bags + 1))

    def _air(self, bag: int, lines: int) -> Iterator[tuple[U16, U16]]:
        if lines:
            yield self.scanner.air_run(lines, self.bag_seed(bag) ^ 0xA1)

    def _gap_lines(self, bag: int) -> int:
        rng = np.random.Generator(np.random.PCG64([self.seed, bag, 7]))
        return round(float(rng.uniform(*self.gap_mm)) / self.scanner.pitch_mm)

    def _remember(self, bag: int, first: int, lines: int, objects: tuple[TruthObject, ...]) -> None:
        self._truth[bag] = BeltTruth(bag, first, first + lines - 1, objects)
