"""`xedge bench loadgen`: the scenarios of `load` against MLPerf's own load generator.

Both ask the same chain, in turn: a round by one, a round by the other, and the next round the other
way about. In `server` both follow the generator's schedule. What they count must then be the same
but for noise; each figure's interval says how much that is. Results are not MLPerf results.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge.bundle import Bundle
from xedge.commands.screening import named_engine
from xedge.engines import usable
from xedge.lane.clock import MonotonicClock
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.chain import open_chain
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import bag_counts
from xedge_benchmarks.load import (
    MULTI_STREAM,
    OFFLINE,
    QUOTED,
    SERVER,
    SINGLE_STREAM,
    Answers,
    Plan,
    plan,
    serve,
    throughput_interval,
)
from xedge_benchmarks.percentiles import agree, percentiles
from xedge_benchmarks.record import BenchRecord, Json, bundle_digests, new_record
from xedge_benchmarks.scenarios import ScenarioSettings, warm

NAMES: Final = {SINGLE_STREAM: "SingleStream", MULTI_STREAM: "MultiStream", SERVER: "Server",
                OFFLINE: "Offline"}  # fmt: skip
_SAMPLE: Final = re.compile(
    r'"name":"Sample".*"ph":"b".*"ts":([\d.]+),.*"query_seq":(\d+),.*"complete_ns":(\d+)'
)
"""A line of the trace: when the sample was due in µs, its query, and ns from due to complete."""

Run = Callable[[int], object]


@dataclass(frozen=True)
class Generated:
    """A run of MLPerf's generator.

    Attributes:
        answers: What it counted; the work on each sample is from this side.
        due_ns: When it had each query due, from the first one on.
        summary: What it says of the run itself.
    """

    answers: Answers
    due_ns: tuple[int, ...]
    summary: str


def through_loadgen(
    run: Run, scenario: str, queries: int, samples: int, *, streams: int = 8, rate: float = 1.0
) -> Generated:
    """A run of the generator against a system that takes one sample at a time.

    Args:
        run: Works on the sample of that number.
        scenario: A key of `QUOTED`.
        queries: How many; samples of `OFFLINE`.
        samples: Samples to draw from.
        streams: Samples of a query of `MULTI_STREAM`.
        rate: Queries a second of `SERVER`.

    Raises:
        ModuleNotFoundError: When its wheel (`mlcommons-loadgen`) is not installed.
    """
    import mlperf_loadgen

    clock, works = MonotonicClock(), []
    failures: list[BaseException] = []

    def issue(asked: Sequence[Any]) -> None:
        for sample in asked:
            began = clock.now_ns()
            try:
                run(sample.index)
            except BaseException as error:  # an exception must not cross its threads
                failures.append(error)
            works.append(clock.now_ns() - began)
            response = mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0)
            mlperf_loadgen.QuerySamplesComplete([response])

    def nothing(*_: object) -> None:
        pass

    with tempfile.TemporaryDirectory() as folder:
        system = mlperf_loadgen.ConstructSUT(issue, nothing)
        library = mlperf_loadgen.ConstructQSL(samples, samples, nothing, nothing)
        log = mlperf_loadgen.LogSettings()
        log.enable_trace = True
        log.log_output.outdir = folder
        log.log_output.copy_summary_to_stdout = False
        settings = _settings(mlperf_loadgen, scenario, queries, streams, rate)
        try:
            mlperf_loadgen.StartTestWithLogSettings(
                system, library, settings, log, str(Path(folder) / "no-audit")
            )
        finally:
            mlperf_loadgen.DestroyQSL(library)
            mlperf_loadgen.DestroySUT(system)
        trace, summary = (
            (Path(folder) / f"mlperf_log_{name}").read_text(encoding="utf-8")
            for name in ("trace.json", "summary.txt")
        )
    if failures:
        raise failures[0]
    return _generated(trace, summary, works)


def _settings(library: Any, scenario: str, queries: int, streams: int, rate: float) -> Any:
    settings = library.TestSettings()
    settings.scenario = getattr(library.TestScenario, NAMES[scenario])
    settings.mode = library.TestMode.PerformanceOnly
    settings.min_duration_ms = 0  # its ten minutes are its rule for a result to be valid
    settings.min_query_count = settings.max_query_count = queries
    settings.multi_stream_samples_per_query = streams
    settings.server_target_qps = settings.offline_expected_qps = rate
    settings.server_coalesce_queries = False
    return settings


def _generated(trace: str, summary: str, works: Sequence[int]) -> Generated:
    due: dict[int, int] = {}
    latency: dict[int, int] = {}
    for start_us, query, complete in _SAMPLE.findall(trace):
        due[int(query)] = round(float(start_us) * 1000)
        latency[int(query)] = max(latency.get(int(query), 0), int(complete))
    order = sorted(due)
    first = min(due.values())
    end = max(due[k] + latency[k] for k in order)
    answers = Answers(
        latencies_ns=tuple(latency[k] for k in order), samples_ns=tuple(works), span_ns=end - first
    )
    return Generated(answers, tuple(due[k] - first for k in order), summary)


def bench_loadgen(
    bundle: Bundle,
    settings: ScenarioSettings,
    rounds: int = 4,
    tell: Callable[[str], None] = lambda what: None,
) -> BenchRecord:
    """A record of each scenario by both, and whether their figures agree.

    Args:
        bundle: The model.
        settings: As of `bench_scenarios`; the first engine alone, queries in all rounds together.
        rounds: How often the two take turns.
        tell: Told what is measured next.

    Raises:
        EngineError: When the engine is not installed or refuses the model.
        ModuleNotFoundError: When the generator is not installed.
    """
    usable(settings.engines[0])
    used = named_engine(settings.engines[0], settings.threads)
    counts = bag_counts(bundle.spec, settings.bags, settings.seed)
    rows, notes, budget = [], [], Budget(settings.within_s)
    with open_chain(bundle, used, settings.variant, counts) as chain, Watch() as watch:
        rate = settings.rate or settings.load / warm(chain, settings.warmup)
        for left, scenario in zip(
            range(len(settings.scenarios), 0, -1), settings.scenarios, strict=True
        ):
            tell(scenario)
            mine = budget.part(left)
            ours, theirs = in_turn(chain, scenario, settings, rate, rounds, mine.over)
            rows.append(_row(scenario, ours, theirs))
            notes += [f"{scenario}: {note}" for note in mine.stopped("rounds", len(ours), rounds)]
    return new_record(
        "loadgen",
        models=bundle_digests(bundle),
        settings=dataclasses.asdict(settings) | {"threads": used.threads, "rounds": rounds},
        results={"engine": f"{used.name} {used.version}", "rows": rows},
        conditions=watch.conditions,
        notes=tuple(notes),
    )


def in_turn(
    run: Run,
    scenario: str,
    settings: ScenarioSettings,
    rate: float,
    rounds: int,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[list[Answers], list[Answers]]:
    """What was counted here, and by the generator, round by round, until enough."""
    queries = -(-settings.queries // rounds)
    asked = plan(scenario, queries, settings.bags, streams=settings.streams, rate=rate,
                 seed=settings.seed)  # fmt: skip
    ours: list[Answers] = []
    theirs: list[Answers] = []

    def generate() -> Generated:
        found = through_loadgen(
            run, scenario, queries, settings.bags, streams=settings.streams, rate=rate
        )
        theirs.append(found.answers)
        return found

    for turn in range(rounds):
        if turn % 2 == 0:
            due_ns = generate().due_ns
            if scenario == SERVER:  # its seed is fixed: the schedule is the same in every round
                asked = Plan(queries=asked.queries, due_ns=due_ns)
        ours.append(serve(run, asked, MonotonicClock()))
        if turn % 2:
            generate()
        if enough():
            break
    return ours, theirs


def _row(scenario: str, ours: Sequence[Answers], theirs: Sequence[Answers]) -> Json:
    sides = {"here": ours, "loadgen": theirs}
    if scenario == OFFLINE:
        samples = {name: [ns for a in side for ns in a.samples_ns] for name, side in sides.items()}
        figures: Json = {
            name: {
                "n": len(samples[name]),
                "throughput": len(samples[name]) / sum(a.span_ns for a in side) * 1e9,
                "interval_95": {"throughput": throughput_interval(samples[name])},
            }
            for name, side in sides.items()
        }
    else:
        figures = {
            name: percentiles([ns for a in side for ns in a.latencies_ns])
            for name, side in sides.items()
        }
    intervals = [figures[name]["interval_95"] for name in sides]
    verdicts = {
        figure: agree(one, other)
        for figure, one in intervals[0].items()
        if one is not None and (other := intervals[1][figure]) is not None
    }
    return {"scenario": scenario, "quoted": QUOTED[scenario], **figures, "agree": verdicts}
