"""Whole belts through a lane: recorded, real, simulated, live; and the set-up of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from tests.xedge.lane.test_lane_runner import AIR, NOTHING, patient
from xedge.detector import Detector
from xedge.engines.fake import FakeEngine
from xedge.errors import ConfigError
from xedge.lane import LaneConfig, run_lane
from xedge.lane.clock import MonotonicClock, VirtualClock
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.intake import Refusal
from xedge.scanner.source import ArraySource, StripFileSource
from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.scanner.windows import WindowPlan
from xedge.sim.belt import SimulatedBelt
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS, Reason, Verdict


def test_a_recorded_belt_is_screened_like_the_live_one(belt, tmp_path: Path) -> None:
    marks = (AIR + "#" * 20) * 2 + AIR
    header = StripFileHeader(belt.elements, 1.0, 1.0, 1.0)
    with StripWriter(tmp_path / "belt.xstrip", header) as writer:
        for strip in belt.strips(marks):
            writer.write(strip)
    path = tmp_path / "belt.xstrip"
    data = bytearray(path.read_bytes())

    def verdicts():
        source = StripFileSource(path)
        try:
            report = run_lane(source, lambda planes: NOTHING, belt.flat_field, patient(belt))
        finally:
            source.close()
        return [(d.verdict, d.reason) for d in report.decisions], report.ledger

    assert verdicts()[0] == [(Verdict.CLEAR, Reason.NONE)] * 2
    marks_at = [k for k in range(len(data)) if data.startswith(b"XREC", k)]
    data[marks_at[5] + 100] ^= 1  # a byte of the payload of lines 25..29, inside the first bag
    path.write_bytes(data)
    said, ledger = verdicts()
    assert said == [(Verdict.NOT_CLEARED, Reason.BAD_LINES), (Verdict.CLEAR, Reason.NONE)]
    assert ledger.refused_lines == {Refusal.DAMAGED: 5}
    assert ledger.balanced


MODEL = ModelSpec(
    name="m", classes=("dense",), height=416, width=416, channels=Channels.DUAL_ENERGY,
    binning=2, pixel_mm=1.24, candidates=200, alarm_threshold=0.5, nms_iou=0.55,
)  # fmt: skip


def test_the_set_up_follows_the_model() -> None:
    config = LaneConfig.for_model(MODEL, counts_per_mm=4.0, deadline_mm=500.0)
    assert config.windows.lines == 832
    assert (config.deadline_counts, config.alarm_threshold) == (2000, 0.5)
    assert config.counts_per_line == pytest.approx(0.62 * 4)
    small = replace(MODEL, height=32, width=32)
    assert LaneConfig.for_model(small).windows == WindowPlan(64, 32, 2)


@pytest.mark.parametrize(
    "change",
    [{"deadline_counts": 0}, {"bag_limit_s": float("nan")}, {"alarm_threshold": 1.5},
     {"max_open_bags": 0}, {"pitch_mm": -1.0}],
)  # fmt: skip
def test_set_ups_that_cannot_be_are_refused(change) -> None:
    with pytest.raises(ConfigError):
        LaneConfig(**change)


@pytest.mark.parametrize("name", ["apple", "apple_polyethyleno", "chiken"])
def test_real_dual_energy_scans_go_through_a_lane(real_data: Path, name: str) -> None:
    """Streamed column by column: element 180 is dead for a part of the scan.

    There are no dark and air runs; the air is saturated, and the lane must say so.
    """
    record = loadmat(real_data / "dual-energy-lab" / f"basis_{name}.mat")
    low, high = (
        np.round(65_535 * np.exp(record[key])).clip(0, 65_535).astype(np.uint16).T.copy()
        for key in ("data_low", "data_high")
    )
    scans = []
    # The sample's stand shows as a faint rim of up to two dozen elements.
    config = replace(LaneConfig.for_model(MODEL), cutter=CutterConfig(min_elements=32))
    with Detector(FakeEngine(), MODEL) as detector:
        report = run_lane(
            ArraySource(low, high), detector.detect_window,
            FlatField.from_saturated_air(low, high), config,
            on_decision=lambda decision, scan: scans.append((decision, scan)),
            clock=VirtualClock(),
        )  # fmt: skip
    assert report.ledger.balanced
    assert report.ledger.lines_in == 512
    assert len(report.decisions) == report.windows == 1
    decision, scan = scans[0]
    # The fake engine boxes what lets through less than half of the low-energy rays.
    assert decision.verdict is Verdict.ALARM
    x1, y1, x2, y2 = decision.detections.boxes[0]
    dense = scan.low < 0.45 * AIR_COUNTS
    # Dead samples side by side are no glitches, stay, and are too small for a pixel of planes.
    assert dense[int(y1) : int(y2), int(x1) : int(x2)].sum() >= dense.sum() - 8
    assert decision.encoder_tail - decision.encoder_head > 200
    beside = np.minimum(scan.low[:, 179], scan.low[:, 181])
    assert (scan.low[:, 180] >= 0.5 * beside).all()
    assert set(report.health.intermittent[0]) == {180}
    assert all(0.6 < share < 0.9 for share in report.health.saturated_share)
    said = " / ".join(report.to_dict()["health"])
    for words in ("element 180 failed during the scan", "single dead samples", "saturated",
                  "no dark and air runs"):  # fmt: skip
        assert words in said


def test_a_simulated_belt_gives_a_decision_for_each_of_its_bags() -> None:
    scanner = ScannerModel()
    flat = FlatField.from_runs(*scanner.dark_run(64, 1), *scanner.air_run(64, 2))
    belt = SimulatedBelt(3, 2, 0.5, scanner=scanner)
    # Every bag has one or two windows, so runs 1 and later are those of different bags at last.
    with Detector(FakeEngine(fail_at={0}), MODEL) as detector:
        report = run_lane(
            belt, detector.detect_window, flat, LaneConfig.for_model(MODEL), clock=VirtualClock()
        )
    assert report.ledger.balanced
    assert report.ledger.missing_lines == sum(report.ledger.refused_lines.values()) == 0
    assert Reason.ENGINE_FAILED in report.decisions[0].reasons
    for decision, truth in zip(report.decisions, belt.truth, strict=True):
        assert decision.bag == truth.bag
        assert decision.verdict is not Verdict.CLEAR  # no bag is without dense matter
        middle = (truth.first_line + truth.last_line) / 2
        assert decision.encoder_head < middle < decision.encoder_tail
        assert truth.first_line - 16 <= decision.encoder_head
        assert decision.encoder_tail <= truth.last_line
        for found in truth.objects:
            top, bottom = truth.first_line + found.box[1], truth.first_line + found.box[3]
            assert decision.encoder_head <= top
            assert bottom <= decision.encoder_tail + 1
    assert not report.health.intermittent[0]
    assert report.health.glitches == (0, 0)


def test_a_live_source_is_on_the_machines_own_clock(belt) -> None:
    """What is old when it comes counts as old: its bag is late, and nothing is waited for."""

    class Old:
        live = True

        def __iter__(self):
            behind_ns = MonotonicClock().now_ns() - 3_600_000_000_000
            for strip in belt.strips("........####........"):
                yield replace(strip, captured_ns=strip.captured_ns + behind_ns)

    report = run_lane(Old(), lambda planes: NOTHING, belt.flat_field, belt.config(),
                      realtime=True)  # fmt: skip
    (decision,) = report.decisions
    assert decision.reason is Reason.TIMEOUT
    assert decision.latency_ns > 3_000_000_000_000
