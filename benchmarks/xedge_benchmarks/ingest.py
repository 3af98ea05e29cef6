"""What lines cost before any engine: processor time of a lane's core at a full line rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from xedge.lane.config import LaneConfig
from xedge.lane.runner import Belt, run_lanes
from xedge.scanner.flatfield import FlatField
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import Pairing, ViewPlan
from xedge.scanner.source import Source
from xedge.sim.bank import BankBelt, Stretch, cut
from xedge.types import U8, Detections, Strip

LINES_S: Final = 4000
VIEWS: Final = 4
STRIP_LINES: Final = (32, 64)
"""Lines that a detector sends at a time: what a strip costs is shared by them."""

BELT_S: Final = 2.0
ROUNDS: Final = 3

LANES: Final = "a lane each"
SIDE_BY_SIDE: Final = "one lane, lines side by side"
PAIRED: Final = "one lane, brought together"
"""How the views come: each as a belt of its own, or as one belt; with and without what brings
their lines together by the encoder."""


class _View(Source):
    """One view's source; all carry the same bags."""

    def __init__(self, bank: Sequence[Stretch], elements: int, belt_s: float) -> None:
        self._belt, self.elements = _belt(bank, 1, belt_s), elements

    def __iter__(self) -> Iterator[Strip]:
        return iter(self._belt)


def nothing_found(planes: U8) -> Detections:
    """The answer of an engine that answers at once."""
    return Detections.empty()


def measure_ingest(
    bank: Sequence[Stretch],
    correction: FlatField,
    config: LaneConfig,
    rounds: int = ROUNDS,
    belt_s: float = BELT_S,
) -> dict[str, Any]:
    """Shares of one core that `VIEWS` views at `LINES_S` lines a second take, with a null engine.

    All ways in turns, round by round; windows' planes are part of it.

    Args:
        bank: Stretches of belt with bags.
        correction: Of each view.
        config: Of the lanes.
        rounds: How often each is measured; the median is told, and all.
        belt_s: Seconds of belt a round, at least.
    """
    banks = {lines: _cut_anew(bank, lines) for lines in STRIP_LINES}
    shares: dict[tuple[str, int], list[float]] = {}
    lines_in = 0
    for _ in range(rounds):
        for strip_lines, (single, wide) in banks.items():
            for way in (LANES, SIDE_BY_SIDE, PAIRED):
                belts = _belts(way, single, wide, correction, config, belt_s)
                cpu = time.process_time()
                reports = run_lanes(belts, nothing_found)
                cpu = time.process_time() - cpu
                share = cpu / max(report.belt_s for report in reports)
                shares.setdefault((way, strip_lines), []).append(share)
                views = VIEWS // len(belts)
                lines_in += views * sum(report.ledger.lines_in for report in reports)
    return {
        "lines_s": LINES_S,
        "views": VIEWS,
        "elements": correction.elements,
        "lines_in": lines_in,
        "ways": [
            {"way": way, "strip_lines": strip_lines, "core_share": statistics.median(mine),
             "rounds": mine}
            for (way, strip_lines), mine in shares.items()
        ],
        "core_share": statistics.median(shares[LANES, STRIP_LINES[0]]),
    }  # fmt: skip


def widened(bank: Sequence[Stretch], views: int) -> tuple[Stretch, ...]:
    """The stretches as several views see them that all see the same, lines side by side."""
    return tuple(
        Stretch(tuple((np.tile(low, (1, views)), np.tile(high, (1, views)))
                      for low, high in stretch.strips), stretch.bags)
        for stretch in bank
    )  # fmt: skip


def _cut_anew(
    bank: Sequence[Stretch], strip_lines: int
) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """The stretches in strips of so many lines; of one view, and of all side by side."""
    single = []
    for stretch in bank:
        low, high = (np.concatenate([strip[k] for strip in stretch.strips]) for k in (0, 1))
        single.append(Stretch(cut(low, high, strip_lines), ()))
    return tuple(single), widened(single, VIEWS)


def _belt(bank: Sequence[Stretch], seed: int, seconds: float) -> BankBelt:
    return BankBelt(bank, (), seed=seed, seconds=seconds, line_ns=1e9 / LINES_S)


def _belts(
    way: str,
    single: Sequence[Stretch],
    wide: Sequence[Stretch],
    correction: FlatField,
    config: LaneConfig,
    belt_s: float,
) -> list[Belt]:
    if way == LANES:
        return [
            Belt(source=_belt(single, k, belt_s), flat_field=correction, config=config, keep=1)
            for k in range(VIEWS)
        ]
    views = (correction,) * VIEWS
    if way == SIDE_BY_SIDE:
        return [Belt(source=_belt(wide, 1, belt_s), flat_field=views, config=config, keep=1)]
    plans = [ViewPlan(correction.elements)] * VIEWS
    source = PairedSource(
        [_View(single, correction.elements, belt_s) for _ in range(VIEWS)],
        Pairing(plans, config.counts_per_line),
    )
    return [Belt(source=source, flat_field=views, config=config, keep=1)]
