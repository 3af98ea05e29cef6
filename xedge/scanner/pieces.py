"""What comes out of a belt that is cut: lines of air, and bags with theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xedge.types import I64, U16, Reason

Seen = tuple[int, int]
"""Encoder counts at the first and the last line of matter."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Corrected lines with their places on the belt.

    Attributes:
        low: Corrected low-energy counts, uint16 ``[n, elements]``.
        high: Corrected high-energy counts, the same shape.
        encoder: Encoder counts of each line, int64 ``[n]``.
        counter: The detector's line counter of each line, int64 ``[n]``.
        time_ns: When each line was read out, int64 ``[n]``.
    """

    low: U16
    high: U16
    encoder: I64
    counter: I64
    time_ns: I64

    def __len__(self) -> int:
        return int(self.encoder.shape[0])

    def __getitem__(self, rows: slice) -> Lines:
        """A run of these lines, as views."""
        return Lines(
            self.low[rows], self.high[rows], self.encoder[rows], self.counter[rows],
            self.time_ns[rows],
        )  # fmt: skip

    @staticmethod
    def concatenate(parts: list[Lines]) -> Lines:
        """All lines of ``parts`` in their order."""
        if len(parts) == 1:
            return parts[0]
        return Lines(
            np.concatenate([p.low for p in parts]),
            np.concatenate([p.high for p in parts]),
            np.concatenate([p.encoder for p in parts]),
            np.concatenate([p.counter for p in parts]),
            np.concatenate([p.time_ns for p in parts]),
        )


@dataclass(frozen=True)
class GapLines:
    """That many lines turned out to be air between bags."""

    lines: int


@dataclass(frozen=True)
class BagBegun:
    """A bag begins; the lines that follow, up to its `BagEnded`, are its own.

    Attributes:
        bag: Its number.
        head_encoder: Encoder counts at its first line.
    """

    bag: int
    head_encoder: int


@dataclass(frozen=True, eq=False)
class BagLines:
    """The next lines of a bag."""

    bag: int
    lines: Lines


@dataclass(frozen=True)
class BagEnded:
    """A bag has ended.

    Attributes:
        bag: Its number.
        reasons: What is wrong with its scan.
        tail_encoder: Encoder counts at its last line of matter.
        tail_ns: When that line was read out.
        cut: True when it is longer than `CutterConfig.max_bag_lines`: the next one goes on here.
        short_gaps: Gaps of air within it, too short to end it: it may be several bags.
        seen: Encoder counts at the first and the last line of matter in each view, None where one
            shows none; empty when there is one view.
    """

    bag: int
    reasons: frozenset[Reason]
    tail_encoder: int
    tail_ns: int
    cut: bool = False
    short_gaps: int = 0
    seen: tuple[Seen | None, ...] = ()


@dataclass(frozen=True)
class BagUnscanned:
    """Something may be, or is, on the belt there, and nobody can screen it: a bag without a line.

    Attributes:
        bag: Its number.
        head_encoder: Encoder counts where it begins.
        tail_encoder: Encoder counts where it ends.
        tail_ns: When that place was under the beam.
        reasons: Why it cannot be screened.
    """

    bag: int
    head_encoder: int
    tail_encoder: int
    tail_ns: int
    reasons: frozenset[Reason]


Piece = GapLines | BagBegun | BagLines | BagEnded | BagUnscanned
