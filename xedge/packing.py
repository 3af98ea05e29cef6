"""A bundle from ONNX files: golden counts from the simulator or a file, answers from an engine."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.bundle import Variant, write_bundle
from xedge.engines import load
from xedge.engines.base import Engine
from xedge.errors import BundleError, ExportError
from xedge.golden import TOLERANCES, golden_planes
from xedge.graph import read_graph
from xedge.postprocess import check_answer, check_contract, class_scores, detections
from xedge.quiet import Quiet
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.spec import METADATA_KEY, Kind, ModelSpec
from xedge.types import U16

GOLDEN_SEED: Final = 7_000_000
"""First seed tried for the golden bag; neither trained on nor held out nor in the fresh set."""
SURE: Final = 0.5
"""Score from which on a detection or a class counts in a golden window."""
ENOUGH: Final[Mapping[Kind, int]] = {Kind.DETECTOR: 2, Kind.CLASSIFIER: 1}
"""How many of these a golden window needs: one without would compare nothing."""
TRIES: Final = 20

REFERENCE: Final = "onnxruntime"
"""The engine whose answers are recorded: the portable one, in float32 where it has nothing less."""

NUMBERS: Final[Mapping[str, str]] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""How the name of a variant begins to the type that its layers compute in."""


def spec_of(model: bytes) -> ModelSpec | None:
    """The description inside an ONNX file; None when it holds none.

    Raises:
        BundleError: When it is no ONNX file, or its description cannot be used.
    """
    text = read_graph(model).metadata.get(METADATA_KEY)
    return None if text is None else ModelSpec.from_json(text)


def type_of(variant: str) -> str:
    """The type that the layers of a variant compute in, by its name: ``int8-ort`` gives int8.

    Raises:
        BundleError: When the name says none.

    >>> type_of("fp16"), type_of("int8-ort")
    ('float16', 'int8')
    """
    if (found := NUMBERS.get(variant.partition("-")[0])) is None:
        raise BundleError(
            "the name of a variant says nothing about its precision",
            expected=", ".join(f"{n} or {n}-..." for n in NUMBERS),
            found=repr(variant),
        )
    return found


def golden_counts(
    engine: Engine,
    spec: ModelSpec,
    sure: float | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[U16, U16]:
    """Corrected counts of one simulated window on which a model is sure of something.

    The first bag that serves is taken; where none of `TRIES` does, the best of those on which
    as much alarms, so that a model of modest scores has a golden window too.

    Args:
        engine: The loaded model.
        spec: Its description.
        sure: Score from which on it is; None takes `SURE`.
        advance: Called after each of at most `TRIES` bags.

    Raises:
        ExportError: When on no bag enough alarms: such a model finds nothing.
    """
    sure = SURE if sure is None else sure
    scanner = ScannerModel()
    field = flat_field(scanner, 1, 2)
    lines, elements = spec.height * spec.binning, spec.width * spec.binning
    best, chosen = min(sure, spec.alarm_threshold), None
    for seed in range(GOLDEN_SEED, GOLDEN_SEED + TRIES):
        bag = generate_bag(seed, BagConfig(clean=0.0, few=1.0), scanner)
        counts = field.apply(bag.low, bag.high)
        low, high = (np.ascontiguousarray(c[:lines, :elements]) for c in counts)
        score = _deciding_score(engine.run({"planes": golden_planes(low, high, spec)}), spec)
        advance()
        if score >= best:
            best, chosen = score, (low, high)
        if score >= sure:
            break
    if chosen is not None:
        return chosen
    what = "detections" if spec.kind is Kind.DETECTOR else "class"
    raise ExportError(
        f"the {spec.kind.value} is sure of nothing on {TRIES} simulated bags",
        expected=f"{ENOUGH[spec.kind]} {what} with a score of {best:g}",
        remedy="Train it for longer, lower --sure of `xedge pack`, or give it counts with --golden",
    )


def _deciding_score(answer: Mapping[str, npt.NDArray[Any]], spec: ModelSpec) -> float:
    """The score that the last of as many objects or classes has as a golden window needs."""
    if spec.kind is Kind.CLASSIFIER:
        scores = class_scores(answer, spec)
    else:
        scores = detections(answer, spec, spec.height, spec.width, spec.score_threshold).scores
    enough = ENOUGH[spec.kind]
    return float(np.sort(scores)[-enough]) if scores.size >= enough else 0.0


def pack_bundle(
    path: Path,
    models: Mapping[str, bytes],
    spec: ModelSpec,
    *,
    licence: str,
    created: datetime.date,
    recipe: str = "",
    measured: Mapping[str, Any] | None = None,
    counts: tuple[U16, U16] | None = None,
    sure: float | None = None,
    quiet: Mapping[str, Sequence[Quiet]] = MappingProxyType({}),
    private_key: bytes | None = None,
    advance: Callable[[], None] = lambda: None,
) -> str:
    """Sha256 of the bundle written to ``path``.

    The golden answers are those of `REFERENCE`, which every other engine is held against on the
    device; how far one may be from it follows from the variant's type (`golden.TOLERANCES`).

    Args:
        path: Where the bundle goes.
        models: Name of a variant to its ONNX file; ``fp32`` must be among them.
        spec: The description of them all.
        licence: Text of the weights' licence.
        created: The day to record.
        recipe: Text of the training's recipe.
        measured: What was measured of the model.
        counts: Corrected low and high counts of the golden window; None simulates them.
        sure: See `golden_counts`.
        quiet: Name of a variant to when its windows stop after the first pass.
        private_key: 32 raw bytes of an Ed25519 key to sign with.
        advance: Called after each simulated bag.

    Raises:
        BundleError: When the files are not variants of one model.
        EngineError: When the reference engine is absent, or refuses one.
        ExportError: When the model is sure of nothing.
    """
    if "fp32" not in models:
        raise BundleError("a bundle needs the variant fp32, which the others are held against",
                          expected="fp32=MODEL.onnx", found=", ".join(models))  # fmt: skip
    for name, model in models.items():
        _check_spec(name, model, spec)
    with ExitStack() as stack:
        engines = {}
        for name, model in models.items():
            engines[name] = load(model, REFERENCE)
            stack.callback(engines[name].close)
            check_contract(engines[name], spec)
        low, high = counts or golden_counts(engines["fp32"], spec, sure, advance)
        planes = golden_planes(low, high, spec)
        variants = {}
        for name, engine in engines.items():
            answer = engine.run({"planes": planes})
            check_answer(answer, spec)
            limit, stated = TOLERANCES[type_of(name)], tuple(quiet.get(name, ()))
            variants[name] = Variant(models[name], answer, limit, stated)
    return write_bundle(
        path,
        spec=spec,
        variants=variants,
        golden_low=low,
        golden_high=high,
        licence=licence,
        created=created,
        recipe=recipe,
        measured=measured,
        private_key=private_key,
    )


def own_licence() -> str:
    """The text of xedge's own licence, as it was installed."""
    for file in importlib.metadata.files("xedge") or ():
        if file.name == "LICENSE":
            return file.read_text()
    return f"Licence: {importlib.metadata.metadata('xedge')['License-Expression']}\n"


def _check_spec(name: str, model: bytes, spec: ModelSpec) -> None:
    """Nothing, when a file is a variant of the described model, as far as it says."""
    type_of(name)
    own = spec_of(model)
    if own is None:
        return
    free = {"stage", "parents", "measured"}  # of one model, these may differ
    for field in dataclasses.fields(ModelSpec):
        mine, wanted = getattr(own, field.name), getattr(spec, field.name)
        if field.name not in free and mine != wanted:
            raise BundleError(
                f"the variant {name} is of another model",
                expected=f"{field.name} {wanted!r}",
                found=repr(mine),
                remedy="Pack the variants of one export",
            )
