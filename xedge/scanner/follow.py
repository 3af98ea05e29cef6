"""A correction that follows its detector: gain on an idle belt, offset while the tube is off.

Only lines are learned from that are air for sure: `GUARD_LINES` away from whatever the cutter takes
for matter, in blocks whose elements nearly all read what they should. However sure that is, what a
block can do is bounded twice:

- it moves an element's reference by `FollowConfig.step` at the most, so that a metre of something
  that passes for air moves it by a thousandth;
- no reference ever leaves `FollowConfig.limit` around the correction as it was made. Beyond,
  nothing is followed, and a new correction is asked for.

What makes an element dead is what makes it so in an air run (`flatfield.out_of_range`, `noisy`),
and that it has no noise at all: it is interpolated, after `FOUND_BLOCKS` blocks, until it has been
sound for as many. One that is merely off, beyond the limit by itself, still measures: it is used as
it reads, for a blade seen edge-on is as wide, and a new correction is asked for. Of many that read
too much `xedge.scanner.bright` says what they are, also where nothing is followed.

Deterministic, without clock or I/O: the same lines give the same corrections, to the bit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge.scanner.bright import FOUND_BLOCKS, BrightWatch
from xedge.scanner.flatfield import (
    MAX_ADJACENT_DEAD,
    FlatField,
    Mask,
    longest_run,
    noisy,
    out_of_range,
)
from xedge.scanner.reference import Spans
from xedge.scanner.tube import OFF
from xedge.types import AIR_COUNTS, F32, U16

F64 = npt.NDArray[np.float64]

GUARD_LINES: Final = 48
"""Lines of air before and behind those that are learned from: 30 mm."""

SAMPLED: Final = 4
"""Of so many idle lines one is looked at: noise and cost both allow it."""

GLANCED: Final = 16
"""The same where nothing is followed, and what reads too much is all there is to see."""

RATE: Final = 0.25
"""Share of what a block says that is taken over, the step permitting."""

IN_FORCE: Final = 2e-3
"""An element's change that brings a new correction into force: ten times what noise makes."""

NAMED: Final = 8
"""Elements that are off and named; of more, how many."""

DOUBTED_BLOCKS: Final = 16
"""Blocks in a row that cannot be air by the correction before a new one is asked for."""

FROZEN: Final = 0.1
"""An element with less than this share of the others' noise does not see the tube at all."""

SETTLE_LINES: Final = 64
"""Lines from which afterglow fades when the tube goes off."""

DARK_LINES: Final = 256
"""Lines without X-rays, one unlike the other, that make an offset."""

DARK_LIMIT: Final = 5e-3
"""Share of air by which an offset may move from the one that was made."""

DARK_IN_FORCE: Final = 2e-4
"""Share of air by which an offset must move to bring a new correction into force."""


@dataclass(frozen=True, kw_only=True)
class FollowConfig:
    """How a correction follows its detector.

    Attributes:
        air: True follows the gain of single elements on an idle belt.
        dark: True takes the offset anew while the tube is off.
        limit: Share of air by which the reference may leave the correction as it was made.
        step: Share of air by which a block may move it.
        block_lines: Idle lines in a block.
        reference: First and last element of each span that sees air always; levels of whole lines
            are then followed line by line.

    Raises:
        ConfigError: When a number cannot be.
    """

    air: bool = True
    dark: bool = True
    limit: float = 0.03
    step: float = 2e-4
    block_lines: int = 256
    reference: Spans = ()

    def __post_init__(self) -> None:
        # A bag ends at 0.95 of air: with the correction as made, a start must still see it end.
        if not 0 < self.limit < 0.05:
            raise ConfigError("limit cannot be used", expected="above 0, below 0.05",
                              found=str(self.limit))  # fmt: skip
        if not 0 < self.step <= 0.002:
            raise ConfigError("step cannot be used", expected="above 0, up to 0.002",
                              found=str(self.step))  # fmt: skip
        if not 64 <= self.block_lines <= 65536:
            raise ConfigError("block_lines cannot be used", expected="64 to 65536",
                              found=str(self.block_lines))  # fmt: skip
        if not all(len(span) == 2 for span in self.reference):
            raise ConfigError("reference cannot be used", expected="pairs of elements",
                              found=str(self.reference))  # fmt: skip

    @staticmethod
    def off() -> FollowConfig:
        """A correction that stays what it was made to be."""
        return FollowConfig(air=False, dark=False)


@dataclass(frozen=True)
class CorrectionNews:
    """Something about the correction in force.

    Attributes:
        kind: ``correction-changed``, or ``recalibrate``.
        fields: What a journal should know.
    """

    kind: str
    fields: dict[str, int | float | str]


@dataclass(frozen=True, eq=False)
class _Part:
    """Sums over some lines: deviations from air, their squares, and how many there are."""

    lines: int
    rows: int
    sums: F64
    squares: F64

    def __add__(self, other: _Part) -> _Part:
        return _Part(self.lines + other.lines, self.rows + other.rows, self.sums + other.sums,
                     self.squares + other.squares)  # fmt: skip


class Follower:
    """The correction of one detector while it runs.

    Args:
        made: The correction as it was made.
        config: How it follows.

    Attributes:
        flat_field: The correction in force.
        version: How often it has changed.
        news: What has happened since they were last taken.
    """

    def __init__(self, made: FlatField, config: FollowConfig) -> None:
        self._made, self._config = made, config
        self.flat_field = made
        self.version = 0
        self._bright = BrightWatch(config.limit)
        self._wants: dict[str, str] = {}  # of air, and of dark: the one says nothing of the other
        self.news: list[CorrectionNews] = []
        shape = made.offset.shape
        self._living: Mask = ~made.dead
        self._few = max(MAX_ADJACENT_DEAD, made.elements // 32)
        self._scale = made.gain.astype(np.float64) / AIR_COUNTS  # share of air a count
        self._offset = made.offset.astype(np.float64)
        self._air = np.ones(shape)  # what air reads by the correction as made, followed
        self._applied = np.ones(shape)  # the same, of the correction in force
        self._found: Mask = np.zeros(shape, np.bool_)
        self._dead_blocks = np.zeros(shape, np.int64)
        self._off_blocks = np.zeros(shape, np.int64)
        self._sound_blocks = np.zeros(shape, np.int64)
        self._doubted = 0
        self._settled: _Part | None = None  # of the block; far enough from all matter
        self._recent: deque[_Part] = deque()  # too near to what may come
        self._wait = GUARD_LINES
        self._dark_settle, self._dark_lines = SETTLE_LINES, 0
        self._dark_sums = np.zeros(shape, np.int64)
        self._dark_last: U16 | None = None

    @property
    def air(self) -> tuple[float, float]:
        """What the correction in force takes for air, as a share of the air run's, low and high."""
        low, high = (float(np.median(row)) for row in self._applied)
        return low, high

    @property
    def fault(self) -> bool:
        """True while more neighbours read too much than interpolation can bridge."""
        return self._bright.fault

    @property
    def wanted(self) -> str:
        """Why a new correction should be made; empty while none need be."""
        return "; ".join(self._wants[name] for name in sorted(self._wants))

    # Air

    def disturbed(self) -> None:
        """What comes next is not idle, or not next to what came before."""
        self._recent.clear()
        self._wait = GUARD_LINES

    def idle(self, low: U16, high: U16, levels: F32 | None) -> None:
        """Raw lines that may be air: no bag is under the beam.

        Args:
            low: Low energy, uint16 ``[n, elements]``.
            high: High energy.
            levels: What the tube gives in each line, as of `FlatField.apply`.
        """
        if self._wait > 0:
            self._wait -= len(low)
            return
        rows = slice(0, None, SAMPLED if self._config.air else GLANCED)
        seen = np.stack([raw[rows] for raw in (low, high)]) - self._offset[:, None]
        seen *= self._scale[:, None]
        if levels is not None:
            seen /= levels[:, rows, None]
        seen -= 1.0  # small numbers: their squares lose nothing
        self._recent.append(
            _Part(len(low), seen.shape[1], seen.sum(axis=1), np.square(seen).sum(axis=1))
        )
        behind = sum(part.lines for part in self._recent)
        while behind - self._recent[0].lines >= GUARD_LINES:
            part = self._recent.popleft()
            behind -= part.lines
            self._settled = part if self._settled is None else self._settled + part
        if self._settled is not None and self._settled.lines >= self._config.block_lines:
            block, self._settled = self._settled, None
            self._judge(block)

    def _judge(self, block: _Part) -> None:
        mean = block.sums / block.rows
        self._bright.judge(mean, self._living, self.flat_field.dead)
        if self._bright.fault:
            self._want("bright", self._bright.why)
        else:
            self._wants.pop("bright", None)
        if not self._config.air:
            return
        spread = np.sqrt(np.maximum(block.squares / block.rows - mean * mean, 0.0))
        dead = _out_of_proportion(spread, self._scale)
        dead |= np.stack([out_of_range(1.0 + row) for row in mean])
        dead &= self._living
        off = (np.abs(mean) > self._config.limit) & self._living & ~dead
        odd = dead | off
        if odd.sum(axis=1).max() > self._few:
            self._doubted += 1
            if self._doubted == DOUBTED_BLOCKS:
                low, high = (100 * (1 + float(np.median(row))) for row in mean)
                self._want("air", f"idle lines read {low:.1f} % (low) and {high:.1f} % (high) of "
                           f"the air of the correction, and {int(odd.sum())} elements are beyond "
                           "what is followed: clear the belt or make a new correction")  # fmt: skip
            return
        self._doubted = 0
        step = self._config.step
        moved = np.clip(RATE * (1.0 + mean - self._air), -step, step)
        self._air[self._living & ~odd] += moved[self._living & ~odd]
        self._wants.pop("air", None)
        found = self._failing(dead, off)
        drifted = np.abs(self._air / self._applied - 1.0) >= IN_FORCE
        if (found != self._found).any():
            self._found = found
            self._put_in_force("elements")
        elif drifted.any():
            self._put_in_force("air")

    def _failing(self, dead: Mask, off: Mask) -> Mask:
        """Elements that are dead by now, given those of one more block, and word of those off."""
        self._dead_blocks = np.where(dead, self._dead_blocks + 1, 0)
        self._off_blocks = np.where(off, self._off_blocks + 1, 0)
        self._sound_blocks = np.where(dead | off, 0, self._sound_blocks + 1)
        found = self._dead_blocks >= FOUND_BLOCKS
        found |= self._found & (self._sound_blocks < FOUND_BLOCKS)
        if max(map(longest_run, found | self._made.dead)) > MAX_ADJACENT_DEAD:
            self._want("dead", f"more than {MAX_ADJACENT_DEAD} neighbouring elements are dead or "
                       "noisy: make a new correction")  # fmt: skip
            found = self._found
        else:
            self._wants.pop("dead", None)
        strays = [np.flatnonzero(row >= FOUND_BLOCKS) for row in self._off_blocks]
        if any(row.size for row in strays):
            named = "; ".join(
                f"{row.size} of the {energy} energy ({', '.join(map(str, row[:NAMED]))}"
                f"{' ...' if row.size > NAMED else ''})"
                for energy, row in zip(("low", "high"), strays, strict=True) if row.size
            )  # fmt: skip
            self._want("off", f"single elements are beyond what is followed, {named}: make a new "
                       "correction")  # fmt: skip
        elif not off.any():
            self._wants.pop("off", None)
        return found

    # Dark

    def lit(self) -> None:
        """The tube is on: what was taken for dark is too short."""
        self._dark_settle, self._dark_lines = SETTLE_LINES, 0
        self._dark_sums[:] = 0
        self._dark_last = None

    def dark(self, low: U16, high: U16) -> None:
        """Raw lines while the tube is off; used as soon as there are enough without a ray."""
        for energy, raw in enumerate((low, high)):
            seen = (raw - self._offset[energy]) * self._scale[energy]
            if seen[:, self._living[energy]].max() >= OFF:
                self.lit()
                return
        if self._dark_settle > 0:
            self._dark_settle -= len(low)
            return
        new = self._new(low, high)
        self._dark_lines += int(np.count_nonzero(new))
        self._dark_sums += np.stack([raw[new].sum(axis=0, dtype=np.int64) for raw in (low, high)])
        if self._dark_lines < DARK_LINES:
            return
        mean = self._dark_sums / self._dark_lines
        self._dark_lines = 0
        self._dark_sums[:] = 0
        odd = np.abs(mean - self._made.offset) * self._scale > DARK_LIMIT
        odd &= self._living
        if odd.sum(axis=1).max() > self._few:
            self._want("dark", f"the dark reads otherwise than in the dark run at {int(odd.sum())} "
                       "elements: make a new correction")  # fmt: skip
            return
        self._wants.pop("dark", None)
        taken = self._living & ~odd
        self._offset[taken] = mean[taken]
        moved = np.abs(self._offset - self.flat_field.offset) * self._scale
        if moved.max() >= DARK_IN_FORCE:
            self._settled = None  # was seen with the offset that was
            self._put_in_force("dark")

    def _new(self, low: U16, high: U16) -> Mask:
        """Dark lines that are not the one before once more, bool ``[n]``.

        While the belt stands, rows of several views repeat a line, which says no more the second
        time: noise moves some element of any two lines that were read out.
        """
        both = np.concatenate([low, high], axis=1)
        new: Mask = np.ones(len(both), np.bool_)
        new[1:] = (both[1:] != both[:-1]).any(axis=1)
        if self._dark_last is not None:
            new[0] = bool((both[0] != self._dark_last).any())
        self._dark_last = both[-1].copy()
        return new

    # What comes of it

    def _put_in_force(self, cause: str) -> None:
        self._applied = self._air.copy()
        self.flat_field = replace(
            self._made,
            offset=self._offset.astype(np.float32),
            gain=(self._made.gain / self._air).astype(np.float32),
            dead=self._made.dead | self._found,
        )
        self.version += 1
        low, high = self.air
        self.news.append(CorrectionNews("correction-changed", {
            "version": self.version, "cause": cause, "sha256": self.flat_field.digest,
            "air_low": low, "air_high": high, "found_dead": int(self._found.sum()),
        }))  # fmt: skip

    def _want(self, what: str, why: str) -> None:
        if what not in self._wants:
            self.news.append(CorrectionNews("recalibrate", {"error": why}))
        self._wants[what] = why


def _out_of_proportion(spread: F64, scale: F64) -> Mask:
    """Elements with far more noise than the others, or next to none, bool ``[2, elements]``."""
    contrast = 1.0 / scale
    counts = spread * contrast
    wild = np.stack([noisy(*pair) for pair in zip(counts, contrast, strict=True)])
    middle = np.median(counts, axis=1, keepdims=True)
    # A detector without noise, or with less than a count, says nothing of its elements.
    frozen: Mask = (counts < FROZEN * middle) & (middle > 1.0)
    return wild | frozen
