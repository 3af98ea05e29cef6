"""`xedge bench growth`: what latency and memory cost as something grows, one thing at a time.

Each point runs in a process of its own, so that its peak of memory is its own. Points of one graph
each (side of the window, batch, candidates) take turns, round by round; lanes run on the machine's
clock, one point after the other.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from xedge import engines
from xedge.bundle import open_bundle
from xedge.commands.screening import named_engine
from xedge.engines import usable
from xedge.errors import ConfigError, EngineRunError
from xedge.lane.config import LaneConfig
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.child import Child, Limits, Turns, own_peak_mib
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.interleave import Contender, interleave
from xedge_benchmarks.lane import LaneSettings, open_screen, rendered, run_each
from xedge_benchmarks.percentiles import percentiles
from xedge_benchmarks.record import BenchRecord, Json, bundle_digests, new_record
from xedge_benchmarks.shelf import Shelf

RECIPE: Final = "atss-la-r18half"
"""The shipped model's; weights are drawn, which changes no time."""
ENGINE_RUN: Final = "the engine, all windows of a run"
DECISION: Final = "a bag's last line to its decision"
LIMITS: Final = Limits(seconds=300.0)
MEMORY: Final = "peak resident memory of a process with nothing else, MiB"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Axis:
    """Something that grows.

    Attributes:
        x_name: What x is, with its unit.
        quick: Its values in a quick run.
        full: And in a full one.
        of_lane: Whether it is of a lane on the clock, and not of a graph on an engine.
    """

    x_name: str
    quick: tuple[float, ...]
    full: tuple[float, ...]
    of_lane: bool = False


AXES: Final[Mapping[str, Axis]] = MappingProxyType(
    {
        "image-side": Axis("side of a square window, px", (224, 416), (224, 320, 416, 640, 832)),
        "batch": Axis("windows of one run", (1, 4), (1, 2, 4, 8)),
        "candidates": Axis("candidates of a window", (50, 1000), (50, 200, 500, 1000)),
        "lanes": Axis("lanes on one engine, 1 m/s each", (1, 2), (1, 2, 4, 8), True),
        "belt-speed": Axis("speed of the belt, m/s", (1.0, 2.0), (0.25, 0.5, 1.0, 2.0), True),
    }
)


@dataclass(frozen=True, kw_only=True)
class GrowthSettings:
    """How growth is measured.

    Attributes:
        axes: Keys of `AXES`.
        engine: A back end, or ``auto``.
        threads: Threads of one run; None for every physical core, and in a lane for all but one.
        quick: Few points of each axis.
        rounds: How often each graph is timed.
        warmup: Untimed rounds beforehand.
        seconds: Of each run of lanes.
        bags: Rendered for the lanes.
        limits: Of one point's process.
        within_s: Seconds after which no more point or round begins, a fair share of them for each
            axis; None sets no end.

    Raises:
        ConfigError: When there is no such axis.
    """

    axes: tuple[str, ...] = tuple(AXES)
    engine: str = "auto"
    threads: int | None = None
    quick: bool = False
    rounds: int = 50
    warmup: int = 3
    seconds: float = 60.0
    bags: int = 8
    limits: Limits = LIMITS
    within_s: float | None = None

    def __post_init__(self) -> None:
        for axis in self.axes:
            if axis not in AXES:
                raise ConfigError("nothing of that name grows", expected=", ".join(AXES),
                                  found=repr(axis))  # fmt: skip

    def values(self, axis: str) -> tuple[float, ...]:
        """The points of an axis."""
        return AXES[axis].quick if self.quick else AXES[axis].full


QUICKLY: Final = GrowthSettings(quick=True, rounds=10, warmup=2, seconds=12.0, bags=4)


def bench_growth(
    bundle: Path | None = None,
    settings: GrowthSettings = GrowthSettings(),
    graphs: Path | None = None,
    tell: Progress = lambda what: None,
) -> BenchRecord:
    """A record with one row a point of each axis; see benchmarks/README.md for a row's keys.

    A point that cannot be measured is a row that says why.

    Args:
        bundle: The model of the lanes; None for the one that xedge ships.
        settings: What grows, and how it is measured.
        graphs: Folder to keep exported graphs in.
        tell: Told what is measured next.

    Raises:
        EngineError: When the engine is not installed.
    """
    usable(settings.engine)
    used = named_engine(settings.engine, settings.threads)
    opened = open_bundle(bundle)
    rows: list[Json] = []
    made: dict[tuple[int, ...], bytes] = {}
    budget = Budget(settings.within_s)
    with Watch() as watch:
        for left, axis in zip(range(len(settings.axes), 0, -1), settings.axes, strict=True):
            mine = budget.part(left)
            if AXES[axis].of_lane:
                rows += _of_lanes(axis, bundle, used.name, settings, mine, tell)
            else:
                rows += _of_graphs(axis, used.name, settings, Shelf(graphs), made, mine, tell)
    return new_record(
        "growth",
        models=bundle_digests(opened),
        settings=dataclasses.asdict(settings) | {"threads": used.threads},
        results={"engine": f"{used.name} {used.version}", "recipe": RECIPE, "memory": MEMORY,
                 "rows": rows},
        conditions=watch.conditions,
    )  # fmt: skip


def row(axis: str, x: float, samples_ns: Sequence[int], peak_mib: float | None, **more: object
        ) -> Json:  # fmt: skip
    """A point of an axis, as it stands in the record."""
    return {
        "name": axis,
        "x_name": AXES[axis].x_name,
        "x": x,
        "what": DECISION if AXES[axis].of_lane else ENGINE_RUN,
        "latency_ms": percentiles(samples_ns),
        "peak_mib": peak_mib,
        "not_measured": None,
        **more,
    }


def graph(axis: str, x: float, shelf: Shelf, made: dict[tuple[int, ...], bytes]) -> bytes:
    """The shipped model's graph with drawn weights at a point; each is made once.

    Raises:
        ModuleNotFoundError: Where there is no PyTorch.
    """
    from xedge_benchmarks.speed_graphs import Subject

    size = {"image-side": 416, "batch": 1, "candidates": 200} | {axis: int(x)}
    side, batch, candidates = key = tuple(size.values())
    if key not in made:
        subject = Subject(RECIPE, (f"data.height={side}", f"data.width={side}",
                                   "model.pyramid.pretrained=false"))  # fmt: skip
        made[key] = shelf.take(
            f"growth-{side}-{batch}-{candidates}", lambda: subject.graph(batch, candidates)
        )
    return made[key]


def _peak_mib(child: Child) -> float | None:
    """The most memory that a process has had; None where the system does not say."""
    try:
        peak: float | None = child.ask("peak")
    except EngineRunError:
        return None
    return peak


def _of_graphs(
    axis: str, engine: str, settings: GrowthSettings, shelf: Shelf,
    made: dict[tuple[int, ...], bytes], budget: Budget, tell: Progress,
) -> Iterator[Json]:  # fmt: skip
    points: dict[float, Turns] = {}
    failed: dict[float, str] = {}
    with ExitStack() as stack:
        for x in settings.values(axis):
            if budget.over():
                failed[x] = budget.no_time
                continue
            tell(f"{axis} {x:g}: graph and engine")
            try:
                model = graph(axis, x, shelf, made)
                child = Child(run_graph, (model, engine, settings.threads), settings.limits)
                stack.enter_context(closing(child))
                child.hear()
                points[x] = Turns(child, "run")
            except ModuleNotFoundError as error:
                failed[x] = f"{error.name} is not installed"
            except EngineRunError as error:
                failed[x] = error.what
        if points:
            tell(f"{axis}: {settings.rounds} rounds")
            interleave([Contender(f"{x:g}", point) for x, point in points.items()],
                       rounds=settings.rounds, warmup=settings.warmup,
                       enough=budget.over)  # fmt: skip
        failed |= {x: point.why for x, point in points.items() if point.why}
        for x in settings.values(axis):
            if x in failed:
                yield row(axis, x, (), None, not_measured=failed[x])
            else:
                point = points[x]
                samples_ns = point.answers[settings.warmup :]
                yield row(axis, x, samples_ns, _peak_mib(point.child))


def _of_lanes(
    axis: str, bundle: Path | None, engine: str, settings: GrowthSettings, budget: Budget,
    tell: Progress,
) -> Iterator[Json]:  # fmt: skip
    for x in settings.values(axis):
        if budget.over():
            yield row(axis, x, (), None, not_measured=budget.no_time)
            continue
        tell(f"{axis} {x:g}: {settings.seconds:g} s on the clock")
        lanes = LaneSettings(
            engine=engine, threads=settings.threads, seconds=settings.seconds, bags=settings.bags,
            speeds_m_s=(x if axis == "belt-speed" else 1.0,),
            lanes=(int(x) if axis == "lanes" else 1,),
        )  # fmt: skip
        with closing(Child(run_lanes_at, (bundle, lanes), settings.limits)) as child:
            try:
                figures, peak_mib = child.hear()
            except EngineRunError as error:
                yield row(axis, x, (), None, not_measured=error.what)
                continue
        counts = {key: figures[key] for key in ("bags", "late", "cpu_share")}
        yield row(axis, x, (), peak_mib, **counts) | {"latency_ms": figures["latency_ms"]}


def run_graph(pipe: Connection, model: bytes, engine: str, threads: int | None) -> None:
    """Load a graph, then run it whenever a parent asks; runs in a `Child`."""
    with closing(engines.load(model, engine, threads)) as loaded:
        random = np.random.default_rng(0)
        feeds = {
            spec.name: random.integers(0, 256, spec.shape, dtype=spec.dtype)
            for spec in loaded.inputs
        }
        pipe.send("ready")
        while True:
            if pipe.recv() == "peak":
                pipe.send(own_peak_mib())
                continue
            began = time.perf_counter_ns()
            loaded.run(feeds)
            pipe.send(time.perf_counter_ns() - began)


def run_lanes_at(pipe: Connection, path: Path | None, settings: LaneSettings) -> None:
    """Run lanes once and send their figures and the peak of memory; runs in a `Child`."""
    bundle = open_bundle(path)
    bank, correction = rendered(settings)
    config = LaneConfig.for_model(bundle.spec)
    with open_screen(bundle, settings) as (screen, _):
        (figures,) = run_each(bank, correction, screen, config, settings)
    pipe.send((figures, own_peak_mib()))
