"""`xedge bench lane`: a lane in real time, open loop, and what it adds around its engine."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from xedge.bundle import Bundle
from xedge.commands.screening import EngineUsed, warm_detector
from xedge.errors import ConfigError
from xedge.lane.clock import MonotonicClock
from xedge.lane.config import LaneConfig
from xedge.lane.ladder import Ladder
from xedge.lane.publisher import Publisher, Screen
from xedge.lane.realtime import RealTimeLane
from xedge.lane.report import LaneReport
from xedge.lane.runner import Belt, run_lanes
from xedge.lane.shared_engine import SharedEngine
from xedge.lane.steering import Steering
from xedge.machine import resident_bytes
from xedge.scanner.flatfield import FlatField
from xedge.scanner.steady import Steady
from xedge.sim.bank import BankBelt, Stretch, cut, render
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U8, Detections
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.percentiles import percentiles
from xedge_benchmarks.record import BenchRecord, bundle_digests, new_record
from xedge_benchmarks.stopwatch import Stopwatch, TimedCore

STRIP_LINES: Final = 32
NULL: Final = "null"
"""An engine that answers at once: what is left is the lane's."""

BESIDE: Final = ("nothing", "process", "thread")
"""What keeps a processor busy meanwhile: nothing, another process, a Python thread in this one."""

INGEST_LINES_S: Final = 4000
INGEST_VIEWS: Final = 4

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How lanes are measured.

    Attributes:
        engine: A back end's name, ``auto``, or ``null``.
        threads: Threads of the engine; None leaves one core to the detector's lines.
        speeds_m_s: Speeds of the belt, metres a second.
        lanes: How many lanes share the engine.
        beside: What runs beside; see `BESIDE`.
        seconds: Of each run.
        bags: In the bank.
        seed: Of the bank.

    Raises:
        ConfigError: When there is nothing to measure.
    """

    engine: str = "auto"
    threads: int | None = None
    speeds_m_s: tuple[float, ...] = (0.2, 0.5, 1.0, 2.5)
    lanes: tuple[int, ...] = (1, 2)
    beside: tuple[str, ...] = ("nothing",)
    seconds: float = 60.0
    bags: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        if not (self.speeds_m_s and self.lanes and self.beside):
            raise ConfigError("nothing is to be measured", expected="speeds and numbers of lanes")
        numbers = (*self.speeds_m_s, *self.lanes, self.seconds, self.bags)
        if min(numbers) <= 0 or not set(self.beside) <= set(BESIDE):
            raise ConfigError("a lane cannot be measured so", found=str(numbers),
                              expected=f"numbers above 0; beside: {', '.join(BESIDE)}")  # fmt: skip


def bench_lane(
    bundle: Bundle, settings: LaneSettings, tell: Progress = lambda what: None
) -> BenchRecord:
    """A record of real-time runs, one a speed, number of lanes and neighbour, and of the ingest.

    Args:
        bundle: The model, its ``fp32`` variant.
        settings: What to measure.
        tell: Told what is measured next.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
    """
    tell("rendering bags")
    bank, correction = rendered(settings)
    config = LaneConfig.for_model(bundle.spec)
    with Watch() as watch, open_screen(bundle, settings) as (screen, used):
        runs = list(run_each(bank, correction, screen, config, settings, tell))
    tell("ingest without an engine")
    ingest = _ingest(bank, correction, config)
    return new_record(
        "lane",
        models=bundle_digests(bundle),
        settings=dataclasses.asdict(settings) | {"threads": used.threads},
        results={"engine": f"{used.name} {used.version}".strip(), "runs": runs, "ingest": ingest},
        conditions=watch.conditions,
    )


def rendered(settings: LaneSettings) -> tuple[tuple[Stretch, ...], FlatField]:
    """The bank of bags that belts are made of, and the correction of their detector."""
    scanner = ScannerModel()
    bags = render(settings.seed, settings.bags, scanner, strip_lines=STRIP_LINES)
    bank = tuple(Stretch(cut(low, high, STRIP_LINES), ()) for low, high in bags)
    return bank, flat_field(scanner, settings.seed, settings.seed)


def run_each(
    bank: Sequence[Stretch],
    correction: FlatField,
    screen: Screen,
    config: LaneConfig,
    settings: LaneSettings,
    tell: Progress = lambda what: None,
) -> Iterator[dict[str, Any]]:
    """The figures of each run: of every neighbour, speed and number of lanes.

    Args:
        bank: What `rendered` made.
        correction: Of the detector.
        screen: The engine.
        config: Of every lane.
        settings: What to measure.
        tell: Told what is measured next.
    """
    for beside in settings.beside:
        for speed in settings.speeds_m_s:
            for lanes in settings.lanes:
                tell(f"{speed} m/s, {lanes} lanes, beside {beside}")
                belts = [
                    BankBelt(bank, (), seed=settings.seed + k, seconds=settings.seconds,
                             line_ns=ScannerModel().pitch_mm / speed * 1e6)
                    for k in range(lanes)
                ]  # fmt: skip
                with _beside(beside):
                    figures = _run(belts, screen, correction, config)
                yield {"speed_m_s": speed, "lanes": lanes, "beside": beside, **figures}


@contextmanager
def open_screen(bundle: Bundle, settings: LaneSettings) -> Iterator[tuple[Screen, EngineUsed]]:
    """The engine of the settings, and what it is."""
    if settings.engine == NULL:
        yield nothing_found, EngineUsed(NULL, "", 0)
        return
    with warm_detector(bundle, settings.engine, settings.threads) as (detector, used):
        yield detector.detect_window, used


def nothing_found(planes: U8) -> Detections:
    """The answer of the null engine."""
    return Detections.empty()


@contextmanager
def _beside(kind: str) -> Iterator[None]:
    with ExitStack() as stack:
        if kind == "process":
            process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
        elif kind == "thread":
            stop = threading.Event()
            thread = threading.Thread(target=_spin, args=(stop,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
        yield


def _spin(stop: threading.Event | None = None) -> None:
    """Work in Python, as somebody else's program does."""
    number = 1
    while stop is None or not stop.is_set():
        for _ in range(10_000):
            number = number * 1103515245 % 2147483648


def _run(
    belts: Sequence[BankBelt], screen: Screen, correction: FlatField, config: LaneConfig
) -> dict[str, Any]:
    """The figures of some lanes on one engine, all in real time."""
    clock = MonotonicClock()
    watches = [Stopwatch(clock) for _ in belts]
    # Who is served is known by the planes: one stopwatch books the engine for all lanes.
    engine = SharedEngine(Ladder(watches[0].timed(screen), (), clock=clock), clock.now_ns)
    lanes, publishers, cores = [], [], []
    for watch in watches:
        watch.share(watches[0])
        steering = Steering()
        core = TimedCore(correction, config, watch)
        publisher = Publisher(watch.on_decision, None, None, steering.vitals)
        lanes.append(RealTimeLane(core, engine, publisher, clock, config, steering))
        publishers.append(publisher)
        cores.append(core)
    rss, wall, cpu = _rss_mb(), time.monotonic(), time.process_time()
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="xedge-bench") as pool:
        done = [
            pool.submit(lane.run, Steady(belt)) for lane, belt in zip(lanes, belts, strict=True)
        ]
        for one in done:
            one.result()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    reports = [p.report(c, True) for p, c in zip(publishers, cores, strict=True)]
    return _figures(reports, watches, wall, cpu) | {"rss_mb": {"start": rss, "end": _rss_mb()}}


def _figures(
    reports: Sequence[LaneReport], watches: Sequence[Stopwatch], wall: float, cpu: float
) -> dict[str, Any]:
    ledgers = [report.ledger for report in reports]
    refused: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for report in reports:
        refused.update({cause.name: n for cause, n in report.ledger.refused_lines.items()})
        reasons.update({reason.name: n for reason, n in report.tally.reasons.items() if n})
    engine = watches[0].engine

    def all_of(name: str) -> list[int]:
        return [sample for watch in watches for sample in getattr(watch, name)]

    overhead = [sample for watch in watches for sample in watch.overhead_ns()]
    added, work = percentiles(overhead), percentiles(engine)
    both = added["p50"] is not None and work["p50"]
    return {
        "bags": sum(ledger.bags_in for ledger in ledgers),
        "decisions": sum(ledger.decisions for ledger in ledgers),
        "late": sum(report.late for report in reports),
        "not_cleared_by_reason": dict(reasons),
        "lines_in": sum(ledger.lines_in for ledger in ledgers),
        "lines_used": sum(ledger.bag_lines + ledger.gap_lines for ledger in ledgers),
        "lines_lost_by_cause": dict(refused),
        "ledger_balanced": all(ledger.balanced for ledger in ledgers),
        "latency_ms": percentiles(all_of("latencies")),
        "engine_ms": work,
        "added_ms": added,
        "added_share": added["p50"] / work["p50"] if both else None,
        "strip_ms": percentiles(all_of("strips")),
        "window_ms": percentiles(all_of("windows")),
        "answer_ms": percentiles(all_of("answers")),
        "decision_ms": percentiles(all_of("decisions")),
        "cpu_share": cpu / wall,
        "core_share": sum(report.core_s for report in reports) / wall,
        "seconds": wall,
    }


def _ingest(bank: Sequence[Stretch], correction: FlatField, config: LaneConfig) -> dict[str, Any]:
    """Processor time of four views' lines at 4,000 lines/s each, as lanes without an engine."""
    belts = [
        Belt(source=BankBelt(bank, (), seed=k, seconds=2.0, line_ns=1e9 / INGEST_LINES_S),
             flat_field=correction, config=config, keep=1)
        for k in range(INGEST_VIEWS)
    ]  # fmt: skip
    cpu = time.process_time()
    reports = run_lanes(belts, nothing_found)
    cpu = time.process_time() - cpu
    seconds = max(report.belt_s for report in reports)
    return {
        "lines_s": INGEST_LINES_S,
        "views": INGEST_VIEWS,
        "elements": correction.elements,
        "belt_s": seconds,
        "lines_in": sum(report.ledger.lines_in for report in reports),
        "core_share": cpu / seconds,
    }


def _rss_mb() -> float | None:
    """Resident memory of this process, MiB; None where the system does not say."""
    held = resident_bytes(os.getpid())
    return None if held is None else held / 2**20
