"""The probe's arithmetic."""

from __future__ import annotations

from xedge_benchmarks.lane_probe import EngineLog, summary

from xedge.types import Detections


def test_work_is_counted_where_it_overlaps() -> None:
    log = EngineLog(lambda planes: Detections.empty())
    log.spans += [(0, 10), (20, 30), (40, 50)]
    assert log.worked_ns(25, 45) == 10
    assert log.worked_ns(10, 20) == 0


def test_a_percentile_needs_samples() -> None:
    assert summary([1_000_000] * 99)["p99"] is None
    assert summary([1_000_000] * 100)["p99"] == 1.0
    assert summary([]) == {"n": 0, "p50": None, "p99": None, "p99.9": None, "max": None}
