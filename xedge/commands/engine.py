"""The engine of a service: loaded here or in a process of its own, and held to its answer."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from xedge import engines
from xedge.bundle import Bundle
from xedge.commands.ladder import rung_of
from xedge.commands.lanefile import EngineTable, LaneFile
from xedge.engines.threads import lane_threads
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess, ProcessState
from xedge.lane.golden_screen import GoldenScreen, open_golden
from xedge.lane.ladder import Rung
from xedge.lane.selftest import SelfTested, SelfTests


@dataclass(frozen=True)
class EngineState:
    """How an engine is at one moment.

    Attributes:
        name: The engine, in its own words.
        tests: The books of its self-tests since the start, which was one as well.
        process: Its process; None when it has none of its own.
        stopped: Windows so far that stopped after the first pass.
    """

    name: str
    tests: SelfTests
    process: ProcessState | None
    stopped: int = 0

    @property
    def problem(self) -> str:
        """Why windows fail now, in words; empty while they do not."""
        if self.process is not None and not self.process.ready:
            return f"the engine is being started again, because {self.process.last_failure}"
        return self.tests.error


class ServedEngine:
    """An engine that is looked after: what screens, and how it is.

    Args:
        engine: What is tested.
        table: How it is kept.

    Attributes:
        screen: What a lane calls.
    """

    def __init__(self, engine: GoldenScreen | EngineProcess, table: EngineTable) -> None:
        self._engine = engine
        self.screen = SelfTested(engine, table.self_test_s)

    @property
    def state(self) -> EngineState:
        """How the engine is now; any thread may ask."""
        if isinstance(self._engine, EngineProcess):
            process = self._engine.state
            return EngineState(process.name, self.screen.tests, process, self.screen.stopped)
        return EngineState(self._engine.name, self.screen.tests, None, self.screen.stopped)


@contextmanager
def served_engine(
    bundle: Bundle,
    path: Path | None,
    engine: str,
    threads: int | None,
    table: EngineTable,
    least: float | None = None,
) -> Iterator[ServedEngine]:
    """An engine that has reproduced the bundle's golden answer.

    Args:
        bundle: The model.
        path: Its file, which a process of its own opens again; None is the one that ships.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of one run; None leaves a core to the detector's lines.
        table: How the engine is kept.
        least: As in `xedge.engines.deploy.load_variant`; None refines every window.

    Raises:
        EngineError: When the engine is not installed, refuses the model, or answers something
            else.
        BundleError: When the file is another one by now.
    """
    opener = functools.partial(open_named, path, bundle.sha256, engine, threads, least)
    with ExitStack() as stack:
        if not table.process:
            screen = stack.enter_context(opener())
            screen.self_test()
            yield ServedEngine(screen, table)
            return
        spec = bundle.spec
        process = EngineProcess(
            opener,
            Layout(spec.height, spec.width, spec.candidates),
            EngineLimits(
                window_s=table.timeout_s, start_s=table.start_s,
                retry_first_s=table.retry_first_s, retry_most_s=table.retry_most_s,
            ),
        )  # fmt: skip
        yield ServedEngine(stack.enter_context(process), table)


def served_fallbacks(
    stack: ExitStack, file: LaneFile, model: Bundle
) -> list[tuple[Rung, ServedEngine]]:
    """The rungs below the full model, each with an engine of its own.

    Args:
        stack: What closes them.
        file: The lane's file.
        model: The full model.

    Raises:
        BundleError, EngineError: When one cannot be used.
        ConfigError: When one is of another kind of model.
    """
    rungs = []
    paths = dict(file.ladder.rungs)
    for name, bundle in file.ladder.open(model.spec, file.lane.public_key):
        engine = stack.enter_context(served_engine(
            bundle, paths[name], file.lane.engine, file.lane.threads, file.engine
        ))  # fmt: skip
        rungs.append((rung_of(name, engine.screen, bundle.spec, model.spec), engine))
    return rungs


def open_named(
    path: Path | None,
    sha256: str,
    engine: str,
    threads: int | None,
    least: float | None = None,
) -> GoldenScreen:
    """As `open_golden`, with the engine's version in its name."""
    screen = open_golden(path, sha256, engine, threads or lane_threads(), least=least)
    screen.name = " ".join(engines.usable(screen.name))
    return screen
