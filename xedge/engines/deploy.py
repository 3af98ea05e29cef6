"""A bundle on this machine: which of its graphs on which engine, accepted by its golden answer.

`load_variant` is what a detector starts with; `compile_bundle` is `xedge compile`: it tries,
measures and remembers, so that `load_variant` finds the choice made and the engine built.
"""

from __future__ import annotations

import dataclasses
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from xedge import engines
from xedge.bundle import Bundle, Tolerance
from xedge.engines.base import Engine
from xedge.engines.build import Building, Progress, silent
from xedge.engines.cache import EngineCache
from xedge.engines.choose import Candidate, Choice, fastest_accepted
from xedge.engines.chosen import Chosen, recall, remember
from xedge.engines.stages import in_two
from xedge.engines.two_stage import TwoStage
from xedge.errors import ConfigError, EngineCacheError, EngineRunError
from xedge.golden import TOLERANCES, golden_planes, verify_golden
from xedge.postprocess import check_contract
from xedge.quiet import Quiet, below_for
from xedge.types import AIR_COUNTS

PRECISIONS: Final = ("int8", "fp16", "fp32")
"""Precisions of a bundle's variants, lowest first; ``int8-anything`` is one of int8."""

ARITHMETIC: Final[Mapping[str, str]] = types.MappingProxyType(
    {"openvino-bf16": "bfloat16", "tensorrt-weak": "float16"}
)
"""Back ends that compute in another type than the graph says."""

LOWERING: Final[Mapping[str, str]] = types.MappingProxyType({"tensorrt": "tensorrt-weak"})
"""Back end to the one that lowers the precision by itself, tried where the first one fails."""


def precision_of(variant: str) -> str:
    """The precision that a variant's name begins with."""
    return variant.partition("-")[0]


def load_variant(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    variant: str = "auto",
    least: float | None = None,
) -> Engine:
    """A graph of a bundle in an engine, from the user's cache where it was built before.

    Args:
        bundle: What the graph is from.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of one run; None for every physical core.
        variant: Which graph; ``auto`` takes what was chosen by `compile_bundle`, else ``fp32``.
        least: Score of the least detection that is wanted. A window that the bundle says holds
            none stops after the first pass (`TwoStage`), and is answered as one that holds
            nothing. None refines every window, and so does a back end that computes in another
            type than the graph says: nobody has looked at its first-pass scores.

    Raises:
        EngineError: When the engine is not installed, refuses the model, was built anew and does
            not reproduce the golden answer, or stops at the golden window.
        BundleError: When the bundle has no such variant.
    """
    return load_chosen(bundle, engine, threads, variant, least)[0]


def load_chosen(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    variant: str = "auto",
    least: float | None = None,
) -> tuple[Engine, Chosen]:
    """What `load_variant` returns, and how it was chosen: what `verify` holds it against."""
    name = "fp32" if variant == "auto" else variant
    kept, cache = None, None
    try:
        cache = EngineCache()
        kept = recall(cache, bundle.sha256, engine) if variant == "auto" else None
    except EngineCacheError as error:
        warnings.warn(f"engines are not kept: {error}", RuntimeWarning, stacklevel=4)
    chosen = kept or Chosen(engine, name, name)
    return _load(bundle, chosen, threads, Building(cache), least), chosen


def compile_bundle(
    bundle: Bundle,
    asked: Sequence[str] = ("auto",),
    precision: str = "auto",
    *,
    cache: EngineCache,
    threads: int | None = None,
    fallback: bool = True,
    rebuild: bool = False,
    progress: Progress = silent,
) -> Choice:
    """The fastest engine of a bundle that reproduces its golden answer, built and remembered.

    Args:
        bundle: What to compile.
        asked: Names of `xedge.engines.BACK_ENDS`; ``auto`` stands for all of
            `xedge.engines.AUTO` that are installed. What is chosen is what ``auto`` takes from
            then on, and its own name as well.
        precision: ``auto`` tries every variant of the bundle; ``int8``, ``fp16`` or ``fp32``
            tries those, and where none passes the next higher precision.
        cache: Where engines are kept.
        threads: Threads of one run; None for every physical core.
        fallback: False tries no other precision than the one asked for.
        rebuild: True builds anew what was built before.
        progress: Called while an engine is built, with the candidate's name.

    Raises:
        ConfigError: When the bundle has no variant of that precision.
        EngineLoadError: When no engine passes.
        EngineCacheError: When the cache cannot be trusted or written.
    """
    table: dict[str, Chosen] = {}

    def candidate(chosen: Chosen, instead: Candidate | None = None) -> Candidate:
        label = f"{chosen.variant} on {chosen.engine}"
        table[label] = chosen
        how = Building(cache, None, lambda what, part: progress(f"{label}: {what}", part), rebuild)
        return Candidate(label, lambda: _verified(bundle, chosen, threads, how), instead)

    names = list(dict.fromkeys(name for one in asked for name in _expanded(one)))
    levels = [
        [
            candidate(
                Chosen(engine, variant, variant),
                candidate(lowered) if (lowered := _lowered(bundle, engine, variant)) else None,
            )
            for engine in names
            for variant in level
        ]
        for level in _levels(bundle, precision, fallback)
    ]
    planes = golden_planes(bundle.golden_low, bundle.golden_high, bundle.spec)
    choice = fastest_accepted(levels, {"planes": planes})
    try:
        chosen = table[choice.name]
        for name in {"auto", *(name for name in names if name == chosen.engine)}:
            remember(cache, bundle.sha256, name, chosen)
    except EngineCacheError:
        choice.engine.close()
        raise
    return choice


def _expanded(asked: str) -> Sequence[str]:
    if asked != "auto":
        return [asked]
    states = engines.available()
    # With nothing installed the first one's own error says what to do.
    return [name for name in engines.AUTO if states[name].usable] or engines.AUTO[:1]


def _levels(bundle: Bundle, precision: str, fallback: bool) -> list[list[str]]:
    """Groups of variants; a group is tried where none before it passes."""
    found = {
        level: [name for name in bundle.variants if precision_of(name) == level]
        for level in PRECISIONS
    }
    if precision == "auto":
        return [[name for names in found.values() for name in names]]
    if not found.get(precision):
        raise ConfigError(
            f"the bundle has no variant of precision {precision!r}",
            expected=", ".join(level for level, names in found.items() if names),
            found=precision,
            remedy="Choose one of these, or get a bundle that has it",
        )
    first = PRECISIONS.index(precision)
    return [found[level] for level in PRECISIONS[first : None if fallback else first + 1]]


def _lowered(bundle: Bundle, engine: str, variant: str) -> Chosen | None:
    """The back end that lowers a graph by itself, where there is one for this variant."""
    other, precision = LOWERING.get(engine), precision_of(variant)
    if other is None or precision == "fp32" or not engines.available()[other].usable:
        return None
    # FP16 is chosen by the library in the float32 graph; INT8 needs the scales of its own.
    return Chosen(other, variant, "fp32" if precision == "fp16" else variant)


def load_graph(
    bundle: Bundle, chosen: Chosen, threads: int | None, how: Building, least: float | None = None
) -> Engine:
    """A graph of a bundle in an engine: whole, or in two stages where windows may stop.

    Args:
        bundle: What the graph is from.
        chosen: Which graph, and in which engine.
        threads: Threads of one run; None for every physical core.
        how: How it is built and kept.
        least: As in `load_variant`.

    Raises:
        EngineError: When the engine is not installed or refuses the model, or the bundle states
            when windows stop and its graph has no first pass, or stops at the golden window.
    """
    model = bundle.model(chosen.graph)
    below = below_for(stated_for(bundle, chosen), least)
    if below is None:
        return engines.load(model, chosen.engine, threads, how)
    stages = in_two(model, len(bundle.spec.classes))

    def join(loaded: Sequence[Engine]) -> Engine:
        first, second = loaded
        engine = TwoStage(first, second, stages, below)
        # Here, for a back end without plans, or one whose plans are kept, is verified by nobody
        # else: a statement that stops at what is there would clear every bag.
        check_goes_on(bundle, engine)
        return engine

    both = (stages.first, stages.second)
    return engines.load_joined(both, chosen.engine, threads, how, join)


def stated_for(bundle: Bundle, chosen: Chosen) -> tuple[Quiet, ...]:
    """What a bundle states of quiet windows, where the back end computes as the graph says.

    The first-pass scores of one that computes in another type are off by more than a statement's
    margin: `TOLERANCES` allows bfloat16 0.05, where the shipped model's margin is 0.02.
    """
    return () if chosen.engine in ARITHMETIC else bundle.variant(chosen.variant).quiet


def _load(
    bundle: Bundle, chosen: Chosen, threads: int | None, how: Building, least: float | None = None
) -> Engine:
    how = dataclasses.replace(how, accept=lambda engine: verify(bundle, chosen, engine))
    return load_graph(bundle, chosen, threads, how, least)


def _verified(bundle: Bundle, chosen: Chosen, threads: int | None, how: Building) -> Engine:
    """The engine, accepted now: one from the cache may have been accepted long ago.

    Where windows may stop, the two stages are built and accepted as well, and closed again.
    """
    stated = stated_for(bundle, chosen)
    for least in (*(one.keeps for one in stated), None):
        engine = _load(bundle, chosen, threads, how, least)
        try:
            verify(bundle, chosen, engine)
        except BaseException:
            engine.close()
            raise
        if least is not None:
            engine.close()
    return engine


def verify(bundle: Bundle, chosen: Chosen, engine: Engine) -> None:
    """Nothing, when an engine keeps the contract and reproduces the bundle's golden answer.

    One of two stages must refine the golden window, and stop at one of air.

    Raises:
        EngineError: When it does not.
    """
    check_contract(engine, bundle.spec)
    limit = tolerance(bundle, chosen.engine, chosen.variant)
    if not isinstance(engine, TwoStage):
        verify_golden(bundle, engine, chosen.variant, limit)
        return
    check_stops(bundle, chosen.variant, engine)
    verify_golden(bundle, engine, chosen.variant, limit)


def check_stops(bundle: Bundle, variant: str, engine: TwoStage) -> None:
    """Nothing, when an engine goes on at the golden window, and air is quiet to it.

    Air must lie below the highest score that the variant states; the lowest may be below that of
    air, where it is for whoever wants every faint detection.

    Raises:
        EngineRunError: When it does not.
    """
    spec = bundle.spec
    check_goes_on(bundle, engine)
    most = max((one.below for one in bundle.variant(variant).quiet), default=engine.below)
    air = np.full((spec.binning, spec.binning), AIR_COUNTS, np.uint16)
    engine.run({"planes": golden_planes(air, air, spec)})
    if not engine.score < most:
        raise EngineRunError(
            "the engine does not stop at a window of air",
            expected=f"first-pass scores below {most:g}",
            found=f"{engine.score:g}",
            remedy="Refine every window, and report this with the output of `xedge doctor`",
        )


def check_goes_on(bundle: Bundle, engine: TwoStage) -> None:
    """Nothing, when an engine goes on at the golden window, which holds something.

    Raises:
        EngineRunError: When it stops.
    """
    engine.run({"planes": golden_planes(bundle.golden_low, bundle.golden_high, bundle.spec)})
    if engine.score < engine.below:
        raise EngineRunError(
            "the engine stops at the bundle's golden window",
            expected=f"a first-pass score of {engine.below:g} or more",
            found=f"{engine.score:g}",
            remedy="Refine every window, and report this with the output of `xedge doctor`",
        )


def tolerance(bundle: Bundle, engine: str, variant: str) -> Tolerance:
    """The variant's own tolerance, or that of the type that the back end computes in if wider."""
    own = bundle.variant(variant).tolerance
    wide = TOLERANCES[ARITHMETIC.get(engine, "float32")]
    return Tolerance(max(own.score, wide.score), min(own.iou, wide.iou))
