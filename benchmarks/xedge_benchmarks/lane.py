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
from xedge.scanner.sidebyside import Corrections
from xedge.scanner.steady import Steady
from xedge.sim.bank import BankBelt, Stretch, cut, render
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U8, Detections
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.ingest import LINES_S, ROUNDS, measure_ingest, nothing_found, widened
from xedge_benchmarks.percentiles import percentiles, steady
from xedge_benchmarks.pretended import KINDS, pretended_engine
from xedge_benchmarks.record import BenchRecord, bundle_digests, new_record
from xedge_benchmarks.stopwatch import Stopwatch, TimedCore

STRIP_LINES: Final = 32
NULL: Final = "null"
"""An engine that answers at once: what is left is the lane's."""

COUNTED_S: Final = 10.0
"""Seconds of belt on which windows are counted, to know how long a run with so many takes."""

BESIDE: Final = ("nothing", "process", "thread")
"""What keeps a processor busy meanwhile: nothing, another process, a Python thread in this one."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How lanes are measured.

    Attributes:
        engine: A back end's name, ``auto``, ``null``, or one that only takes time, in a process
            of its own: ``pause`` or ``spin``, see `xedge_benchmarks.pretended`.
        threads: Threads of the engine; None leaves one core to the detector's lines.
        speeds_m_s: Speeds of the belt, metres a second.
        lanes: How many lanes share the engine.
        beside: What runs beside; see `BESIDE`.
        seconds: Of each run.
        windows: Windows of each run instead, about; None leaves it to the seconds.
        work_ms: What an engine that only takes time takes for a window.
        views: Views of each belt, lines side by side.
        ingest: Rounds in which the ingest is measured; 0 leaves it out.
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
    windows: int | None = None
    work_ms: float = 64.0
    views: int = 1
    ingest: int = ROUNDS
    bags: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        if not (self.speeds_m_s and self.lanes and self.beside):
            raise ConfigError("nothing is to be measured", expected="speeds and numbers of lanes")
        numbers = (*self.speeds_m_s, *self.lanes, self.seconds, self.bags, self.work_ms, self.views,
                   1 if self.windows is None else self.windows)  # fmt: skip
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
    ingest = None
    if settings.ingest:
        tell("ingest without an engine")
        ingest = measure_ingest(bank, correction, config, settings.ingest)
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
    wide = bank if settings.views == 1 else widened(bank, settings.views)
    views = correction if settings.views == 1 else (correction,) * settings.views
    work_ns = round(settings.work_ms * 1e6) if settings.engine in KINDS else None
    a_line = windows_a_line(bank, correction, config) * settings.views if settings.windows else 1.0
    for beside in settings.beside:
        for speed in settings.speeds_m_s:
            for lanes in settings.lanes:
                line_ns = ScannerModel().pitch_mm / speed * 1e6
                seconds = settings.seconds
                if settings.windows is not None:
                    seconds = settings.windows / (a_line * lanes) * line_ns * 1e-9
                tell(f"{speed} m/s, {lanes} lanes, beside {beside}: {seconds:.0f} s")
                belts = [
                    BankBelt(wide, (), seed=settings.seed + k, seconds=seconds, line_ns=line_ns)
                    for k in range(lanes)
                ]
                with _beside(beside):
                    figures = _run(belts, screen, views, config, work_ns)
                yield {"speed_m_s": speed, "lanes": lanes, "beside": beside, **figures}


@contextmanager
def open_screen(bundle: Bundle, settings: LaneSettings) -> Iterator[tuple[Screen, EngineUsed]]:
    """The engine of the settings, and what it is."""
    if settings.engine == NULL:
        yield nothing_found, EngineUsed(NULL, "", 0)
        return
    if settings.engine in KINDS:
        work_s = settings.work_ms * 1e-3
        with pretended_engine(settings.engine, work_s, bundle.spec) as engine:
            yield engine, EngineUsed(settings.engine, f"{settings.work_ms:g} ms", 0)
        return
    with warm_detector(bundle, settings.engine, settings.threads) as (detector, used):
        yield detector.detect_window, used


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
    belts: Sequence[BankBelt],
    screen: Screen,
    correction: Corrections,
    config: LaneConfig,
    work_ns: int | None,
) -> dict[str, Any]:
    """The figures of some lanes on one engine, all in real time."""
    clock = MonotonicClock()
    watches = [Stopwatch(clock, work_ns=work_ns) for _ in belts]
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

    overhead = all_of("overheads")
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
        "added_steady": steady(overhead),
        "added_share": added["p50"] / work["p50"] if both else None,
        "strip_ms": percentiles(all_of("strips")),
        "window_ms": percentiles(all_of("windows")),
        "answer_ms": percentiles(all_of("answers")),
        "decision_ms": percentiles(all_of("decisions")),
        "cpu_share": cpu / wall,
        "core_share": sum(report.core_s for report in reports) / wall,
        "seconds": wall,
    }


def windows_a_line(bank: Sequence[Stretch], correction: FlatField, config: LaneConfig) -> float:
    """Windows for each line of a belt, of each view: what a run of so many windows takes."""
    asked = 0

    def count(planes: U8) -> Detections:
        nonlocal asked
        asked += 1
        return nothing_found(planes)

    belt = BankBelt(bank, (), seed=1, seconds=COUNTED_S, line_ns=1e9 / LINES_S)
    (report,) = run_lanes([Belt(source=belt, flat_field=correction, config=config)], count)
    return asked / report.ledger.lines_in


def _rss_mb() -> float | None:
    """Resident memory of this process, MiB; None where the system does not say."""
    held = resident_bytes(os.getpid())
    return None if held is None else held / 2**20
