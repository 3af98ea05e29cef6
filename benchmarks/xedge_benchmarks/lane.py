"""`xedge bench lane`: lanes on the clock, fed on schedule: what they add around the engine."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xedge.bundle import Bundle
from xedge.commands.screening import warm_detector
from xedge.detector import Detector
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.events import StripArrived
from xedge.lane.ladder import Ladder
from xedge.lane.publisher import Publisher
from xedge.lane.realtime import RealTimeLane
from xedge.lane.report import LaneReport
from xedge.lane.shared_engine import SharedEngine
from xedge.lane.steering import Steering
from xedge.scanner.flatfield import FlatField
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import Strip
from xedge_benchmarks.interleave import CpuTimes, foreign_load_note
from xedge_benchmarks.lane_probe import EngineLog, ProbeClock, ProbedCore, Times, summary
from xedge_benchmarks.record import BenchRecord, new_record

BANK_SPEED: Final = 0.5
"""The bank's strips are drawn at this speed, metres a second, and re-timed for others."""

LOADS: Final = ("engine", "neighbour", "python")
"""What runs beside: nothing, a process that computes, a thread of this process that does."""


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How lanes are measured.

    Attributes:
        engine: A back end's name, or ``auto``.
        speeds: Speeds of the belt, metres a second.
        lanes: Numbers of lanes on the engine.
        bags: Bags on each belt.
        seed: Of the bank.
        threads: Threads of the engine; None leaves one core to the lines.
        loads: Of `LOADS`, each measured in turn.
    """

    engine: str = "auto"
    speeds: tuple[float, ...] = (0.2, 0.5, 1.0, 2.5)
    lanes: tuple[int, ...] = (1,)
    bags: int = 12
    seed: int = 1
    threads: int | None = None
    loads: tuple[str, ...] = ("engine",)


def bank_of(settings: LaneSettings) -> tuple[list[Strip], FlatField]:
    """Strips drawn beforehand, and their correction: simulating must not be the load."""
    scanner = ScannerModel()
    belt = SimulatedBelt(settings.seed, settings.bags, BANK_SPEED, scanner=scanner)
    return list(belt), flat_field(scanner, scanner.seed, scanner.seed)


def bench_lane(bundle: Bundle, settings: LaneSettings = LaneSettings()) -> BenchRecord:
    """A record with a row for each load, speed and number of lanes, and the cost of lines.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
    """
    bank, correction = bank_of(settings)
    with warm_detector(bundle, settings.engine, settings.threads) as (detector, used):
        before = CpuTimes.now()
        rows = [
            _run(detector, bank, correction, load, speed, lanes)
            for load in settings.loads
            for speed in settings.speeds
            for lanes in settings.lanes
        ]
        foreign = before.foreign_cores(CpuTimes.now())
    return new_record(
        "lane",
        models={
            bundle.spec.name: hashlib.sha256(bundle.model()).hexdigest(),
            "bundle": bundle.sha256,
        },
        settings=dataclasses.asdict(settings) | {"threads": used.threads},
        results={
            "runs": rows,
            "ingest": ingest_cost(bank, correction),
            "engine": f"{used.name} {used.version}",
        },
        notes=foreign_load_note(foreign),
    )


def ingest_cost(bank: list[Strip], correction: FlatField) -> dict[str, float]:
    """Processor time of the lane's core for its lines, windows cut but not screened."""
    core = LaneCore(correction, LaneConfig())
    began = time.process_time_ns()
    for strip in bank:
        core.handle(StripArrived(strip), strip.captured_ns)
    spent = time.process_time_ns() - began
    lines = sum(len(strip) for strip in bank)
    return {"lines": lines, "us_per_line": spent / lines / 1e3,
            "core_share_at_4000_lines_s_4_views": spent / lines * 16_000 / 1e9}  # fmt: skip


@contextlib.contextmanager
def _beside(load: str) -> Iterator[None]:
    """Something that computes meanwhile."""
    stop = threading.Event()
    if load == "neighbour":
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
            try:
                yield
            finally:
                neighbour.kill()
    elif load == "python":
        thread = threading.Thread(target=_spin, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
    else:
        yield


def _spin(stop: threading.Event) -> None:
    count = 0
    while not stop.is_set():
        count += 1


def _run(
    detector: Detector,
    bank: list[Strip],
    correction: FlatField,
    load: str,
    speed: float,
    lanes: int,
) -> dict[str, Any]:  # fmt: skip
    config = LaneConfig.for_model(detector.spec)
    log = EngineLog(detector.detect_window)
    scale = BANK_SPEED / speed
    strips = [dataclasses.replace(s, captured_ns=round(s.captured_ns * scale)) for s in bank]
    begun, wall, rss = os.times(), time.monotonic(), _rss_mb()
    with _beside(load):
        cores, reports = _drive(log, strips, correction, config, lanes)
    ended, wall_s = os.times(), time.monotonic() - wall
    spent = ended.user + ended.system - begun.user - begun.system
    engine_ns = [end - begin for begin, end in log.spans]
    row = {
        "load": load, "speed_m_s": speed, "lanes": lanes,
        **_totals(reports),
        "latency_ms": summary([d.latency_ns for r in reports for d in r.decisions]),
        "cpu_share": spent / wall_s,
        "rss_mb": {"start": rss, "end": _rss_mb()},
        "engine_ms": summary(engine_ns),
    }  # fmt: skip
    for part in dataclasses.fields(Times):
        row[f"{part.name}_ms"] = summary([n for c in cores for n in getattr(c.times, part.name)])
    added = [n for core in cores for n in core.times.added]
    if added and engine_ns:
        row["added_share_of_engine"] = float(np.median(added) / np.median(engine_ns))
    return row


def _drive(
    log: EngineLog, strips: list[Strip], correction: FlatField, config: LaneConfig, lanes: int
) -> tuple[list[ProbedCore], list[LaneReport]]:
    clocks = [ProbeClock() for _ in range(lanes)]
    cores = [ProbedCore(correction, config, log, clock) for clock in clocks]
    publishers = [Publisher(core.published, None) for core in cores]
    engine = SharedEngine(Ladder(log, clock=clocks[0]), clocks[0].now_ns)
    threads = [
        threading.Thread(
            target=RealTimeLane(core, engine, publisher, clock, config, Steering()).run,
            args=(clock.watched(strips),),
        )
        for core, publisher, clock in zip(cores, publishers, clocks, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cores, [p.report(c, True) for p, c in zip(publishers, cores, strict=True)]


def _totals(reports: list[LaneReport]) -> dict[str, Any]:
    """The books of all lanes together."""
    reasons: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for report in reports:
        reasons.update({reason.name: n for reason, n in report.tally.reasons.items() if n})
        lost.update({str(c.value): n for c, n in report.ledger.refused_lines.items() if n})
    books = [report.ledger for report in reports]
    return {
        "bags": sum(b.bags_in for b in books),
        "decisions": sum(b.decisions for b in books),
        "late": sum(r.late for r in reports),
        "not_cleared_by_reason": dict(reasons),
        "lines_in": sum(b.lines_in for b in books),
        "lines_used": sum(b.lines_in for b in books) - sum(lost.values()),
        "lines_lost_by_cause": dict(lost),
        "ledger_balanced": all(b.balanced for b in books),
    }


def _rss_mb() -> float:
    """Most memory that the process ever held, MiB: what grows shows, what is freed does not."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
