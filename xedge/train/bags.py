"""Simulated bags as items: simulated once, kept on disk, cropped or fitted, augmented."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

import xedge.encode
import xedge.preprocess
import xedge.scanner.flatfield
import xedge.sim
import xedge.train.sample
import xedge.types
from xedge.encode import AIR, bin_counts, dual_energy_planes
from xedge.errors import ConfigError
from xedge.preprocess import pseudo_colour
from xedge.scanner.flatfield import FlatField
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels
from xedge.train.batch import Item, to_item
from xedge.train.config import SimulatedData
from xedge.train.sample import Sample, augment, crop, fit
from xedge.train.stored import stored


@cache
def default_flat_field() -> FlatField:
    """The flat field of the default simulated scanner, from its own dark and air runs."""
    return flat_field(ScannerModel(), 1, 2)


def simulate(
    seed: int, binning: int, packing: BagConfig, channels: Channels = Channels.DUAL_ENERGY
) -> Sample:
    """The bag of a seed through scanner, flat-field correction and encoding.

    Labels are indices into the simulator's classes.
    """
    bag = generate_bag(seed, packing)
    counts = default_flat_field().apply(bag.low, bag.high)
    if channels is Channels.DUAL_ENERGY:
        planes = dual_energy_planes(*counts, binning)
    else:
        picture = pseudo_colour(*(bin_counts(c, binning) for c in counts))
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    classes = {name: k for k, name in enumerate(xedge.sim.CLASSES)}
    return Sample(
        planes,
        np.array([t.box for t in bag.truth], np.float32).reshape(-1, 4) / np.float32(binning),
        np.array([classes[t.label] for t in bag.truth], np.int32),
        np.array([t.occlusion for t in bag.truth], np.int32),
    )


MAKERS: Final[tuple[ModuleType, ...]] = (
    xedge.encode, xedge.preprocess, xedge.scanner.flatfield, xedge.types, xedge.train.sample
)  # fmt: skip
"""What `simulate` makes planes with besides the simulator itself."""


def simulator_digest() -> str:
    """16 hex digits that change whenever the code or tables do that a bag is made by."""
    digest = hashlib.sha256()
    for path in sorted(Path(xedge.sim.__path__[0]).glob("*")):
        if path.suffix in (".py", ".npz"):
            digest.update(path.read_bytes())
    for module in MAKERS:
        digest.update(inspect.getsource(module).encode())
    for function in (simulate, default_flat_field):
        digest.update(inspect.getsource(function).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Making:
    """How bags become planes.

    Attributes:
        binning: Detector elements and lines averaged into one pixel, each way.
        packing: How a bag is packed.
        channels: What the planes are.
    """

    binning: int
    packing: BagConfig
    channels: Channels = Channels.DUAL_ENERGY

    def note(self) -> str:
        """What tells one way of making them from another."""
        colour = "" if self.channels is Channels.DUAL_ENERGY else f" {self.channels.value}"
        return f"{simulator_digest()} {self.binning} {self.packing}{colour}"


def _store(folder: Path, seed: int, making: Making) -> Sample:
    return stored(
        folder / f"{seed}.npz",
        lambda: simulate(seed, making.binning, making.packing, making.channels),
    )


class BagStore:
    """Bags on disk, one file a seed; a folder for each version of the simulator and making."""

    def __init__(self, cache: Path, making: Making) -> None:
        self.making = making
        note = making.note()
        self.folder = cache / hashlib.sha256(note.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "README").write_text(note + "\n", encoding="utf-8")

    def prepare(self, seeds: range, workers: int, advance: Callable[[], None]) -> None:
        """Simulate the bags of ``seeds`` that are missing; ``advance`` is called for each bag."""
        missing = [s for s in seeds if not (self.folder / f"{s}.npz").exists()]
        for _ in range(len(seeds) - len(missing)):
            advance()
        if not missing:
            return
        folders, makings = [self.folder] * len(missing), [self.making] * len(missing)
        # One BLAS thread each: with one process a core, more only wait for each other.
        with ProcessPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,)) as pool:
            for _ in pool.map(_store, folders, missing, makings, chunksize=4):
                advance()

    def load(self, seed: int) -> Sample:
        """The bag of a seed, simulated now when it is not on disk, or damaged there."""
        return _store(self.folder, seed, self.making)


def window(bag: Sample, top: int, data: SimulatedData) -> Sample:
    """The window of a bag from line ``top`` that a recipe's data asks for."""
    return crop(bag, top, data.height, data.width, data.min_visible, AIR[data.channels])


class Windows(Dataset[Item]):
    """Windows to train on (random crop, augmented) or to watch a run by (top crop, as it is)."""

    def __init__(
        self, data: SimulatedData, classes: tuple[str, ...], seed: int, *, train: bool
    ) -> None:
        self.data, self.classes, self.seed = data, classes, seed
        self.train, self.epoch = train, 0
        first, count = (
            (data.train_seed, data.train_bags) if train else (data.val_seed, data.val_bags)
        )
        self.seeds = range(first, first + count)
        teaching = BagConfig(clean=data.clean, objects=data.objects, few=1.0)
        watching = BagConfig() if data.val_clean is None else BagConfig(clean=data.val_clean)
        packing = teaching if train else watching
        self.store = BagStore(Path(data.cache), Making(data.binning, packing, data.channels))
        if strangers := [c for c in classes if c not in xedge.sim.CLASSES]:
            raise ConfigError(
                "the simulator has no such class",
                expected=f"model.classes out of {', '.join(xedge.sim.CLASSES)}",
                found=", ".join(strangers),
            )
        self.known = np.array(
            [classes.index(c) if c in classes else -1 for c in xedge.sim.CLASSES], np.int32
        )

    def __len__(self) -> int:
        return len(self.seeds)

    def prepare(self, workers: int, advance: Callable[[], None]) -> None:
        """Simulate the bags that are not on disk; ``advance`` is called once a bag."""
        self.store.prepare(self.seeds, workers, advance)

    def __getitem__(self, index: int) -> Item:
        bag, data = self.store.load(self.seeds[index]), self.data
        rng = np.random.default_rng((self.seed, self.epoch, index))
        if data.view == "whole":
            bag = fit(bag, data.height, data.width, data.channels, keep_ratio=False)
        else:
            slack = max(bag.planes.shape[1] - data.height, 0)
            bag = window(bag, int(rng.integers(slack + 1)) if self.train else 0, data)
        if self.train:
            bag = augment(bag, rng, data.tone, data.channels)
        known = replace(bag, labels=self.known[bag.labels])
        taught = known.keep(known.labels >= 0)
        presence = np.full(len(self.classes), -1, np.int8)
        presence[taught.labels] = 1
        return to_item(f"bag {self.seeds[index]}", taught, presence)
