"""Which of several engines to keep: the fastest of those that are accepted.

Low precision is not always faster: a small network in INT8 spends more on converting than it
saves, and only a measurement on the device tells. It says nothing about TensorRT in particular:
a candidate is a name and a function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    levels: Sequence[Sequence[Candidate]],
    feeds: Mapping[str, npt.NDArray[Any]],
    rounds: int = 30,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Choice:
    """The candidate with the shortest median run among those of the first level that has any.

    Runs are interleaved, one of each engine a round, so that a machine that slows down slows
    all of them down. The earlier of two that are equally fast is kept. One that fails while it
    is timed counts as not accepted; where it was the last one, the next level is tried.

    Args:
        levels: Groups of candidates; a group is tried where none before it passed.
        feeds: What is run while timing.
        rounds: Runs of each engine, at least 1, after two that do not count.
        clock_ns: What tells the time; another one in tests.

    Raises:
        EngineLoadError: When no candidate of any level is accepted.
    """
    trials: list[Trial] = []
    engines: dict[int, Engine] = {}
    try:
        for level in levels:
            for candidate in level:
                _try_chain(candidate, trials, engines)
            if len(engines) > 1:
                _time(engines, trials, feeds, rounds, clock_ns)
            if engines:
                break
        else:
            raise _none(trials)
        best = min(engines, key=lambda index: (trials[index].median_ms or 0.0, index))
        chosen = engines.pop(best)
    finally:
        for engine in engines.values():
            engine.close()
    return Choice(trials[best].name, chosen, tuple(trials))


def _try_chain(candidate: Candidate, trials: list[Trial], engines: dict[int, Engine]) -> None:
    """Add a trial of the candidate, and of those in its place until one passes."""
    waiting: Candidate | None = candidate
    while waiting is not None:
        started = time.perf_counter()
        try:
            engines[len(trials)] = waiting.load()
            passed, detail = True, ""
        except EngineError as error:
            passed, detail = False, str(error)
        trials.append(Trial(waiting.name, passed, detail, time.perf_counter() - started))
        waiting = None if passed else waiting.instead


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
        median = float(np.median(spent[index])) / 1e6
        trials[index] = Trial(old.name, True, "", old.build_s, median)


def _none(trials: Sequence[Trial]) -> EngineLoadError:
    return EngineLoadError(
        "no engine of this model can be used here",
        expected="one that reproduces the bundle's golden answer",
        found="; ".join(f"{trial.name}: {trial.detail}" for trial in trials) or "no candidate",
        remedy="See `xedge doctor` for what is installed",
    )
