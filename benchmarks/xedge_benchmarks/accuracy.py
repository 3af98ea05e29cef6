"""`xedge bench accuracy`: what a bundle finds on fresh simulated bags, through a real engine.

The whole chain is measured as it runs on a device: raw counts, flat-field correction, windows,
engine, suppression, merged boxes in detector elements and lines. The bags' seeds are none that a
recipe trains on or holds out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from xedge.bundle import Bundle
from xedge.commands.evaluated import FRESH_SEED, finder, simulated
from xedge.engines.threads import physical_cores
from xedge.metrics import Truth, summarise
from xedge.metrics.summary import LEVELS
from xedge.spec import ModelSpec
from xedge.types import Detections
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.record import BenchRecord, Json, new_record


@dataclass(frozen=True, kw_only=True)
class AccuracySettings:
    """What accuracy is measured on.

    Attributes:
        engine: A back end's name, or ``auto``.
        bags: Fresh bags, packed as the simulator packs them by default.
        seed: Seed of the first.
        threads: Threads of the engine; None for every physical core.
        within_s: Seconds after which no more bag is screened; None sets no end.
    """

    engine: str = "auto"
    bags: int = 500
    seed: int = FRESH_SEED
    threads: int | None = None
    within_s: float | None = None


def bench_accuracy(
    bundles: Sequence[Bundle],
    settings: AccuracySettings = AccuracySettings(),
    advance: Callable[[], None] = lambda: None,
) -> BenchRecord:
    """A record of average precision, bag alarms and false alarms for each bundle, on the same bags.

    Args:
        bundles: The models; with two stages of one model the difference is what LA is worth.
        settings: The bags and the engine.
        advance: Called after each bag.

    Raises:
        EngineError: When the engine is not installed or refuses a model.
    """
    threads = settings.threads or physical_cores()
    budget = Budget(settings.within_s)
    found: list[list[Detections]] = [[] for _ in bundles]
    truths: list[Truth] = []
    subjects = simulated(bundles[0].spec.classes, settings.bags, settings.seed)
    with ExitStack() as stack:
        opened = [stack.enter_context(finder(b, settings.engine, threads=threads)) for b in bundles]
        watch = stack.enter_context(Watch())
        for subject in subjects.items():
            for (find, _), mine in zip(opened, found, strict=True):
                mine.append(find(subject)[0])
            truths.append(subject.truth)
            advance()
            if budget.over():
                break
    rows = [accuracy_row(b.spec, mine, truths) for b, mine in zip(bundles, found, strict=True)]
    digests = {
        f"{b.spec.name}:{b.spec.stage}": hashlib.sha256(b.model()).hexdigest() for b in bundles
    }
    used = opened[0][1]
    results: Json = {"models": rows, "engine": f"{used.name} {used.version}"}
    return new_record(
        "accuracy",
        models=digests,
        settings=dataclasses.asdict(settings) | {"threads": threads},
        results=results,
        conditions=watch.conditions,
        notes=budget.stopped("bags", len(truths), settings.bags),
    )


def accuracy_row(spec: ModelSpec, found: Sequence[Detections], truths: Sequence[Truth]) -> Json:
    """What a record says of a model that found these in bags of this truth."""
    summary = summarise(found, truths, len(spec.classes), spec.alarm_threshold)
    whole, levels = summary.whole, summary.levels
    return {
        "model": spec.name,
        "stage": spec.stage,
        "ap50": _number(whole.ap50),
        "ap": _number(whole.ap),
        "ap50_by_class": _by_class(spec.classes, whole.ap50_by_class),
        "objects_by_class": dict(zip(spec.classes, whole.objects_by_class, strict=True)),
        "ap50_by_occlusion": {
            f"OL{k}": _number(levels[k].ap50) if k in levels else None for k in LEVELS
        },
        "bags_with_objects": summary.loaded,
        "alarmed_of_those": summary.loaded_alarmed,
        "clean_bags": summary.clean,
        "alarmed_of_clean": summary.clean_alarmed,
        "alarm_threshold": spec.alarm_threshold,
    }


def _by_class(names: tuple[str, ...], values: tuple[float, ...]) -> Json:
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: float) -> float | None:
    """Four decimals; None where there was nothing to find, since JSON has no NaN."""
    return None if math.isnan(value) else round(value, 4)
