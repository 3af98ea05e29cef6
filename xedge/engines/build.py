"""Engines that are built on the device before they run: kept, accepted, and built again.

    TensorRT        minutes to build; the plan is native code for one GPU and one version
    OpenVINO        seconds to build; the plan spares two thirds of the start

A plan comes into the cache only after the engine made of it was accepted, which
`xedge.detector.open_detector` does by the bundle's golden outputs. So what is in the cache was
accepted, and what cannot be opened (cut short, another driver) is built again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from xedge.engines.base import Engine
from xedge.engines.cache import EngineCache
from xedge.errors import EngineCacheError, EngineLoadError

Progress: TypeAlias = Callable[[str, float], None]
"""Called while an engine is built: what is being done, and how much of it is done, 0..1."""

Accept: TypeAlias = Callable[[Engine], object]
"""Raises an `EngineError` when an engine does not compute what its model should."""


def silent(_: str, __: float) -> None:
    """Nothing: the progress that nobody looks at."""


@runtime_checkable
class PlanBackEnd(Protocol):
    """A back end in two steps: a plan is built of a model, and an engine is opened on a plan."""

    @classmethod
    def facts(cls, threads: int | None) -> Mapping[str, str]:
        """What a plan depends on beside the model: version, device, flags."""
        ...

    @classmethod
    def build(
        cls, model: bytes, threads: int | None, cache: EngineCache | None, progress: Progress
    ) -> bytes:
        """The plan of an ONNX file.

        Raises:
            EngineLoadError: When the library refuses the model.
        """
        ...

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        """The engine of an ONNX file, without a plan that could be kept."""
        ...

    @classmethod
    def open(cls, plan: bytes, threads: int | None, cache: EngineCache | None) -> Engine:
        """The engine of a plan.

        Raises:
            EngineLoadError: When the plan is not one of this version and device.
        """
        ...


@dataclass(frozen=True)
class Building:
    """How engines are built and kept.

    Attributes:
        cache: Where plans are kept; None keeps none.
        accept: What an engine must pass before its plan is kept; None keeps no new plan.
        progress: Called while an engine is built.
        rebuild: True builds anew even where a plan is kept.
    """

    cache: EngineCache | None = None
    accept: Accept | None = None
    progress: Progress = silent
    rebuild: bool = False


def plan_facts(
    back_end: PlanBackEnd, name: str, model: bytes, threads: int | None
) -> dict[str, str]:
    """Everything that a plan depends on: the model's sha256, the back end and its facts."""
    sha256 = hashlib.sha256(model).hexdigest()
    return {"kind": "plan", "engine": name, "model": sha256, **back_end.facts(threads)}


Join: TypeAlias = Callable[[Sequence[Engine]], Engine]
"""Makes one engine of those of several models; it closes what it was given when it is closed."""


def load_built(
    back_end: PlanBackEnd, name: str, model: bytes, threads: int | None, how: Building
) -> Engine:
    """The engine of one model; see `load_built_joined`."""
    return load_built_joined(back_end, name, (model,), threads, how, only)


def load_built_joined(
    back_end: PlanBackEnd,
    name: str,
    models: Sequence[bytes],
    threads: int | None,
    how: Building,
    join: Join,
) -> Engine:
    """The engine of models, each opened on the plan that is kept, or else on a new one.

    New plans are kept only when ``how.accept`` was given and the engine of them all passed. That
    they could not be kept for want of room is no error here: the engine runs, and the next start
    builds again.

    Raises:
        EngineLoadError: When the library refuses a model.
        EngineCacheError: When others could have written to the cache.
        EngineError: What ``how.accept`` raised; the engine is closed then.
    """
    cache = how.cache
    if cache is None:
        whole = joined((functools.partial(back_end.load, m, threads) for m in models), join)
        return _accepted(whole, how.accept)
    fresh: list[tuple[dict[str, str], bytes]] = []

    def opened(model: bytes) -> Engine:
        facts = plan_facts(back_end, name, model, threads)
        plan = None if how.rebuild else cache.get(facts)
        if plan is not None:
            try:
                return back_end.open(plan, threads, cache)
            except EngineLoadError:
                cache.drop(facts)  # sound on disk, and yet not of this driver: build again
        plan = back_end.build(model, threads, cache, how.progress)
        fresh.append((facts, plan))
        return back_end.open(plan, threads, cache)

    engine = joined((functools.partial(opened, m) for m in models), join)
    if fresh:
        engine = _accepted(engine, how.accept)
    if how.accept is not None:
        try:
            for facts, plan in fresh:
                cache.put(facts, plan)
        except EngineCacheError:
            EngineCache(cache.folder)  # a folder that cannot be trusted raises again
    return engine


def only(engines: Sequence[Engine]) -> Engine:
    """The engine of the only model: the join of one."""
    (engine,) = engines
    return engine


def joined(loads: Iterable[Callable[[], Engine]], join: Join) -> Engine:
    """One engine of several; those that were loaded are closed where something fails."""
    engines: list[Engine] = []
    try:
        engines.extend(load() for load in loads)
        return join(engines)
    except BaseException:
        for engine in engines:
            engine.close()
        raise


def _accepted(engine: Engine, accept: Accept | None) -> Engine:
    """The engine when it passes; it is closed when it does not."""
    try:
        if accept is not None:
            accept(engine)
    except BaseException:
        engine.close()
        raise
    return engine
