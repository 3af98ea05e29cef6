"""`xedge bench engines`: one window of a model on every engine of this machine, in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from xedge.bundle import Bundle
from xedge.errors import EngineNotInstalled
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import (
    bag_windows,
    engine_contender,
    loaded_engines,
    measurable_engines,
    work_told,
)
from xedge_benchmarks.record import BenchRecord, bundle_digests, new_record
from xedge_benchmarks.two_clocks import timed_by_both


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How engines are measured.

    Attributes:
        rounds: How often each is timed.
        warmup: Untimed rounds beforehand.
        bags: Simulated bags whose windows are fed.
        seed: Of the first bag.
        threads: Threads of one run; None for every physical core.
        within_s: Seconds after which no more round begins; None sets no end.
    """

    rounds: int = 100
    warmup: int = 10
    bags: int = 8
    seed: int = 1
    threads: int | None = None
    within_s: float | None = None


def bench_engines(
    bundle: Bundle, names: Sequence[str] = (), settings: EngineSettings = EngineSettings()
) -> BenchRecord:
    """A record of the model on each engine; ``results`` has one entry an engine, in milliseconds.

    Args:
        bundle: The model, its ``fp32`` variant.
        names: Engines to measure, compared with the first of them; none for all that are usable.
        settings: Rounds, windows and threads.

    Raises:
        EngineError: When an engine that was asked for is absent, or none is usable.
    """
    budget = Budget(settings.within_s)
    table = measurable_engines()
    chosen = list(names) or [name for name, state in table.items() if state.usable]
    if not chosen:
        raise EngineNotInstalled(
            "there is no engine to measure", remedy="Run: pip install 'xedge[cpu]'"
        )
    model = bundle.model()
    with loaded_engines(model, chosen, settings.threads) as engines:
        windows = bag_windows(bundle.spec, settings.bags, settings.seed)
        contenders = [
            engine_contender(name, engine, windows)
            for name, engine in zip(chosen, engines, strict=True)
        ]
        with Watch() as watch:
            rows = timed_by_both(
                contenders, [chosen[0]] * len(chosen), rounds=settings.rounds,
                warmup=settings.warmup, enough=budget.over,
            )  # fmt: skip
    absent = {name: str(state) for name, state in table.items() if not state.usable}
    return new_record(
        "engines",
        models=bundle_digests(bundle),
        # A run of some engines is another question than a run of all.
        settings=dataclasses.asdict(settings) | ({"engines": list(names)} if names else {}),
        results={"engines": rows, "not_measured": absent, "work": work_told(model)},
        conditions=watch.conditions,
        notes=budget.stopped("rounds", rows[0]["rounds"], settings.rounds),
    )
