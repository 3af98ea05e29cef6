"""The recipe: one TOML file that a training run is made of, as frozen dataclasses.

Unknown keys fail; nothing is read from anywhere else, so that a recipe's sha256 names a run.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dacite

from xedge.errors import ConfigError
from xedge.models.atss import ATSSConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which simulated bags a run sees; ranges of seeds do not overlap.

    Attributes:
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run.

    Attributes:
        name: Name of the model and of the run's folder.
        seed: Seed of weights, order and augmentation.
        out: Folder under which runs are written.
        alarm_threshold: Score at which a lane alarms, written into the model's spec; without it,
            the one with the best F2 on the held-out bags.
        model: The detector.
        data: The bags.
        optim: The optimiser.
    """

    name: str
    seed: int = 0
    out: str = "runs"
    alarm_threshold: float | None = None
    model: ATSSConfig
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        if self.data.train_bags < self.optim.batch:
            raise ConfigError(
                "there are too few bags for one batch",
                expected=f"data.train_bags of {self.optim.batch} or more",
                found=str(self.data.train_bags),
            )

    @property
    def folder(self) -> Path:
        """Where checkpoints and metrics of this run go."""
        return Path(self.out) / self.name


def parse_recipe(text: str) -> Recipe:
    """The recipe written in ``text`` (TOML).

    Raises:
        ConfigError: On bad TOML, unknown or missing keys, or values of a wrong type.
    """
    try:
        table = tomllib.loads(text)
        return dacite.from_dict(Recipe, table, dacite.Config(strict=True, cast=[tuple, float]))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("the recipe is not TOML", found=str(error)) from error
    except dacite.UnexpectedDataError as error:
        raise ConfigError(
            "the recipe has unknown keys",
            found=", ".join(sorted(map(str, error.keys))),
            remedy="Remove them, or see the attributes in xedge/train/config.py",
        ) from error
    except (dacite.DaciteError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("the recipe cannot be used", found=str(error)) from error


def load_recipe(path: Path) -> tuple[Recipe, str]:
    """The recipe in a file, and the sha256 of the file's text.

    Raises:
        ConfigError: When the file is absent or `parse_recipe` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{str(path)!r} is no text", expected="a TOML recipe in UTF-8", found=str(error)
        ) from error
    except OSError as error:
        raise ConfigError(
            f"there is no recipe {str(path)!r} to read",
            remedy="Give the path of a TOML recipe, such as xedge/train/recipes/*.toml",
        ) from error
    return parse_recipe(text), hashlib.sha256(text.encode()).hexdigest()
