"""`xedge bench scenarios`: a model under MLPerf's four scenarios, from counts to detections."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from xedge.bundle import Bundle
from xedge.commands.evaluated import FRESH_SEED
from xedge.commands.screening import EngineUsed, named_engine
from xedge.engines import usable
from xedge.errors import ConfigError
from xedge.lane.clock import MonotonicClock
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.chain import Chain, open_chain
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import bag_counts, work_told
from xedge_benchmarks.load import (
    OFFLINE,
    QUOTED,
    SERVER,
    Answers,
    plan,
    serve,
    throughput_interval,
)
from xedge_benchmarks.percentiles import percentiles, steady
from xedge_benchmarks.record import BenchRecord, Json, bundle_digests, new_record

FULL: Final = 0.95
"""A server that works for a larger share of the time does not keep up: its queue only grows."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ScenarioSettings:
    """How scenarios are measured.

    Attributes:
        engines: Names of back ends, or ``auto``.
        scenarios: Keys of `QUOTED`.
        variant: Which graph of the bundle.
        queries: Of each scenario; windows of `OFFLINE`.
        streams: Windows of a query of `MULTI_STREAM`.
        load: Share of the time that `SERVER` is to be busy, from what windows took beforehand.
        rate: Queries a second of `SERVER` instead of a load.
        warmup: Windows beforehand that are not counted.
        bags: Simulated bags whose first windows are asked for.
        seed: Of the first of them, and of the draws.
        accuracy_bags: Fresh bags that accuracy is measured on; 0 measures none.
        threads: Threads of one run; None for every physical core.
        within_s: Seconds after which nothing more is asked for, a fair share of them for each
            scenario; None sets no end.

    Raises:
        ConfigError: When there is no such scenario, or a number cannot be used.
    """

    engines: tuple[str, ...] = ("auto",)
    scenarios: tuple[str, ...] = tuple(QUOTED)
    variant: str = "fp32"
    queries: int = 400
    streams: int = 8
    load: float = 0.5
    rate: float | None = None
    warmup: int = 20
    bags: int = 8
    seed: int = 1
    accuracy_bags: int = 40
    threads: int | None = None
    within_s: float | None = None

    def __post_init__(self) -> None:
        for scenario in self.scenarios:
            plan(scenario, self.queries, self.bags, streams=self.streams, rate=self.rate or 1.0)
        if not 0 < self.load < 1 or self.warmup < 1 or self.accuracy_bags < 0:
            raise ConfigError(
                "scenarios cannot be measured so",
                expected="a load between 0 and 1, a window of warm-up or more, no negative bags",
                found=f"load {self.load}, warm-up {self.warmup}, {self.accuracy_bags} bags",
            )


def bench_scenarios(
    bundle: Bundle,
    settings: ScenarioSettings = ScenarioSettings(),
    tell: Progress = lambda what: None,
) -> BenchRecord:
    """A record of each engine under each scenario; ``results.rows`` has one row for each.

    Args:
        bundle: The model.
        settings: Engines, scenarios and their size.
        tell: Told what is measured next.

    Raises:
        EngineError: When an engine is not installed or refuses the model.
        BundleError: When the bundle has no such variant.
        ConfigError: When the model takes no dual-energy planes or finds no objects.
    """
    for name in settings.engines:
        usable(name)  # before an hour is spent on the first of them
    used = [named_engine(name, settings.threads) for name in settings.engines]
    counts = bag_counts(bundle.spec, settings.bags, settings.seed)
    budget = Budget(settings.within_s)
    rows: list[Json] = []
    engines: list[Json] = []
    with Watch() as watch:
        for left, engine in zip(range(len(used), 0, -1), used, strict=True):
            tell(f"{engine.name}: loading")
            with open_chain(bundle, engine, settings.variant, counts) as chain:
                rows += _rows(chain, engine, settings, budget.part(left), tell)
                engines.append(_engine(chain, engine, settings, tell))
    return new_record(
        "scenarios",
        models=bundle_digests(bundle),
        settings=dataclasses.asdict(settings) | {"threads": used[0].threads},
        results={
            "engines": engines,
            "rows": rows,
            "work": work_told(bundle.model(settings.variant)),
        },
        conditions=watch.conditions,
        notes=warnings(rows),
    )


def _engine(chain: Chain, used: EngineUsed, settings: ScenarioSettings, tell: Progress) -> Json:
    bags, accuracy = settings.accuracy_bags, None
    if bags:
        tell(f"{used.name}: accuracy on {bags} fresh bags")
        accuracy = chain.accuracy(bags, FRESH_SEED)
    return {
        "engine": used.name,
        "version": used.version,
        "threads": used.threads,
        "variant": settings.variant,
        "load_ms": chain.load_ms,
        "first_ms": chain.first_ms,
        "accuracy": accuracy,
    }


def _rows(
    chain: Chain, used: EngineUsed, settings: ScenarioSettings, budget: Budget, tell: Progress
) -> list[Json]:
    rate = settings.rate or settings.load / warm(chain, settings.warmup)
    rows = []
    for left, scenario in zip(
        range(len(settings.scenarios), 0, -1), settings.scenarios, strict=True
    ):
        tell(f"{used.name}: {scenario}")
        mine = budget.part(left)
        queries = plan(
            scenario, settings.queries, settings.bags,
            streams=settings.streams, rate=rate, seed=settings.seed,
        )  # fmt: skip
        chain.stages_ms()
        answers = serve(chain, queries, MonotonicClock(), mine.over)
        rows.append(
            {"engine": used.name}
            | scenario_row(scenario, answers, rate)
            | {"stages_ms": chain.stages_ms()}
        )
        done = len(answers.samples_ns if scenario == OFFLINE else answers.latencies_ns)
        for note in mine.stopped("queries", done, settings.queries):
            rows[-1]["stopped"] = note
    return rows


def warm(chain: Chain, windows: int) -> float:
    """Seconds that a window takes, the median of some that were screened now."""
    queries = plan(OFFLINE, windows, len(chain.counts))
    return statistics.median(serve(chain, queries, MonotonicClock()).samples_ns) / 1e9


def scenario_row(scenario: str, answers: Answers, rate: float) -> Json:
    """What a record says of one engine under one scenario, without its name and its stages."""
    offline = scenario == OFFLINE
    return {
        "scenario": scenario,
        "quoted": QUOTED[scenario],
        "queries": len(answers.latencies_ns),
        "samples_per_query": len(answers.samples_ns) // len(answers.latencies_ns),
        "offered_per_s": rate if scenario == SERVER else None,
        "samples_per_s": answers.samples_per_s,
        "samples_per_s_95": throughput_interval(answers.samples_ns) if offline else None,
        "busy": sum(answers.samples_ns) / answers.span_ns,
        "latency_ms": percentiles(() if offline else answers.latencies_ns),
        "sample_ms": percentiles(answers.samples_ns),
        "steady": steady(answers.samples_ns),
        "stopped": None,
    }


def warnings(rows: Sequence[Json]) -> tuple[str, ...]:
    """What a reader of some rows must know: what was cut, servers that did not keep up, noise."""
    found = []
    for row in rows:
        name = f"{row['engine']}, {row['scenario']}"
        if row["stopped"]:
            found.append(f"{name}: {row['stopped']}")
        if row["scenario"] == SERVER and row["busy"] > FULL:
            found.append(
                f"{name}: {row['offered_per_s']:.3g} queries a second are more than it can answer; "
                "its latencies grow with the length of the run"
            )
        if row["steady"] is False:
            found.append(
                f"{name}: the machine was too noisy: the halves of the run have different medians, "
                "so the intervals are too narrow"
            )
    return tuple(found)
