"""A belt of any length from a few bags that were scanned once.

The samples of the bank are used again and again with counters of their own, so that a day of
belt costs hardly more than handing out views. Between bags come strips of air, and now and then
the belt stands and the detector is silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xedge.errors import ConfigError
from xedge.sim.bags import DEFAULT_BAG, BagConfig, generate_bag
from xedge.sim.physics import ScannerModel
from xedge.types import U16, Strip, Verdict

LEAD_LINES = 64
"""Air in front of a bag and behind it, at the least: more than any gap between two bags."""

MOST_AIR = 8
"""Strips of air between two stretches, fewer than that."""

EDGE_LINES = 64
"""So near its ends a bag's lines do not count as its inside."""

BAGS_A_STAND = 40
"""Bags from one stand of the belt to the next, in the mean."""

STAND_LINES = 2000
"""Air in front of a stand, longer than any deadline."""


@dataclass(frozen=True)
class Placed:
    """A bag on the belt, or on a stretch of it.

    Attributes:
        head: Encoder counts at which a lane's scan of it begins.
        tail: Encoder counts at its last line of matter.
        verdict: What the lane says of it when all is well.
    """

    head: int
    tail: int
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some belt with bags on it, air before and behind.

    Attributes:
        strips: Raw low and high counts, uint16 ``[lines, elements]`` each, all equally long.
        bags: The bags on it, their places counted from its first line.
    """

    strips: tuple[tuple[U16, U16], ...]
    bags: tuple[Placed, ...]


def render(
    seed: int,
    bags: int,
    scanner: ScannerModel,
    *,
    strip_lines: int = 32,
    config: BagConfig = DEFAULT_BAG,
) -> Iterator[tuple[U16, U16]]:
    """Raw low and high counts of one stretch of belt a bag, a whole number of strips each."""
    rng = np.random.Generator(np.random.PCG64([seed, 11]))
    for number in range(bags):
        made = generate_bag(seed * 100_003 + number, config, scanner)
        lead = LEAD_LINES + int(rng.integers(0, 128))
        behind = LEAD_LINES + -(lead + len(made.low) + LEAD_LINES) % strip_lines
        air_low, air_high = scanner.air_run(lead + behind, seed * 7 + number)
        yield (
            np.concatenate((air_low[:lead], made.low, air_low[lead:])),
            np.concatenate((air_high[:lead], made.high, air_high[lead:])),
        )


def cut(low: U16, high: U16, strip_lines: int) -> tuple[tuple[U16, U16], ...]:
    """The samples of strips, as views; lines that fill no strip at the end are left out."""
    return tuple(
        (low[k : k + strip_lines], high[k : k + strip_lines])
        for k in range(0, len(low) - strip_lines + 1, strip_lines)
    )


class BankBelt:
    """Strips of a belt on which the stretches of a bank go by in random order.

    Args:
        bank: The bank.
        air: Strips of air, as long as all others, that may come between two stretches.
        seed: Of the order, the gaps and the stands.
        seconds: How long the belt is watched, standing included.
        line_ns: Nanoseconds from one line to the next.
        counts_per_line: Encoder counts from one line to the next, 1 or more.
        duty: Share of the time that it runs; while it stands the detector is silent.

    Attributes:
        placed: Bags that have begun to come and that nobody has taken, in order.
        ahead: Strips of matter that are still to come of the bag under the beam.
        now_ns: Time of the belt that has gone by.

    Raises:
        ConfigError: When there is no bag, or a number cannot be.
    """

    def __init__(
        self,
        bank: Sequence[Stretch],
        air: Sequence[tuple[U16, U16]],
        *,
        seed: int,
        seconds: float,
        line_ns: float,
        counts_per_line: float = 1.0,
        duty: float = 1.0,
    ) -> None:
        if not bank or seconds < 0 or line_ns <= 0 or counts_per_line < 1 or not 0 < duty <= 1:
            raise ConfigError(
                "a bank makes no belt",
                expected="bags, time not below 0, lines that take time, a count a line, "
                "a duty up to 1",
                found=f"{len(bank)} stretches, {seconds} s, {line_ns} ns, {counts_per_line} "
                f"counts, duty {duty}",
            )
        self._bank, self._air = tuple(bank), tuple(air)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._end_ns, self._duty = round(seconds * 1e9), duty
        self._strip_lines = len(bank[0].strips[0][0])
        self._strip_ns = round(self._strip_lines * line_ns)
        self._counts = counts_per_line
        self._places = np.floor(np.arange(self._strip_lines) * counts_per_line).astype(np.int64)
        self._line = 0
        self.now_ns = 0
        self.placed: deque[Placed] = deque()
        self._under: Placed | None = None
        self.ahead = 0

    def __iter__(self) -> Iterator[Strip]:
        """The strips to the first end of a stretch after the time is up."""
        ran_ns = 0
        while self.now_ns < self._end_ns:
            began_ns = self.now_ns
            yield from self._gap(int(self._rng.integers(0, MOST_AIR)))
            yield from self._carry(self._bank[int(self._rng.integers(len(self._bank)))])
            stands = self._air and self._duty < 1 and self._rng.integers(BAGS_A_STAND) == 0
            if stands:  # by its end the bags before are decided
                yield from self._gap(-(-STAND_LINES // self._strip_lines))
            ran_ns += self.now_ns - began_ns
            if stands:
                self.now_ns = max(self.now_ns, round(ran_ns / self._duty))

    def _gap(self, strips: int) -> Iterator[Strip]:
        for _ in range(strips if self._air else 0):
            yield self._strip(self._air[int(self._rng.integers(len(self._air)))])

    def _carry(self, stretch: Stretch) -> Iterator[Strip]:
        start = self._at(self._line)
        coming = deque(stretch.bags)
        per_strip = self._strip_lines * self._counts
        for k, samples in enumerate(stretch.strips):
            while coming and coming[0].head < (k + 1) * per_strip:
                bag = coming.popleft()
                self._under = Placed(start + bag.head, start + bag.tail, bag.verdict)
                self.placed.append(self._under)
            strip = self._strip(samples)
            self.ahead = self._matter_behind(strip)
            yield strip
        self.ahead = 0

    def _matter_behind(self, strip: Strip) -> int:
        """Strips behind this one that lie within the bag under the beam, its ends aside."""
        bag, end, edge = self._under, int(strip.encoder[-1]), EDGE_LINES * self._counts
        if bag is None or end < bag.head + edge:
            return 0
        return max(0, int((bag.tail - edge - end) / (self._strip_lines * self._counts)))

    def _at(self, line: int) -> int:
        return int(line * self._counts)

    def _strip(self, samples: tuple[U16, U16]) -> Strip:
        first = self._line
        self._line += self._strip_lines
        self.now_ns += self._strip_ns
        return Strip(first, self._places + self._at(first), *samples, self.now_ns)
