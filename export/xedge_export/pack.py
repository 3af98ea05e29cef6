"""A bundle from an exported model: golden counts from the simulator, answers from an engine."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from xedge.bundle import Variant, write_bundle
from xedge.detector import Detector
from xedge.encode import AIR_PLANES, dual_energy_planes
from xedge.engines import load
from xedge.errors import ExportError
from xedge.preprocess import pad_planes
from xedge.sim.bags import BagConfig, generate_bag
from xedge.spec import Channels, ModelSpec
from xedge.train.bags import default_flat_field
from xedge.types import U16
from xedge_export.contract import INPUT_NAME
from xedge_export.to_onnx import Exported

GOLDEN_SEED = 7_000_000
"""First seed tried for the golden bag; neither trained on nor held out nor in the fresh set."""
ENOUGH = 2
"""Detections that a golden window needs, each with a score of at least `SURE`."""
SURE = 0.5
TRIES = 20


def golden_counts(detector: Detector) -> tuple[U16, U16]:
    """Corrected counts of one window on which the detector is sure of at least two objects.

    A window without detections would compare nothing, so seeds are tried in order until one
    serves.

    Raises:
        ExportError: When `TRIES` bags gave none: such a detector detects nothing.
    """
    lines = detector.spec.height * detector.spec.binning
    for seed in range(GOLDEN_SEED, GOLDEN_SEED + TRIES):
        bag = generate_bag(seed, BagConfig(clean=0.0, few=1.0))
        low, high = (c[:lines] for c in default_flat_field().apply(bag.low, bag.high))
        if int((detector.detect_scan(low, high).scores >= SURE).sum()) >= ENOUGH:
            return np.ascontiguousarray(low), np.ascontiguousarray(high)
    raise ExportError(
        f"the detector is sure of nothing on {TRIES} simulated bags",
        expected=f"{ENOUGH} detections with a score of {SURE}",
        remedy="Train it for longer",
    )


def refuse_pictures(spec: ModelSpec) -> None:
    """Nothing, for a model that a bundle can hold.

    Raises:
        ExportError: For a model of pictures: a bundle proves itself on raw counts.
    """
    if spec.channels is not Channels.DUAL_ENERGY:
        raise ExportError(
            "a model of pictures does not go into a bundle, which proves itself on raw counts",
            expected=f"a model of {Channels.DUAL_ENERGY.value} planes",
            found=spec.channels.value,
            remedy="Export it to FILE.onnx",
        )


def pack(exported: Exported, path: Path, licence: str, created: datetime.date) -> str:
    """Sha256 of the bundle written to ``path``.

    The golden answers are ONNX Runtime's in float32, the reference that every other engine is
    held against on the device.

    Args:
        exported: The model.
        path: Where the bundle goes.
        licence: Text of the weights' licence.
        created: The day to record.

    Raises:
        ExportError: For a model of pictures, or one that is sure of nothing.
    """
    refuse_pictures(exported.spec)
    engine = load(exported.model, "onnxruntime")
    with Detector(engine, exported.spec) as detector:
        low, high = golden_counts(detector)
        planes = dual_energy_planes(low, high, exported.spec.binning)
        window = pad_planes(planes, exported.spec.height, exported.spec.width, AIR_PLANES)
        golden = detector.engine.run({INPUT_NAME: window[None]})
    return write_bundle(
        path,
        spec=exported.spec,
        variants={"fp32": Variant(exported.model, golden)},
        golden_low=low,
        golden_high=high,
        licence=licence,
        created=created,
        recipe=exported.checkpoint.recipe_text,
        measured=exported.checkpoint.measured,
    )
