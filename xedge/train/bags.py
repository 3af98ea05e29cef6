"""Simulated bags as training windows: simulated once, kept on disk, cropped and augmented."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

import xedge.sim
from xedge.encode import AIR_PLANES, dual_energy_planes
from xedge.errors import ConfigError
from xedge.preprocess import pad_planes
from xedge.scanner.flatfield import FlatField
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.train.batch import Item, presence_of
from xedge.train.config import SimulatedData
from xedge.types import F32, I32, U8


@dataclass(frozen=True, eq=False)
class PlanesOfBag:
    """One whole bag as planes, with its truth in planes' pixels.

    Attributes:
        planes: uint8 ``[3, h, w]``.
        boxes: float32 ``[n, 4]``.
        labels: int32 ``[n]``.
        occlusion: int32 ``[n]``, 1 to 3.
    """

    planes: U8
    boxes: F32
    labels: I32
    occlusion: I32


@cache
def default_flat_field() -> FlatField:
    """The flat field of the default simulated scanner, from its own dark and air runs."""
    return flat_field(ScannerModel(), 1, 2)


def simulate(seed: int, binning: int, packing: BagConfig) -> PlanesOfBag:
    """The bag of a seed through scanner, flat-field correction and encoding."""
    bag = generate_bag(seed, packing)
    planes = dual_energy_planes(*default_flat_field().apply(bag.low, bag.high), binning)
    classes = {name: k for k, name in enumerate(xedge.sim.CLASSES)}
    return PlanesOfBag(
        planes,
        np.array([t.box for t in bag.truth], np.float32).reshape(-1, 4) / np.float32(binning),
        np.array([classes[t.label] for t in bag.truth], np.int32),
        np.array([t.occlusion for t in bag.truth], np.int32),
    )


def simulator_digest() -> str:
    """16 hex digits that change whenever the simulator's code or tables do."""
    digest = hashlib.sha256()
    for path in sorted(Path(xedge.sim.__path__[0]).glob("*")):
        if path.suffix in (".py", ".npz"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _store(folder: Path, seed: int, binning: int, packing: BagConfig) -> None:
    path = folder / f"{seed}.npz"
    if path.exists():
        return
    bag = simulate(seed, binning, packing)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(
        temporary, planes=bag.planes, boxes=bag.boxes, labels=bag.labels, occlusion=bag.occlusion
    )
    temporary.replace(path)


class BagStore:
    """Bags on disk, one file a seed; a folder for each version of the simulator and way to pack."""

    def __init__(self, cache: Path, binning: int, packing: BagConfig) -> None:
        self.binning, self.packing = binning, packing
        note = f"{simulator_digest()} {binning} {packing}"
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
        fixed = ([value] * len(missing) for value in (self.folder, self.binning, self.packing))
        folders, binnings, packings = fixed
        # One BLAS thread each: with one process a core, more only wait for each other.
        with ProcessPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,)) as pool:
            for _ in pool.map(_store, folders, missing, binnings, packings, chunksize=4):
                advance()

    def load(self, seed: int) -> PlanesOfBag:
        """The bag of a seed, simulated now when it is not on disk."""
        _store(self.folder, seed, self.binning, self.packing)
        with np.load(self.folder / f"{seed}.npz", allow_pickle=False) as file:
            return PlanesOfBag(file["planes"], file["boxes"], file["labels"], file["occlusion"])


def crop(bag: PlanesOfBag, top: int, data: SimulatedData) -> PlanesOfBag:
    """The window of a bag from line ``top``, padded with air to the window's size.

    Boxes of which less than ``data.min_visible`` lies inside are dropped.
    """
    part = bag.planes[:, top : top + data.height]
    if part.shape[2] > data.width:
        raise ConfigError(
            "the window is narrower than the detector",
            expected=f"at least {part.shape[2]} pixels",
            found=str(data.width),
            remedy="Raise data.width or data.binning",
        )
    planes = pad_planes(part, data.height, data.width, AIR_PLANES)
    moved = bag.boxes - np.array([0, top, 0, top], np.float32)
    cut = np.clip(moved, 0, [data.width, part.shape[1]] * 2).astype(np.float32)

    def area(b: F32) -> F32:
        product: F32 = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        return product

    keep = area(cut) >= data.min_visible * np.maximum(area(moved), 1e-6)
    return PlanesOfBag(planes, cut[keep], bag.labels[keep], bag.occlusion[keep])


def augment(bag: PlanesOfBag, rng: np.random.Generator, tone: float) -> PlanesOfBag:
    """The window mirrored along and across the belt by chance, its tone bent.

    A bag may lie either way on the belt, so both mirrors are true to the scanner. The tone
    exponent acts on both energies alike (tube output and thickness of lining differ).
    """
    planes, boxes = bag.planes, bag.boxes.copy()
    _, height, width = planes.shape
    if rng.random() < 0.5:
        planes, boxes[:, [0, 2]] = planes[:, :, ::-1], width - boxes[:, [2, 0]]
    if rng.random() < 0.5:
        planes, boxes[:, [1, 3]] = planes[:, ::-1], height - boxes[:, [3, 1]]
    air = AIR_PLANES.astype(np.float64)
    exponent = np.exp(rng.normal(0.0, tone)) if tone else 1.0
    table = np.arange(256)[None] / air[:2, None]
    table = np.clip(np.rint(air[:2, None] * table**exponent), 0, 255).astype(np.uint8)
    bent = np.stack([table[0][planes[0]], table[1][planes[1]], planes[2]])
    return PlanesOfBag(bent, boxes, bag.labels, bag.occlusion)


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
        packing = teaching if train else BagConfig()
        self.store = BagStore(Path(data.cache), data.binning, packing)
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
        bag = self.store.load(self.seeds[index])
        if self.train:
            rng = np.random.default_rng((self.seed, self.epoch, index))
            slack = max(bag.planes.shape[1] - self.data.height, 0)
            bag = crop(bag, int(rng.integers(slack + 1)), self.data)
            bag = augment(bag, rng, self.data.tone)
        else:
            bag = crop(bag, 0, self.data)
        labels = self.known[bag.labels]
        wanted = labels >= 0
        taught = torch.from_numpy(labels[wanted]).long()
        return Item(
            f"bag {self.seeds[index]}",
            torch.from_numpy(np.ascontiguousarray(bag.planes)),
            torch.from_numpy(bag.boxes[wanted]),
            taught,
            torch.from_numpy(bag.occlusion[wanted]).long(),
            presence_of(taught, len(self.classes)),
        )
