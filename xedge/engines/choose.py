"""Which of several engines to keep: the fastest of those that are accepted.

Low precision is not always faster: a small network in INT8 spends more on converting than it
saves, and only a measurement on the device tells. It says nothing about TensorRT in particular:
a candidate is a name and a function.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from xedge.engines.base import Engine
from xedge.errors import EngineError, EngineLoadError


@dataclass(frozen=True)
class Candidate:
    """One way to run a model.

    Attributes:
        name: What people call it, as ``int8 on tensorrt``.
        load: Builds, opens and accepts the engine; raises an `EngineError` where that fails.
        instead: What is tried in its place where it does not pass.
    """

    name: str
    load: Callable[[], Engine]
    instead: Candidate | None = None


@dataclass(frozen=True)
class Trial:
    """What became of a candidate.

    Attributes:
        name: Of the candidate.
        passed: True when its engine was loaded and accepted.
        detail: Why it did not pass; empty when it did.
        build_s: Seconds until it was loaded and accepted, or refused.
        median_ms: Median of one run, milliseconds; None where nothing was timed.
    """

    name: str
    passed: bool
    detail: str
    build_s: float
    median_ms: float | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """The engine that is kept.

    Attributes:
        name: Of the candidate.
        engine: Loaded and accepted; whoever holds the choice closes it.
        trials: All that were tried, in their order.
    """

    name: str
    engine: Engine
    trials: tuple[Trial, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence a candidate that was tried and did not pass."""
        return tuple(
            f"{trial.name} is not used: {trial.detail}" for trial in self.trials if not trial.passed
        )


def fastest_accepted(
    candidates: Sequence[Candidate],
    feeds: Mapping[str, npt.NDArray[Any]],
    rounds: int = 30,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Choice:
    """The candidate with the shortest median run among those that are accepted.

    Runs are interleaved, one of each engine a round, so that a machine that slows down slows
    all of them down. The earlier of two that are equally fast is kept. One that fails while it
    is timed counts as not accepted.

    Args:
        candidates: At least one; each stands for those that may be tried in its place.
        feeds: What is run while timing.
        rounds: Runs of each engine, after two that do not count.
        clock_ns: What tells the time; another one in tests.

    Raises:
        EngineLoadError: When none is accepted.
    """
    trials: list[Trial] = []
    engines: dict[int, Engine] = {}
    try:
        for candidate in candidates:
            waiting: Candidate | None = candidate
            while waiting is not None:
                trial, engine = _try(waiting)
                waiting = waiting.instead if engine is None else None
                if engine is not None:
                    engines[len(trials)] = engine
                trials.append(trial)
        if len(engines) > 1:
            _time(engines, trials, feeds, rounds, clock_ns)
        if not engines:
            raise _none(trials)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    best = min(engines, key=lambda index: (trials[index].median_ms or 0.0, index))
    for index, engine in engines.items():
        if index != best:
            engine.close()
    return Choice(trials[best].name, engines[best], tuple(trials))


def _try(candidate: Candidate) -> tuple[Trial, Engine | None]:
    started = time.perf_counter()
    try:
        engine = candidate.load()
    except EngineError as error:
        return Trial(candidate.name, False, str(error), time.perf_counter() - started), None
    return Trial(candidate.name, True, "", time.perf_counter() - started), engine


def _time(
    engines: dict[int, Engine],
    trials: list[Trial],
    feeds: Mapping[str, npt.NDArray[Any]],
    rounds: int,
    clock_ns: Callable[[], int],
) -> None:
    """Write the medians into ``trials``; engines that fail are closed and taken out."""
    spent: dict[int, list[int]] = {index: [] for index in engines}
    for number in range(-2, rounds):
        for index, engine in list(engines.items()):
            started = clock_ns()
            try:
                engine.run(feeds)
            except EngineError as error:
                old = trials[index]
                trials[index] = Trial(old.name, False, str(error), old.build_s)
                engines.pop(index).close()
                continue
            if number >= 0:
                spent[index].append(clock_ns() - started)
    for index in engines:
        old = trials[index]
        median = statistics.median(spent[index]) / 1e6
        trials[index] = Trial(old.name, True, "", old.build_s, median)


def _none(trials: Sequence[Trial]) -> EngineLoadError:
    return EngineLoadError(
        "no engine of this model can be used here",
        expected="one that reproduces the bundle's golden answer",
        found="; ".join(f"{trial.name}: {trial.detail}" for trial in trials) or "no candidate",
        remedy="See `xedge doctor` for what is installed",
    )
