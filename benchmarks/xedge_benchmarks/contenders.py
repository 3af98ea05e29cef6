"""Contenders of `xedge bench engines`: one model on several engines, fed with the same windows."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from xedge import engines
from xedge.encode import AIR_PLANES
from xedge.engines import Availability, Engine
from xedge.errors import ConfigError
from xedge.preprocess import pad_planes
from xedge.scanner.windows import WindowPlan
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels, ModelSpec
from xedge.types import U8, U16
from xedge_benchmarks.interleave import Contender
from xedge_benchmarks.work import work_of

NOT_MEASURED = frozenset({"fake"})
"""Back ends that compute nothing."""

WINDOWS = 2
"""Windows of noise that ranges are taken from: scales do not change what a graph takes."""


def measurable_engines() -> dict[str, Availability]:
    """Every back end that computes something, and whether it can be used here."""
    return {name: state for name, state in engines.available().items() if name not in NOT_MEASURED}


def bag_counts(spec: ModelSpec, count: int, seed: int) -> tuple[tuple[U16, U16], ...]:
    """Corrected low and high counts of simulated bags that a model can screen.

    Args:
        spec: The model's description.
        count: How many bags.
        seed: Of the first bag; the others follow.

    Raises:
        ConfigError: When the model does not take dual-energy planes of the simulator's width.
    """
    scanner = ScannerModel()
    if spec.channels is not Channels.DUAL_ENERGY or scanner.elements > spec.width * spec.binning:
        raise ConfigError(
            "the simulator's bags do not fit the model",
            expected=f"dual-energy planes of at least {scanner.elements} detector elements",
            found=f"{spec.channels.value} planes of {spec.width * spec.binning} elements",
        )
    field = flat_field(scanner, scanner.seed, scanner.seed)
    bags = (generate_bag(number, BagConfig(), scanner) for number in range(seed, seed + count))
    return tuple(field.apply(bag.low, bag.high) for bag in bags)


def bag_windows(spec: ModelSpec, count: int, seed: int) -> tuple[U8, ...]:
    """Windows of simulated bags as a lane gives them to an engine, uint8 ``[1, 3, h, w]``.

    Each is the first window of a bag: corrected, encoded, air where the bag or the detector ends.

    Args:
        spec: The model's description.
        count: How many bags.
        seed: Of the first bag; the others follow.

    Raises:
        ConfigError: As `bag_counts` says.
    """
    plan = WindowPlan.for_model(spec)
    return tuple(
        pad_planes(plan.planes(low, high, 0), spec.height, spec.width, AIR_PLANES)[None]
        for low, high in bag_counts(spec, count, seed)
    )


def noise(height: int, width: int) -> list[U8]:
    """Planes of noise, uint8 ``[3, height, width]``, always the same."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (3, height, width), dtype=np.uint8) for _ in range(WINDOWS)]


@contextlib.contextmanager
def loaded_engines(
    model: bytes, names: Sequence[str], threads: int | None
) -> Iterator[tuple[Engine, ...]]:
    """The model on each engine; all are closed at the end.

    Args:
        model: The ONNX file.
        names: Back ends, by the names of `xedge.engines.BACK_ENDS`.
        threads: Threads of one run, the same for all; None for every physical core.

    Raises:
        EngineError: When an engine is not installed or refuses the model.
    """
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(closing(engines.load(model, name, threads))) for name in names
        )


def work_told(model: bytes) -> dict[str, Any] | None:
    """What a graph does once, as a record has it; None without the package onnx, or if not fixed.

    Args:
        model: The ONNX file.
    """
    try:
        work = work_of(model)
    except ModuleNotFoundError:  # a device has no extra `export`
        return None
    return None if work is None else dataclasses.asdict(work)


def engine_contender(name: str, engine: Engine, windows: Sequence[U8]) -> Contender:
    """The contender that runs an engine on one window after the other, then from the start.

    Contenders with the same windows see the same one in the same round.

    Args:
        name: Of the contender.
        engine: A loaded detector.
        windows: Planes uint8 ``[1, 3, h, w]``, at least one.

    Raises:
        ConfigError: When there is no window.
    """
    if not windows:
        raise ConfigError("an engine cannot be measured without a window to feed")
    feeds = itertools.cycle([{"planes": window} for window in windows])
    return Contender(name, lambda: engine.run(next(feeds)))
