"""`xedge bench native`: libxedge against Python, scans of bags from counts to detections, in turn.

Both run in this process on one engine: libxedge, built with the engine's library that Python loads,
is called through ctypes, some microseconds a call, which are in its time. Both refine every window,
whatever the bundle says of quiet ones, which libxedge does not know of. Their answers must be the
same before any time is believed.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from xedge import engines
from xedge.bundle import open_bundle
from xedge.detector import Detector, open_detector
from xedge.errors import EngineNotInstalled, EngineRunError
from xedge.types import U16, Detections
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import bag_counts
from xedge_benchmarks.interleave import Contender, interleave
from xedge_benchmarks.libxedge import Native
from xedge_benchmarks.record import BenchRecord, bundle_digests, new_record
from xedge_benchmarks.two_clocks import WithProcessorTime, rows_of_both

PYTHON: Final = "Python"
LIBXEDGE: Final = "libxedge"
SCORE: Final = 1e-5
PIXEL: Final = 0.01
"""What two programs with one engine may differ by: a score, and an edge in detector elements."""
CHUNK: Final = 10
"""Rounds between two looks at the progress: even, so that each contender is as often the first."""

Pair = tuple[U16, U16]


@dataclass(frozen=True, kw_only=True)
class NativeSettings:
    """How the two are measured.

    Attributes:
        engine: The one that both run; ``auto`` takes the first that is usable.
        rounds: How often each screens a scan.
        warmup: Untimed rounds beforehand.
        bags: Simulated bags, a scan each, screened one after the other.
        seed: Of the first bag.
        threads: Threads of one run; None for every physical core.
    """

    engine: str = "auto"
    rounds: int = 200
    warmup: int = 10
    bags: int = 8
    seed: int = 1
    threads: int | None = None


def bench_native(
    bundle_path: Path | None,
    library: Path,
    settings: NativeSettings = NativeSettings(),
    step: Callable[[int], None] = lambda rounds: None,
) -> BenchRecord:
    """A record of both; ``results["rows"]`` has Python first, and the ratio of libxedge to it.

    Args:
        bundle_path: The model's bundle; None for the one that xedge ships.
        library: The file of libxedge.
        settings: Engine, rounds, scans and threads.
        step: Told how many rounds were done since it was told last, outside of what is timed.

    Raises:
        EngineError: When the engine is absent, or the two do not answer the same.
        ConfigError: When the file is no libxedge.
        NativeError: When libxedge fails, such as when it was built without the engine.
    """
    bundle, native = open_bundle(bundle_path), Native(library)
    engine = _engine(settings.engine)
    scans = bag_counts(bundle.spec, settings.bags, settings.seed)
    shipped = importlib.resources.files("xedge") / "bundles" / "default.xedge"
    content = (bundle_path or shipped).read_bytes()
    options = {"engine": engine.encode(), "threads": settings.threads or 0}
    with (
        closing(
            open_detector(bundle, engine, settings.threads, variant="fp32", refine_all=True)
        ) as reference,
        native.detector(content, **options) as detector,
    ):
        told = {"library": native.version, "engine": native.engine_of(detector)}
        apart = _same_answers(
            reference, lambda pair: native.detect_scan(detector, *pair), scans, told["engine"]
        )
        work = {
            PYTHON: WithProcessorTime(_over(scans, lambda p: reference.detect_scan(*p))),
            LIBXEDGE: WithProcessorTime(_over(scans, lambda p: native.detect_scan(detector, *p))),
        }
        with Watch() as watch:
            rows = _rows(work, settings, step)
    return new_record(
        "native",
        models=bundle_digests(bundle),
        settings=dataclasses.asdict(settings) | {"engine": engine},
        results={"rows": rows, "apart": apart, **told},
        conditions=watch.conditions,
    )


def _engine(name: str) -> str:
    """The engine by its own name."""
    if name != "auto":
        return name
    states = engines.available()
    for choice in engines.AUTO:
        if states[choice].usable:
            return choice
    raise EngineNotInstalled(
        "there is no engine to measure", remedy="Run: pip install 'xedge[cpu]'"
    )


def _over(scans: Sequence[Pair], screen: Callable[[Pair], object]) -> Callable[[], object]:
    """A call that screens the next scan, from the first again after the last."""
    feeds = itertools.cycle(scans)
    return lambda: screen(next(feeds))


def _same_answers(
    reference: Detector, screen: Callable[[Pair], Detections], scans: Sequence[Pair], engine: str
) -> dict[str, Any]:
    """How far the answers are apart at most, and how many detections were compared."""
    score = pixel = 0.0
    count = 0
    for pair in scans:
        wanted, found = reference.detect_scan(*pair), screen(pair)
        if not np.array_equal(found.labels, wanted.labels):
            raise EngineRunError(
                "libxedge and Python do not find the same in a scan",
                expected=f"{len(wanted)} detections, by their classes",
                found=f"{len(found)} of libxedge on {engine}",
                remedy="Build libxedge with the engine that Python has: leave out --library",
            )
        if len(wanted):
            score = max(score, float(np.abs(found.scores - wanted.scores).max()))
            pixel = max(pixel, float(np.abs(found.boxes - wanted.boxes).max()))
        count += len(wanted)
    if score > SCORE or pixel > PIXEL:
        raise EngineRunError(
            "libxedge and Python answer differently",
            expected=f"scores within {SCORE:g}, boxes within {PIXEL:g}",
            found=f"{score:.2g} and {pixel:.2g} on {engine}",
            remedy="Build libxedge with the engine that Python has: leave out --library",
        )
    return {"detections": count, "score": score, "pixel": pixel}


def _rows(
    work: dict[str, WithProcessorTime], settings: NativeSettings, step: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Times of both, in turn."""
    contenders = [Contender(name, run) for name, run in work.items()]
    for _ in range(settings.warmup):
        for contender in contenders:
            contender.run()
    for run in work.values():
        run.spent_ns.clear()
    samples, left = [], settings.rounds
    while left:
        rounds = left if left <= CHUNK + 1 else CHUNK  # none of one round, which is refused
        samples.append(interleave(contenders, rounds=rounds, warmup=0))
        left -= rounds
        step(rounds)
    spent = np.array([run.spent_ns for run in work.values()], np.int64).T
    return rows_of_both(list(work), [PYTHON] * len(work), np.concatenate(samples), spent)
