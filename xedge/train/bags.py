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
import xedge.scanner.flatfield
import xedge.sim
import xedge.train.counts
import xedge.train.sample
import xedge.types
from xedge.encode import AIR, bin_counts, dual_energy_planes
from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.sim.bags import DEFAULT_SCANNER, BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.display import Display, drawn_display
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels
from xedge.train.batch import Item, to_item
from xedge.train.config import SimulatedData
from xedge.train.counts import as_planes, framed, shown
from xedge.train.project import Donors
from xedge.train.sample import Sample, augment, crop, fit
from xedge.train.stored import stored
from xedge.types import AIR_COUNTS


@dataclass(frozen=True)
class Making:
    """How bags become planes.

    Attributes:
        binning: Detector elements and lines averaged into one pixel, each way.
        packing: How a bag is packed.
        channels: What the planes are.
        scanner: What scans the bag.
    """

    binning: int
    packing: BagConfig
    channels: Channels = Channels.DUAL_ENERGY
    scanner: ScannerModel = DEFAULT_SCANNER

    def note(self) -> str:
        """What tells one way of making them from another."""
        colour = "" if self.channels is Channels.DUAL_ENERGY else f" {self.channels.value}"
        scanner = "" if self.scanner == DEFAULT_SCANNER else f" {self.scanner}"
        return f"{simulator_digest()} {self.binning} {self.packing}{colour}{scanner}"


@cache
def default_flat_field(scanner: ScannerModel = DEFAULT_SCANNER) -> FlatField:
    """The flat field of a simulated scanner, the default one, from its own dark and air runs."""
    return flat_field(scanner, 1, 2)


def simulate(
    seed: int,
    binning: int,
    packing: BagConfig,
    channels: Channels = Channels.DUAL_ENERGY,
    scanner: ScannerModel = DEFAULT_SCANNER,
) -> Sample:
    """The bag of a seed through scanner, flat-field correction and encoding.

    Labels are indices into the simulator's classes.
    """
    made = _made(seed, Making(binning, packing, channels, scanner))
    return shown(made, Display()) if channels is Channels.PSEUDO_COLOUR else made


def _made(seed: int, making: Making) -> Sample:
    """The bag of a seed as it is kept: planes of dual energy, or counts for pseudo-colour."""
    bag = generate_bag(seed, making.packing, making.scanner)
    counts = default_flat_field(making.scanner).apply(bag.low, bag.high)
    binning = making.binning
    if making.channels is Channels.DUAL_ENERGY:
        planes = dual_energy_planes(*counts, binning)
    else:
        planes = as_planes(*(bin_counts(c, binning) for c in counts))
    classes = {name: k for k, name in enumerate(xedge.sim.CLASSES)}
    return Sample(
        planes,
        np.array([t.box for t in bag.truth], np.float32).reshape(-1, 4) / np.float32(binning),
        np.array([classes[t.label] for t in bag.truth], np.int32),
        np.array([t.occlusion for t in bag.truth], np.int32),
    )


MAKERS: Final[tuple[ModuleType, ...]] = (
    xedge.encode, xedge.scanner.flatfield, xedge.types, xedge.train.counts, xedge.train.sample
)  # fmt: skip
"""What a bag is made with as it is kept, besides the simulator itself."""


def simulator_digest() -> str:
    """16 hex digits that change whenever the code or tables do that a bag is made by."""
    digest = hashlib.sha256()
    for path in sorted(Path(xedge.sim.__path__[0]).glob("*")):
        if path.suffix in (".py", ".npz"):
            digest.update(path.read_bytes())
    for module in MAKERS:
        digest.update(inspect.getsource(module).encode())
    for function in (_made, default_flat_field):
        digest.update(inspect.getsource(function).encode())
    return digest.hexdigest()[:16]


def _store(folder: Path, seed: int, making: Making) -> Sample:
    return stored(folder / f"{seed}.npz", lambda: _made(seed, making))


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
        """The bag of a seed, simulated now when it is not on disk, or damaged there.

        Its planes are those of dual energy, or the counts that pseudo-colour is made of
        (`xedge.train.counts`).
        """
        return _store(self.folder, seed, self.making)


def window(bag: Sample, top: int, data: SimulatedData) -> Sample:
    """The window of a bag from line ``top`` that a recipe's data asks for."""
    return crop(bag, top, data.height, data.width, data.min_visible, AIR[data.channels])


AIR_ALONE: Final = Sample(
    as_planes(*np.full((2, 1, 1), AIR_COUNTS, np.uint16)),
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
)
"""One pixel of an empty belt, as counts."""


class Windows(Dataset[Item]):
    """Windows to train on (random crop, augmented) or to watch a run by (top crop, as it is)."""

    def __init__(
        self,
        data: SimulatedData,
        classes: tuple[str, ...],
        seed: int,
        *,
        train: bool,
        donors: Donors | None = None,
    ) -> None:
        self.data, self.classes, self.seed = data, classes, seed
        self.train, self.epoch, self.donors = train, 0, donors
        first, count = (
            (data.train_seed, data.train_bags) if train else (data.val_seed, data.val_bags)
        )
        self.seeds = range(first, first + count)
        making = Making(data.binning, data.packing(train=train), data.channels, data.scanner)
        self.store = BagStore(Path(data.cache), making)
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
        for k in range(self.data.displays if self.train else 0):
            # Palettes are dear to make, and the processes that load items inherit these.
            shown(AIR_ALONE, drawn_display(k))
        self.store.prepare(self.seeds, workers, advance)

    def __getitem__(self, index: int) -> Item:
        bag, data = self.store.load(self.seeds[index]), self.data
        rng = np.random.default_rng((self.seed, self.epoch, index))
        if data.channels is Channels.PSEUDO_COLOUR:
            bag = self._picture(bag, rng)
        if data.view == "whole":
            bag = fit(bag, data.height, data.width, data.channels, keep_ratio=False)
        else:
            slack = max(bag.planes.shape[1] - data.height, 0)
            bag = window(bag, int(rng.integers(slack + 1)) if self.train else 0, data)
        known = replace(bag, labels=self.known[bag.labels])
        taught = known.keep(known.labels >= 0)
        if self.train:
            if self.donors is not None and rng.random() < data.tip:
                taught = self.donors.project(taught, rng)
            taught = augment(taught, rng, data.tone, data.channels)
        presence = np.full(len(self.classes), -1, np.int8)
        presence[taught.labels] = 1
        return to_item(f"bag {self.seeds[index]}", taught, presence)

    def _picture(self, bag: Sample, rng: np.random.Generator) -> Sample:
        """The bag framed and shown as the data asks for; held-out ones on our own display."""
        data = self.data
        if data.air is not None:
            most = np.full(4, data.air)
            # Many pictures are cut close to the bag, others show it on an empty belt.
            share = rng.random() ** 2 * rng.random(4) if self.train else np.zeros(4)
            left, top, right, bottom = (float(v) for v in most * share)
            bag = framed(bag, (left, top, right, bottom))
        drawn = self.train and data.displays > 0
        return shown(bag, drawn_display(int(rng.integers(data.displays))) if drawn else Display())
