"""A lane whose correction follows its detector: the same decisions, and no bag learned as air."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.lane import Journal, LaneConfig, run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.config import FULL
from xedge.lane.core import LaneCore
from xedge.lane.events import Note, StripArrived
from xedge.lane.journal import JournalReader
from xedge.lane.journal.replay import replay
from xedge.lane.journal.schema import DATABASE
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.follow import FollowConfig
from xedge.scanner.intake import Refusal
from xedge.scanner.windows import WindowPlan
from xedge.types import AIR_COUNTS, Detections, Reason, Strip, Verdict

ELEMENTS = 64
OFFSET, CONTRAST = 900.0, 40_000.0
LINE_NS = 3_100_000
LINES_AN_HOUR = 3600e9 / LINE_NS
NOISE = np.random.default_rng(7).normal(0, 0.003, (2, 997, ELEMENTS))  # no strip is as long
ACROSS = np.sin(np.arange(ELEMENTS))
"""Elements drift by different amounts, and in both directions."""


def flat_field() -> FlatField:
    shape = (2, ELEMENTS)
    return FlatField(np.full(shape, OFFSET, np.float32),
                     np.full(shape, AIR_COUNTS / CONTRAST, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def config(follow: FollowConfig) -> LaneConfig:
    return LaneConfig(
        pitch_mm=1.0, counts_per_mm=1.0, deadline_counts=100_000, correction=follow,
        windows=WindowPlan(256, 32, 2), cutter=CutterConfig(max_bag_lines=600),
    )  # fmt: skip


def counts(first, shares, level=1.0, offset=OFFSET):
    rows = np.arange(first, first + len(shares)) % NOISE.shape[1]
    signal = shares * level * (1 + NOISE[:, rows])
    read_out = 400 * NOISE[:, rows]  # a count, with or without X-rays
    return (offset + CONTRAST * signal + read_out).round().clip(0, 65_535).astype(np.uint16)


def belt(bags, *, hourly=0.0, gap=700, size=64, extra=None):
    """Strips with a bag of 200 lines behind each gap; air drifts by a share ``hourly``.

    A bag is what it lets through: 0.1 has a threat in it, by `threat_in`.
    """
    shares = []
    for bag in bags:
        here = np.ones((gap + 200, ELEMENTS), np.float32)
        here[gap:, 8:56] = bag
        shares.append(here)
    shares.append(np.ones((300, ELEMENTS), np.float32))
    belt = np.concatenate(shares)
    for first in range(0, len(belt), size):
        part = belt[first : first + size]
        at = np.arange(first, first + len(part))
        level = 1 + hourly / LINES_AN_HOUR * at[:, None] * (0.75 + 0.25 * ACROSS)
        low, high = counts(first, part, level)
        yield Strip(first, at.astype(np.int64), low, high, (first + len(part)) * LINE_NS)


def threat_in(planes) -> Detections:
    score = 0.9 if (planes[0] < 64).mean() > 0.3 else 0.1
    return Detections(np.array([[4, 4, 20, 20]], np.float32), np.array([score], np.float32),
                      np.array([1], np.int32))  # fmt: skip


def screened(strips, follow, **more):
    seen = []
    report = run_lane(
        strips, threat_in, flat_field(), config(follow), clock=VirtualClock(),
        on_decision=lambda decision, scan: seen.append((decision, scan)), **more,
    )  # fmt: skip
    assert report.ledger.balanced
    assert report.errors == ()
    return report, seen


def air_of(scan) -> np.ndarray:
    """What each element reads on the air before a bag, as a share of air, both energies."""
    return np.concatenate([scan.low[:14].mean(axis=0), scan.high[:14].mean(axis=0)]) / AIR_COUNTS


@settings(max_examples=3)
@given(
    hourly=st.floats(-0.4, 0.4),
    bags=st.lists(st.sampled_from([0.1, 0.5, 0.8]), min_size=24, max_size=30),
)
def test_a_belt_that_drifts_is_decided_as_one_that_does_not(hourly, bags) -> None:
    steady, _ = screened(belt(bags), FollowConfig.off())
    report, seen = screened(belt(bags, hourly=hourly), FollowConfig())
    assert len(report.decisions) == len(bags)
    for one, other in zip(report.decisions, steady.decisions, strict=True):
        assert (one.bag, one.verdict, one.reasons) == (other.bag, other.verdict, other.reasons)
        assert abs(one.encoder_head - other.encoder_head) <= 1
        assert abs(one.encoder_tail - other.encoder_tail) <= 1
        np.testing.assert_array_equal(one.detections.boxes, other.detections.boxes)
    assert {d.verdict for d in report.decisions} <= {Verdict.CLEAR, Verdict.ALARM}
    # 2e-3 bring a correction into force, and it lags by 4 blocks of 330 lines at 40 % an hour,
    # 5e-4; an element's mean over 14 lines has noise of 8e-4, of which 128 x 40 show 4 deviations.
    for _, scan in seen:
        assert np.abs(air_of(scan) - 1).max() < 2e-3 + 5e-4 + 4 * 8e-4


def test_without_following_the_same_drift_shows() -> None:
    _, seen = screened(belt([0.5] * 40, hourly=-0.4), FollowConfig.off())
    assert air_of(seen[-1][1]).min() < 0.99


@settings(max_examples=10)
@given(share=st.floats(0.02, 0.9), standing=st.integers(1, 80), still=st.booleans())
def test_a_bag_that_stands_under_the_beam_is_not_learned_as_air(share, standing, still) -> None:
    """The belt stops with a bag on it, or an encoder errs and counts on."""
    core = LaneCore(flat_field(), config(FollowConfig(step=2e-3, block_lines=64)))
    before = core.correction_sha256
    line = 0
    notes = []

    def show(strips, matter, moving):
        nonlocal line
        for _ in range(strips):
            shares = np.ones((32, ELEMENTS))
            shares[:, 8:56] = share if matter else 1.0
            places = line + (np.arange(32) if moving else np.zeros(32, np.int64))
            raw = counts(line, shares)
            strip = Strip(line, places.astype(np.int64), *raw, (line + 32) * LINE_NS)
            happened = core.handle(StripArrived(strip), line * LINE_NS)
            notes.extend(action for action in happened if isinstance(action, Note))
            line += 32 if moving else 0

    show(20, False, True)
    show(2, True, True)
    show(standing, True, not still)
    show(2, True, True)
    show(20, False, True)
    assert [n.kind for n in notes if n.kind.startswith("correction")] == []
    assert core.correction_sha256 == before
    assert core.health.air == pytest.approx((1.0, 1.0), abs=2e-3)


def test_faint_matter_inside_a_bag_is_not_learned_as_air() -> None:
    """A soft bag whose seam alone is dark: all the rest reads 98 %, which idle belt may."""
    core = LaneCore(flat_field(), config(FollowConfig(step=2e-3, block_lines=64)))
    seen = set()
    for first in range(0, 8000, 32):
        shares = np.ones((32, ELEMENTS))
        if first >= 640:
            shares[:, 4:60] = 0.98
            shares[::16, 30:34] = shares[1::16, 30:34] = 0.5
        at = np.arange(first, first + 32, dtype=np.int64)
        core.handle(StripArrived(Strip(first, at, *counts(first, shares), first * LINE_NS)), 0)
        seen.add(core.ledger.bags_in > 0)
    assert seen == {False, True}
    # A quarter of the noise of a block's mean, 7.5e-4, is followed: far less than the 0.02 inside.
    np.testing.assert_allclose(core._detector._views[0]._follower._air, 1.0, atol=2e-3)


@pytest.mark.parametrize("follow", [FollowConfig(block_lines=64), FollowConfig.off()])
@pytest.mark.parametrize("gain", [1.05, 2.0])
def test_no_bag_is_cleared_while_a_board_reads_too_much(follow, gain) -> None:
    """What lets half through reads as air there: a stripe of ten millimetres shows nothing."""
    shares = []
    for bag in range(9):
        here = np.ones((1900, ELEMENTS), np.float32)
        here[1700:, 8:56] = 0.5
        here[:, 20:36] *= gain if 3 <= bag < 6 else 1.0
        shares.append(here)
    belt = np.concatenate([*shares, np.ones((300, ELEMENTS), np.float32)])
    strips = []
    for first in range(0, len(belt), 64):
        part = belt[first : first + 64]
        at = np.arange(first, first + len(part), dtype=np.int64)
        strips.append(Strip(first, at, *counts(first, part), (first + len(part)) * LINE_NS))
    report = run_lane(strips, threat_in, flat_field(), config(follow), clock=VirtualClock())
    assert report.ledger.balanced
    sound, fault = (Verdict.CLEAR, Reason.NONE), (Verdict.NOT_CLEARED, Reason.DETECTOR_FAULT)
    assert [(d.verdict, d.reason) for d in report.decisions] == [*[sound] * 3, *[fault] * 3,
                                                                 *[sound] * 3]  # fmt: skip
    assert any("16 elements, 20 to 35, read up to" in error for error in report.errors)
    assert report.health.problems == ()


def test_what_hangs_in_the_tunnel_is_not_learned_as_air() -> None:
    """Three elements wide: too narrow for a bag, and always there."""
    core = LaneCore(flat_field(), config(FollowConfig(step=2e-3, block_lines=64)))
    for first in range(0, 20_000, 64):
        shares = np.ones((64, ELEMENTS))
        shares[:, 30:33] = 0.93
        at = np.arange(first, first + 64, dtype=np.int64)
        core.handle(StripArrived(Strip(first, at, *counts(first, shares), first * LINE_NS)), 0)
    gain = core._detector._views[0].flat_field.gain
    np.testing.assert_allclose(gain[:, 30:33], AIR_COUNTS / CONTRAST, rtol=1e-6)


def test_a_shift_with_drift_is_decided_again_bit_for_bit(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with Journal(folder) as journal:
        report, _ = screened(belt([0.5, 0.1] * 10, hourly=-0.4), FollowConfig(), journal=journal)
    with JournalReader(folder) as reader:
        outcome = replay(reader, {FULL: threat_in})
        changed = [r for r in reader.records() if r["kind"] == "correction-changed"]
        rows = reader.bags()
        (boot,) = reader.boots()
    assert outcome.differences == []
    assert outcome.compared == len(report.decisions) == 20
    assert len(changed) >= 3
    assert [one["version"] for one in changed] == list(range(1, len(changed) + 1))
    # Each bag names the correction it was screened by: as made at first, then each in its turn.
    named = [row["correction_sha256"] for row in rows]
    assert boot.flat_field is not None
    assert named[0] == boot.flat_field.digest
    order = [boot.flat_field.digest, *(one["sha256"] for one in changed)]
    assert len(set(named)) > 2
    assert [order.index(one) for one in named] == sorted(order.index(one) for one in named)


def test_a_correction_that_was_another_is_a_difference(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with Journal(folder) as journal:
        screened(belt([0.5] * 3), FollowConfig(), journal=journal)
    base = sqlite3.connect(folder / DATABASE)
    base.execute("UPDATE bags SET correction_sha256 = 'other' WHERE bag = 2")
    base.commit()
    base.close()
    with JournalReader(folder) as reader:
        outcome = replay(reader, {FULL: threat_in})
    assert [(d.bag, d.what) for d in outcome.differences] == [(2, "correction_sha256")]


def strips_of(parts):
    """Strips of parts ``(lines, share, level, offset, moving)``, one behind the other."""
    place = line = 0
    for lines, share, level, offset, moving in parts:
        shares = np.ones((lines, ELEMENTS))
        shares[:, 8:56] = share
        for k in range(0, lines, 32):
            part = shares[k : k + 32]
            steps = np.arange(1, len(part) + 1) * int(moving)
            raw = counts(line, part, level, offset)
            yield Strip(line, place + steps.astype(np.int64), *raw, (line + len(part)) * LINE_NS)
            place, line = place + int(steps[-1]), line + len(part)


def test_an_offset_that_moved_is_taken_anew_while_the_belt_stands_and_the_tube_is_off() -> None:
    parts = [(640, 1.0, 1.0, OFFSET, True), (640, 1.0, 0.0, OFFSET + 80, False),
             (640, 1.0, 1.0, OFFSET + 80, True), (200, 0.05, 1.0, OFFSET + 80, True),
             (300, 1.0, 1.0, OFFSET + 80, True)]  # fmt: skip
    seen = {}
    for name, follow in (("follows", FollowConfig()), ("stays", FollowConfig.off())):
        report, bags = screened(strips_of(parts), follow)
        assert report.ledger.refused_lines.keys() <= {Refusal.STANDING, Refusal.TUBE_OFF}
        seen[name] = bags[0][1].low[50:150, 20:40].mean() / AIR_COUNTS
    assert seen["follows"] == pytest.approx(0.05, abs=2e-4)
    assert seen["stays"] > 0.0515


REFERENCE = FollowConfig(reference=((0, 7), (56, 63)))


def test_a_tube_that_moves_from_line_to_line_is_followed_line_by_line() -> None:
    rng = np.random.default_rng(3)
    steady = [(640, 1.0, 1.0, OFFSET, True), (200, 0.5, 1.0, OFFSET, True),
              (300, 1.0, 1.0, OFFSET, True)]  # fmt: skip
    ramping = [(lines, share, 1 + rng.uniform(-0.12, 0.06, (lines, 1)), offset, moving)
               for lines, share, _, offset, moving in steady]  # fmt: skip

    def strips():
        place = 0
        for lines, share, level, _, _ in ramping:
            shares = np.ones((lines, ELEMENTS))
            shares[:, 8:56] = share
            for k in range(0, lines, 32):
                low, high = counts(place, shares[k : k + 32], level[k : k + 32])
                at = np.arange(place, place + len(low), dtype=np.int64)
                yield Strip(place, at, low, high, (place + len(low)) * LINE_NS)
                place += len(low)

    quiet, _ = screened(strips_of(steady), REFERENCE)
    report, bags = screened(strips(), REFERENCE)
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR]
    one, other = report.decisions[0], quiet.decisions[0]
    assert one.encoder_tail - one.encoder_head == other.encoder_tail - other.encoder_head
    # The level has noise of 0.003 x 1.25 / sqrt(8), 1.3e-3, the brighter of two 0.6 of that more.
    assert bags[0][1].low[50:150, 20:40].mean() / AIR_COUNTS == pytest.approx(0.5, abs=1e-3)
    wild, _ = screened(strips(), FollowConfig())
    assert [d.verdict for d in wild.decisions] != [Verdict.CLEAR]


def test_a_tube_that_fades_is_told_from_matter_by_its_reference_elements() -> None:
    parts = [(640, 1.0, 1.0, OFFSET, True), (200, 0.5, 0.7, OFFSET, True),
             (300, 1.0, 1.0, OFFSET, True), (200, 0.5, 1.0, OFFSET, True),
             (300, 1.0, 1.0, OFFSET, True)]  # fmt: skip
    report, _ = screened(strips_of(parts), REFERENCE)
    assert report.ledger.refused_lines == {Refusal.TUBE_OFF: 200}
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR]
