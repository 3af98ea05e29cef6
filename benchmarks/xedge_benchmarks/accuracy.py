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

import numpy as np

from xedge.bundle import Bundle
from xedge.commands.screening import warm_detector
from xedge.detector import Detector
from xedge.engines.threads import physical_cores
from xedge.metrics import Truth, average_precision
from xedge.sim import CLASSES
from xedge.sim.bags import SimulatedBag, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import Detections
from xedge_benchmarks.record import BenchRecord, Json, new_record

FRESH_SEED = 3_000_000
"""First seed of the bags to measure on; recipes use seeds from 1,000,000 and 2,000,000."""


@dataclass(frozen=True, kw_only=True)
class AccuracySettings:
    """What accuracy is measured on.

    Attributes:
        engine: A back end's name, or ``auto``.
        bags: Fresh bags, packed as the simulator packs them by default.
        seed: Seed of the first.
        threads: Threads of the engine; None for every physical core.
    """

    engine: str = "auto"
    bags: int = 500
    seed: int = FRESH_SEED
    threads: int | None = None


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
    scanner = ScannerModel()
    field = flat_field(scanner, 1, 2)
    threads = settings.threads or physical_cores()
    found: list[list[Detections]] = [[] for _ in bundles]
    truths: list[Truth] = []
    with ExitStack() as stack:
        opened = [stack.enter_context(warm_detector(b, settings.engine, threads)) for b in bundles]
        detectors = [detector for detector, _ in opened]
        for seed in range(settings.seed, settings.seed + settings.bags):
            bag = generate_bag(seed, scanner=scanner)
            low, high = field.apply(bag.low, bag.high)
            for detector, mine in zip(detectors, found, strict=True):
                mine.append(detector.detect_scan(low, high))
            truths.append(truth_of(bag))
            advance()
        rows = [_row(d, mine, truths) for d, mine in zip(detectors, found, strict=True)]
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
    )


def truth_of(bag: SimulatedBag) -> Truth:
    """The labelled objects of a simulated bag, with their occlusion as level."""
    return Truth(
        np.array([t.box for t in bag.truth], np.float32).reshape(-1, 4),
        np.array([CLASSES.index(t.label) for t in bag.truth], np.int32),
        np.array([t.occlusion for t in bag.truth], np.int32),
    )


def _row(detector: Detector, found: list[Detections], truths: list[Truth]) -> Json:
    spec = detector.spec
    n = len(spec.classes)
    whole = average_precision(found, truths, n)
    levels = {f"OL{k}": average_precision(found, truths, n, level=k).ap50 for k in (1, 2, 3)}
    alarmed = np.array([bool((d.scores >= spec.alarm_threshold).any()) for d in found])
    holds = np.array([t.labels.size > 0 for t in truths])
    return {
        "model": spec.name,
        "stage": spec.stage,
        "ap50": _number(whole.ap50),
        "ap": _number(whole.ap),
        "ap50_by_class": _by_class(spec.classes, whole.ap50_by_class),
        "objects_by_class": dict(zip(spec.classes, whole.objects_by_class, strict=True)),
        "ap50_by_occlusion": {name: _number(value) for name, value in levels.items()},
        "bags_with_objects": int(holds.sum()),
        "alarmed_of_those": int((alarmed & holds).sum()),
        "clean_bags": int((~holds).sum()),
        "alarmed_of_clean": int((alarmed & ~holds).sum()),
        "alarm_threshold": spec.alarm_threshold,
    }


def _by_class(names: tuple[str, ...], values: tuple[float, ...]) -> Json:
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: float) -> float | None:
    """Four decimals; None where there was nothing to find, since JSON has no NaN."""
    return None if math.isnan(value) else round(value, 4)
