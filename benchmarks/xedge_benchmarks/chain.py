"""A model as a lane runs it on one window, from counts to detections, with its stages booked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy.typing as npt

from xedge.bundle import Bundle
from xedge.commands.evaluated import simulated
from xedge.commands.screening import EngineUsed
from xedge.detector import Detector
from xedge.engines.base import Engine, TensorSpec
from xedge.engines.deploy import load_variant
from xedge.scanner.windows import WindowPlan
from xedge.types import U16, Detections
from xedge_benchmarks.accuracy import accuracy_row
from xedge_benchmarks.percentiles import percentiles
from xedge_benchmarks.record import Json

STAGES: Final = ("preprocess", "infer", "decode")
"""Binning, planes and padding; the engine; thresholds and suppression."""


@dataclass(eq=False)
class WatchedEngine:
    """An engine that notes when it last began and ended, nanoseconds of the performance counter."""

    engine: Engine
    began_ns: int = 0
    ended_ns: int = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Engine`."""
        return self.engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Engine`."""
        return self.engine.outputs

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`."""
        self.began_ns = time.perf_counter_ns()
        outputs = self.engine.run(feeds)
        self.ended_ns = time.perf_counter_ns()
        return outputs

    def close(self) -> None:
        """See `Engine`."""
        self.engine.close()


@dataclass(eq=False)
class Chain:
    """What screens window after window; a call is one of them, by its number.

    Attributes:
        detector: What finds objects.
        engine: Its engine.
        counts: Corrected low and high counts of bags; sample k is the first window of bag k.
        load_ms: What it took to have the engine ready, its library imported.
        first_ms: What the first window took.
    """

    detector: Detector
    engine: WatchedEngine
    counts: Sequence[tuple[U16, U16]]
    load_ms: float = 0.0
    first_ms: float = 0.0
    _books: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._plan = WindowPlan.for_model(self.detector.spec)

    def __call__(self, sample: int) -> Detections:
        """What is found in the window of that number, in its pixels."""
        began = time.perf_counter_ns()
        found = self.detector.detect_window(self._plan.planes(*self.counts[sample], 0))
        ended = time.perf_counter_ns()
        engine = self.engine
        self._books.append(
            (engine.began_ns - began, engine.ended_ns - engine.began_ns, ended - engine.ended_ns)
        )
        return found

    def stages_ms(self) -> Json:
        """Percentiles of each of `STAGES` since this was asked last."""
        books, self._books = self._books, []
        return {name: percentiles([row[k] for row in books]) for k, name in enumerate(STAGES)}

    def accuracy(self, bags: int, seed: int) -> Json:
        """Average precision and alarms on fresh simulated bags, by this very engine.

        Args:
            bags: How many, at least 1.
            seed: Of the first.
        """
        spec = self.detector.spec
        found, truths = [], []
        for subject in simulated(spec.classes, bags, seed).items():
            found.append(self.detector.detect_image(subject.picture))
            truths.append(subject.truth)
        return accuracy_row(spec, found, truths) | {"bags": bags, "seed": seed}


@contextmanager
def open_chain(
    bundle: Bundle, used: EngineUsed, variant: str, counts: Sequence[tuple[U16, U16]]
) -> Iterator[Chain]:
    """A chain that has run once.

    Args:
        bundle: The model.
        used: The engine that runs it.
        variant: Which graph of the bundle.
        counts: Of bags, see `Chain`.

    Raises:
        EngineError: When the engine is absent or refuses the model.
        BundleError: When the bundle has no such variant.
        ConfigError: When the model finds no objects.
    """
    began = time.perf_counter_ns()
    engine = WatchedEngine(load_variant(bundle, used.name, used.threads, variant))
    with ExitStack() as stack:
        stack.callback(engine.close)
        chain = Chain(Detector(engine, bundle.spec), engine, counts)
        chain.load_ms = (time.perf_counter_ns() - began) / 1e6
        began = time.perf_counter_ns()
        chain(0)
        chain.first_ms = (time.perf_counter_ns() - began) / 1e6
        yield chain
