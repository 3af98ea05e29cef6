"""Scenes of a soak in which a detector drifts: within what a correction follows, and beyond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from xedge.commands.soak_judge import Broken, FaultCount
from xedge.lane.clock import VirtualClock
from xedge.lane.config import LaneConfig
from xedge.lane.report import LaneReport
from xedge.lane.runner import run_lane
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.follow import FollowConfig
from xedge.scanner.windows import WindowPlan
from xedge.sim.faults.drift import Drift, DriftingSource
from xedge.types import AIR_COUNTS, U8, Detections, Strip, Verdict

ELEMENTS: Final = 64
DARK_COUNTS: Final = 900.0
AIR_ABOVE_DARK: Final = 40_000.0
NOISE: Final = 0.003
LINE_NS: Final = 3_100_000
STRIP_LINES: Final = 32

AIR_LINES: Final = 448
BAG_LINES: Final = 192
BAGS: Final = 100
DARK_EVERY: Final = 10
"""Bags from one rest to the next, in which the belt stands and the tube is off."""

DARK_STRIPS: Final = 14
LINES: Final = BAGS * (AIR_LINES + BAG_LINES) + BAGS // DARK_EVERY * DARK_STRIPS * STRIP_LINES

WITHIN: Final = 0.015
"""Share of air: half of the limit, at three quarters of the pace that is followed."""

BEYOND: Final = 0.12
DARK_WITHIN: Final = 0.003
DARK_BEYOND: Final = 0.012

PLACE_LINES: Final = 2
"""Lines by which a bag's ends may move: its rim is faint, and air lags behind by 0.3 %."""


def correction() -> FlatField:
    """The correction as it was made."""
    shape = (2, ELEMENTS)
    return FlatField(np.full(shape, DARK_COUNTS, np.float32),
                     np.full(shape, AIR_COUNTS / AIR_ABOVE_DARK, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def belt(seed: int) -> Iterator[Strip]:
    """A bag behind each stretch of air, every second one with something dense in it."""
    rng = np.random.default_rng(seed)
    line = place = 0

    def strips(shares: np.ndarray[tuple[int, int], np.dtype[np.float64]], moves: bool
               ) -> Iterator[Strip]:  # fmt: skip
        nonlocal line, place
        for k in range(0, len(shares), STRIP_LINES):
            part = shares[k : k + STRIP_LINES]
            # Without X-rays there is no noise of theirs: a count or two is left.
            signal = part * (1 + rng.normal(0, NOISE, (2, *part.shape)))
            counts = DARK_COUNTS + AIR_ABOVE_DARK * signal + rng.normal(0, 1.5, signal.shape)
            low, high = np.rint(counts).astype(np.uint16)
            steps = np.arange(1, len(part) + 1) * int(moves)
            yield Strip(line, place + steps, low, high, (line + len(part)) * LINE_NS)
            line, place = line + len(part), place + int(steps[-1])

    for bag in range(BAGS):
        shares = np.ones((AIR_LINES + BAG_LINES, ELEMENTS))
        shares[AIR_LINES:, 8:56] = 0.5
        if bag % 2:
            shares[AIR_LINES + 64 : AIR_LINES + 128, 16:48] = 0.05
        yield from strips(shares, True)
        if bag % DARK_EVERY == DARK_EVERY - 1:
            yield from strips(np.ones((AIR_LINES, ELEMENTS)), True)
            yield from strips(np.zeros((DARK_STRIPS * STRIP_LINES, ELEMENTS)), False)
    yield from strips(np.ones((AIR_LINES, ELEMENTS)), True)


def dense(planes: U8) -> Detections:
    """One box where something is dense."""
    score = 0.9 if np.count_nonzero(planes[1] < 40) > 200 else 0.1
    return Detections(np.array([[4, 4, 20, 20]], np.float32), np.array([score], np.float32),
                      np.zeros(1, np.int32))  # fmt: skip


def screened(seed: int, drift: Drift | None) -> LaneReport:
    """What a lane that follows says of the belt."""
    made = correction()
    config = LaneConfig(
        pitch_mm=1.0, counts_per_mm=1.0, deadline_counts=10_000, correction=FollowConfig(),
        windows=WindowPlan(256, 32, 2), cutter=CutterConfig(max_bag_lines=600),
    )  # fmt: skip
    strips = belt(seed) if drift is None else DriftingSource(belt(seed), made, drift)
    return run_lane(strips, dense, made, config, clock=VirtualClock())


def drift_within(seed: int, broken: Broken) -> FaultCount:
    """Gain and dark drift as far and as fast as is followed: the lane must do as without."""
    sign = -1.0 if seed % 2 else 1.0
    drift = Drift(lines=LINES, gain=(sign * WITHIN, -sign * WITHIN),
                  dark=(DARK_WITHIN, -DARK_WITHIN))  # fmt: skip
    steady, report = screened(seed, None), screened(seed, drift)
    wrong = _kept(report)
    if len(report.decisions) != len(steady.decisions):
        wrong.append(f"{len(report.decisions)} decisions, not {len(steady.decisions)}")
    for one, other in zip(report.decisions, steady.decisions, strict=False):
        if (one.verdict, one.reasons) != (other.verdict, other.reasons):
            wrong.append(f"bag {one.bag} is {one.verdict.name} instead of {other.verdict.name}")
        ends = ((one.encoder_head, other.encoder_head), (one.encoder_tail, other.encoder_tail))
        if any(abs(a - b) > PLACE_LINES for a, b in ends):
            wrong.append(f"bag {one.bag} is at {one.encoder_head} to {one.encoder_tail} instead "
                         f"of {other.encoder_head} to {other.encoder_tail}")  # fmt: skip
    if report.health.wanted:
        wrong.append(f"a new correction is asked for: {report.health.wanted}")
    if report.health.version <= steady.health.version:
        wrong.append("nothing was followed")
    return _counted("drift-within", wrong, broken)


def drift_beyond(seed: int, broken: Broken) -> FaultCount:
    """They drift farther: it must be said, and whatever a bag looks like then, none passes."""
    sign = -1.0 if seed % 2 else 1.0
    drift = Drift(lines=LINES * 3 // 4, gain=(sign * BEYOND, sign * BEYOND),
                  dark=(DARK_BEYOND, DARK_BEYOND))  # fmt: skip
    report = screened(seed, drift)
    wrong = _kept(report)
    for what in (" air ", "the dark reads"):
        if not any(what in why for why in report.health.recalibrate):
            wrong.append(f"no new correction is asked for because of {what.strip()}")
    if not any("make a new correction" in error for error in report.errors):
        wrong.append("the lane's errors say nothing of it")
    clear = [(d.encoder_head, d.encoder_tail) for d in report.decisions
             if d.verdict is Verdict.CLEAR]  # fmt: skip
    wrong += [
        f"counts {head} to {tail} are CLEAR, and bag {bag + 1} with something dense lies there"
        for head, tail in clear
        for bag, (first, last) in enumerate(_places())
        if bag % 2 and first <= tail and last >= head
    ]
    return _counted("drift-beyond", wrong, broken)


def _places() -> list[tuple[int, int]]:
    """First and last line of each bag."""
    places, at = [], 0
    for bag in range(BAGS):
        places.append((at + AIR_LINES + 1, at + AIR_LINES + BAG_LINES))
        at += AIR_LINES + BAG_LINES
        at += AIR_LINES if bag % DARK_EVERY == DARK_EVERY - 1 else 0
    return places


def _kept(report: LaneReport) -> list[str]:
    """Which promises that hold whatever drifts were broken, in words."""
    wrong = [f"bag {d.bag} is CLEAR with {sorted(d.reasons)}" for d in report.decisions
             if d.verdict is Verdict.CLEAR and (d.reasons or d.late)]  # fmt: skip
    if [d.bag for d in report.decisions] != list(range(1, report.ledger.bags_in + 1)):
        wrong.append(f"{len(report.decisions)} decisions for {report.ledger.bags_in} bags")
    if not report.ledger.balanced:
        wrong.append(f"the ledger does not balance: {report.ledger.to_dict()}")
    return wrong


def _counted(name: str, wrong: list[str], broken: Broken) -> FaultCount:
    for sentence in wrong:
        broken.add(name, sentence)
    return FaultCount(injected=1, seen=int(not wrong), missed=int(bool(wrong)))
