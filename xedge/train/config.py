"""The tables of a recipe that say what is learned from, and how: data and optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from xedge.errors import ConfigError
from xedge.spec import Channels

SIMULATED_PIXEL_MM: Final = 0.62
"""Pitch of the simulated detector at the belt; a pixel of the planes is this times the binning."""


@dataclass(frozen=True, kw_only=True)
class SimulatedData:
    """Which simulated bags a run sees; ranges of seeds do not overlap.

    Objects of a class that the model does not have are left out.

    Attributes:
        format: ``simulated``; other formats are `PictureData`.
        channels: What the planes are: dual energy, or a pseudo-colour picture of it.
        train_bags: Bags to train on.
        val_bags: Bags held out, to watch a run; the figures that are published come from
            other, fresh seeds.
        train_seed: Seed of the first training bag; bag i has seed ``train_seed + i``.
        val_seed: Seed of the first held-out bag.
        clean: Share of training bags without a labelled object; held-out bags keep the
            simulator's own share.
        objects: Most labelled objects in a training bag, all counts alike; likewise.
        binning: Detector elements and lines averaged into one pixel, each way.
        height: Height of a window in pixels.
        width: Width of a window in pixels.
        min_visible: Share of a box that must lie inside a window for it to be taught.
        tone: Spread of the tone exponent drawn for each window, 0 for none.
        cache: Folder where bags that were simulated once are kept.
    """

    format: str = "simulated"
    channels: Channels = Channels.DUAL_ENERGY
    train_bags: int = 4000
    val_bags: int = 200
    train_seed: int = 1_000_000
    val_seed: int = 2_000_000
    clean: float = 0.1
    objects: int = 5
    binning: int = 2
    height: int = 416
    width: int = 416
    min_visible: float = 0.6
    tone: float = 0.15
    cache: str = "runs/bags"

    def __post_init__(self) -> None:
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
        return round(SIMULATED_PIXEL_MM * self.binning, 6)

    @property
    def items(self) -> int:
        """Number of items to train on."""
        return self.train_bags


PRECISIONS: Final = ("32-true", "bf16-mixed", "16-mixed")
"""Names of Lightning Fabric that a recipe may choose."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the weights are found.

    Attributes:
        epochs: Passes over the training bags.
        batch: Windows a step and process.
        lr: Peak learning rate of AdamW; cosine to zero after the warm-up.
        weight_decay: Decay of the weights; none for biases and norms.
        warmup_steps: Steps of linear warm-up.
        clip: Largest norm of the gradient.
        ema: Decay of the averaged weights, which are what is evaluated and shipped.
        label_aware_from: Share of the run after which the LA step is switched on; before, its
            update is all but zero (y (1 - y) is) and would only cost time.
        precision: One of `PRECISIONS`.
        workers: Processes that load windows.
    """

    epochs: int = 12
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 300
    clip: float = 10.0
    ema: float = 0.998
    label_aware_from: float = 0.25
    precision: str = "bf16-mixed"
    workers: int = 1

    def __post_init__(self) -> None:
        sound = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch": (self.batch >= 1, "1 or more"),
            "lr": (math.isfinite(self.lr) and self.lr > 0, "a number above 0"),
            "ema": (0 <= self.ema <= 1, "0..1"),
            "label_aware_from": (0 <= self.label_aware_from <= 1, "0..1"),
            "precision": (self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            "workers": (self.workers >= 0, "0 or more"),
        }
        for name, (good, expected) in sound.items():
            if not good:
                found = repr(getattr(self, name))
                raise ConfigError(f"optim.{name} cannot be used", expected=expected, found=found)
