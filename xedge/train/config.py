"""The tables of a recipe that say what is learned from, and how: data and optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from xedge.data.formats import FORMATS
from xedge.errors import ConfigError
from xedge.sim.bags import DEFAULT_SCANNER, BagConfig
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels

VIEWS: Final = ("window", "whole")
MOST_DISPLAYS: Final = 48
"""As many palettes are kept at once (`xedge.preprocess`)."""
MOST_OBJECTS: Final = 8
"""The simulator packs no more into a bag (`xedge.sim.bags.BagConfig`)."""


def refuse_unsound(table: str, config: object, sound: Mapping[str, tuple[bool, str]]) -> None:
    """Return nothing when all values of a table are sound.

    Args:
        table: The table's key in a recipe; "" for the recipe itself.
        config: The table, as parsed.
        sound: Attribute to whether its value is sound, and what would be.

    Raises:
        ConfigError: Naming the first key that is not.
    """
    for name, (good, expected) in sound.items():
        if not good:
            key = f"{table}.{name}" if table else name
            found = repr(getattr(config, name))
            raise ConfigError(f"{key} cannot be used", expected=expected, found=found)


@dataclass(frozen=True, kw_only=True)
class SimulatedData:
    """Which simulated bags a run sees; ranges of seeds do not overlap.

    Objects of a class that the model does not have are left out.

    Attributes:
        format: ``simulated``; other formats are `PictureData`.
        channels: What the planes are: dual energy, or a pseudo-colour picture of it.
        view: ``window``, a piece of the bag at the detector's own pitch, or ``whole``, the whole
            bag warped to the size, as picture data sets have it.
        train_bags: Bags to train on.
        val_bags: Bags held out, to watch a run; the figures that are published come from
            other, fresh seeds.
        train_seed: Seed of the first training bag; bag i has seed ``train_seed + i``.
        val_seed: Seed of the first held-out bag.
        clean: Share of training bags without a labelled object.
        val_clean: The same of held-out bags; without it they keep the simulator's own share.
        objects: Most labelled objects in a training bag, all counts alike; likewise.
        bag: How bags are packed but for these counts (`xedge.sim.bags.BagConfig`).
        elements: Detector elements across the belt; another count than the simulator's own for
            pseudo-colour only, since bundles prove themselves on what its own scanner counts.
        pitch_mm: Pitch of an element, and of a line, at the belt, millimetres; likewise.
        binning: Detector elements and lines averaged into one pixel, each way.
        height: Height of a window in pixels.
        width: Width of a window in pixels.
        min_visible: Share of a box that must lie inside a window for it to be taught.
        tone: Spread of the tone exponent drawn for each window, 0 for none.
        displays: How many screens a training bag may be shown on, with their own colours, contrast
            and sharpening (`xedge.sim.display`); 0 for our palette alone. Pseudo-colour only.
        air: Most air that is left on each side of a bag, as a share of the bag's size; held-out
            bags have none. Without it there is all the air of the belt. Whole bags in
            pseudo-colour only.
        tip: Share of training bags into which an object is projected that was cut out of a
            training picture of the set in the recipe's ``held_out``.
        cache: Folder where bags that were simulated once are kept.
    """

    format: str = "simulated"
    channels: Channels = Channels.DUAL_ENERGY
    view: str = "window"
    train_bags: int = 4000
    val_bags: int = 200
    train_seed: int = 1_000_000
    val_seed: int = 2_000_000
    clean: float = 0.1
    val_clean: float | None = None
    objects: int = 5
    bag: BagConfig = field(default_factory=BagConfig)
    elements: int = DEFAULT_SCANNER.elements
    pitch_mm: float = DEFAULT_SCANNER.pitch_mm
    binning: int = 2
    height: int = 416
    width: int = 416
    min_visible: float = 0.6
    tone: float = 0.15
    displays: int = 0
    air: float | None = None
    tip: float = 0.0
    cache: str = "runs/bags"

    def __post_init__(self) -> None:
        share, colour = "0..1", self.channels is Channels.PSEUDO_COLOUR
        sound = {
            "format": (self.format == "simulated", "simulated"),
            "view": (self.view in VIEWS, " or ".join(VIEWS)),
            "train_seed": (self.train_seed >= 0, "0 or more"),
            "val_seed": (self.val_seed >= 0, "0 or more"),
            "clean": (0 <= self.clean <= 1, share),
            "val_clean": (self.val_clean is None or 0 <= self.val_clean <= 1, share),
            "objects": (1 <= self.objects <= MOST_OBJECTS, f"1..{MOST_OBJECTS}"),
            "min_visible": (0 <= self.min_visible <= 1, share),
            "tone": (0 <= self.tone <= 1, share),
            "elements": (
                colour or self.elements == DEFAULT_SCANNER.elements,
                f"{DEFAULT_SCANNER.elements} with dual energy",
            ),
            "pitch_mm": (
                colour or self.pitch_mm == DEFAULT_SCANNER.pitch_mm,
                f"{DEFAULT_SCANNER.pitch_mm} with dual energy",
            ),
            "displays": (
                0 <= self.displays <= (MOST_DISPLAYS if colour else 0),
                f"0..{MOST_DISPLAYS} of pseudo-colour, else 0",
            ),
            "air": (
                self.air is None or (0 <= self.air <= 2 and colour and self.view == "whole"),
                "0..2, of whole bags in pseudo-colour",
            ),
            "tip": (0 <= self.tip <= 1, share),
        }
        refuse_unsound("data", self, sound)
        _ = self.scanner  # refuses what cannot be
        train = range(self.train_seed, self.train_seed + self.train_bags)
        val = range(self.val_seed, self.val_seed + self.val_bags)
        if max(train.start, val.start) < min(train.stop, val.stop):
            raise ConfigError(
                "bags to train on and bags held out overlap",
                found=f"seeds {train} and {val}",
                remedy="Move val_seed",
            )
        if min(self.train_bags, self.val_bags, self.binning, self.height, self.width) < 1:
            raise ConfigError(
                "the data cannot be used",
                expected="1 or more bags of each kind, binning, height and width",
                found=f"{self.train_bags} and {self.val_bags} bags, binning {self.binning}, "
                f"{self.height} x {self.width}",
            )

    @property
    def pixel_mm(self) -> float:
        """Size of a pixel of the planes at the belt, millimetres."""
        return round(self.pitch_mm * self.binning, 6)

    @property
    def scanner(self) -> ScannerModel:
        """What scans the bags."""
        return ScannerModel(elements=self.elements, pitch_mm=self.pitch_mm)

    def packing(self, *, train: bool) -> BagConfig:
        """How bags are packed to train on, or to watch a run by."""
        if train:
            return replace(self.bag, clean=self.clean, objects=self.objects, few=1.0)
        return self.bag if self.val_clean is None else replace(self.bag, clean=self.val_clean)


@dataclass(frozen=True, kw_only=True)
class PictureData:
    """Which annotated pictures a run sees, in one of the formats of `xedge data formats`.

    Where the set lies is not part of the recipe: `xedge train --data` says it.

    Attributes:
        format: Name of the format.
        channels: What the planes are: dual energy for sets of 16-bit pairs, else pseudo-colour.
        part: Part of the set to train on; "" for the whole.
        held_out_part: Part to watch the run by; "" splits `part` instead.
        held_out: Share of `part` that is held out where there is no `held_out_part`, in blocks of
            neighbouring scans, since those may show the same bag.
        split_seed: Seed of that split, apart from the run's, so that runs share it.
        blocks: How many blocks the split cuts the set into.
        ignore: Classes of the set that the model does not learn; their objects are left out.
        height: Height of the planes in pixels.
        width: Width of the planes in pixels.
        keep_ratio: Fill up with air instead of warping to the size.
        tone: Spread of the tone exponent drawn for each picture, 0 for none.
        tip: Share of training pictures into which an object cut out of another one is projected.
        pixel_mm: Size of a pixel at the belt in millimetres; no public set states it, 1 stands for
            unknown.
        limit: Use this many pictures of either part only, evenly spread; 0 for all.
        cache: Folder for pictures that were decoded and fitted once; "" decodes each time.
    """

    format: str
    channels: Channels = Channels.PSEUDO_COLOUR
    part: str = ""
    held_out_part: str = ""
    held_out: float = 0.3
    split_seed: int = 0
    blocks: int = 40
    ignore: tuple[str, ...] = ()
    height: int = 224
    width: int = 224
    keep_ratio: bool = False
    tone: float = 0.15
    tip: float = 0.0
    pixel_mm: float = 1.0
    limit: int = 0
    cache: str = "runs/pictures"

    def __post_init__(self) -> None:
        sound = {
            "held_out": (0 < self.held_out < 1, "a share between 0 and 1"),
            "tip": (0 <= self.tip <= 1, "0..1"),
            "tone": (0 <= self.tone <= 1, "0..1"),
            "limit": (self.limit >= 0, "0 or more"),
            "height": (self.height >= 1, "1 or more"),
            "width": (self.width >= 1, "1 or more"),
            "format": (self.format in FORMATS, f"simulated, {', '.join(FORMATS)}"),
            "split_seed": (self.split_seed >= 0, "0 or more"),
            "pixel_mm": (
                math.isfinite(self.pixel_mm) and self.pixel_mm > 0,
                "a number above 0",
            ),
        }
        refuse_unsound("data", self, sound)

    @property
    def binning(self) -> int:
        """Detector elements averaged into one pixel: pictures are taken as they are."""
        return 1


PRECISIONS: Final = ("32-true", "bf16-mixed", "16-mixed")
"""Names of Lightning Fabric that a recipe may choose."""


OPTIMIZERS: Final = ("adamw", "sgd")
SCHEDULES: Final = ("cosine", "steps")
OVERSAMPLING: Final = ("none", "hard", "easy", "random")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the weights are found.

    Attributes:
        epochs: Passes over the training items.
        batch: Items a step and process.
        optimizer: One of `OPTIMIZERS`.
        momentum: Momentum of SGD.
        nesterov: Whether SGD looks ahead (Nesterov).
        lr: Peak learning rate.
        lr_factors: Beginning of parameters' names, as ``head.cls``, to the factor of their rate;
            the longest that fits counts.
        schedule: After the warm-up, a ``cosine`` to zero at the last step, or ``steps``.
        milestones: Epochs that are finished when ``steps`` multiplies the rate by `gamma`.
        gamma: That factor.
        weight_decay: Decay of the weights; none for biases and norms.
        warmup_steps: Steps of linear warm-up.
        clip: Largest norm of the gradient.
        ema: Decay of the averaged weights, which are what is evaluated and shipped.
        label_aware_from: Share of the run after which the LA step is switched on; before, its
            update is all but zero (y (1 - y) is) and would only cost time.
        oversample: Which batches are trained once more at the end of an epoch, one of
            `OVERSAMPLING`: DOAM-O's ``hard`` ones, or its rivals.
        pool_batches: How many at most, N_S; the paper does not say what it took.
        loss_threshold: L: ``hard`` takes batches above this loss, ``easy`` those below; likewise.
        precision: One of `PRECISIONS`.
        workers: Processes that load items.
        save_minutes: Minutes between checkpoints within an epoch; one more is at its end.
    """

    epochs: int = 12
    batch: int = 8
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    lr: float = 1e-3
    lr_factors: dict[str, float] = field(default_factory=dict)
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    weight_decay: float = 0.05
    warmup_steps: int = 300
    clip: float = 10.0
    ema: float = 0.998
    label_aware_from: float = 0.25
    oversample: str = "none"
    pool_batches: int = 10
    loss_threshold: float = 0.0
    precision: str = "bf16-mixed"
    workers: int = 1
    save_minutes: float = 15.0

    def __post_init__(self) -> None:
        rising = list(self.milestones) == sorted({m for m in self.milestones if m > 0})
        sound = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch": (self.batch >= 1, "1 or more"),
            "optimizer": (self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS)),
            "momentum": (0 <= self.momentum < 1, "0 or more, below 1"),
            "nesterov": (not self.nesterov or self.momentum > 0, "false without momentum"),
            "lr": (math.isfinite(self.lr) and self.lr > 0, "a number above 0"),
            "lr_factors": (
                all(math.isfinite(f) and f >= 0 for f in self.lr_factors.values()),
                "factors of 0 or more",
            ),
            "schedule": (self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            "milestones": (
                rising and bool(self.milestones) == (self.schedule == "steps"),
                'rising epochs with schedule = "steps", none without',
            ),
            "gamma": (0 < self.gamma <= 1, "above 0, up to 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup_steps": (self.warmup_steps >= 0, "0 or more"),
            "clip": (self.clip > 0, "a number above 0"),
            "ema": (0 <= self.ema <= 1, "0..1"),
            "label_aware_from": (0 <= self.label_aware_from <= 1, "0..1"),
            "oversample": (self.oversample in OVERSAMPLING, " or ".join(OVERSAMPLING)),
            "pool_batches": (self.pool_batches >= 1, "1 or more"),
            "loss_threshold": (math.isfinite(self.loss_threshold), "a number"),
            "precision": (self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            "workers": (self.workers >= 0, "0 or more"),
            "save_minutes": (self.save_minutes >= 0, "0 or more"),
        }
        refuse_unsound("optim", self, sound)
