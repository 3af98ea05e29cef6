"""What an export is checked on: simulated bags as the model's own data comes, or pictures given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from xedge.errors import ConfigError, ExportError
from xedge.pictures import read_picture
from xedge.sim.bags import BagConfig
from xedge.spec import Channels
from xedge.train.bags import Windows, simulate
from xedge.train.config import PictureData, SimulatedData
from xedge.train.recipe import Recipe
from xedge.train.sample import Sample, fit
from xedge.types import U8

CHECK_SEED: Final = 6_000_000
"""First seed of the bags that an export is checked on."""
PICTURE_BINNING: Final = 2
"""Of bags that stand for pictures: the simulated detector's elements are finer than pictures."""
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})


def planes_for(recipe: Recipe, count: int, pictures: Path | None) -> Iterator[U8]:
    """Planes of the first pictures in a folder, or of fresh bags where none is given.

    See `pictures_for` and `bags_for`.
    """
    return bags_for(recipe, count) if pictures is None else pictures_for(recipe, pictures, count)


def bags_for(recipe: Recipe, count: int) -> Iterator[U8]:
    """Planes of fresh bags, uint8 ``[3, H, W]`` each, none of them clean.

    A model of simulated bags is shown what its run is watched by: the top window of a bag or the
    whole of it, in dual energy or in pseudo-colour. To a model of pictures go whole bags, fitted
    as its pictures are.

    Args:
        recipe: Of the model.
        count: How many.
    """
    if isinstance(recipe.data, PictureData):
        yield from _as_pictures(recipe.data, count)
    else:
        yield from _as_windows(recipe, recipe.data, count)


def _as_windows(recipe: Recipe, data: SimulatedData, count: int) -> Iterator[U8]:
    with TemporaryDirectory() as kept:
        fresh = replace(
            data,
            train_seed=CHECK_SEED + count,  # none is trained on, but they may not overlap
            val_seed=CHECK_SEED,
            val_bags=count,
            val_clean=0.0,
            cache=kept,
        )
        items = Windows(fresh, recipe.model.classes, recipe.seed, train=False)
        for index in range(count):
            yield items[index].planes.numpy()


def _as_pictures(data: PictureData, count: int) -> Iterator[U8]:
    for seed in range(CHECK_SEED, CHECK_SEED + count):
        bag = simulate(seed, PICTURE_BINNING, BagConfig(clean=0.0), data.channels)
        yield _fitted(bag.planes, data.height, data.width, data.channels, data.keep_ratio)


def pictures_for(recipe: Recipe, folder: Path, count: int) -> Iterator[U8]:
    """Planes of the first pictures in a folder, sorted by name, fitted as the model's are.

    Args:
        recipe: Of the model.
        folder: Holds pictures; other files are passed over, folders in it as well.
        count: How many at most.

    Raises:
        ConfigError: When there are none.
        ExportError: For a model of dual-energy planes.
        ImageError: When one cannot be read.
    """
    data = recipe.data
    if data.channels is not Channels.PSEUDO_COLOUR:
        raise ExportError(
            "pictures do not go into this model",
            expected=f"a model of {Channels.PSEUDO_COLOUR.value} planes",
            found=data.channels.value,
            remedy="Leave out --pictures: it is checked on simulated bags",
        )
    there = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    files = sorted(path for path in there if path.is_file())
    if not files:
        raise ConfigError("there is no picture to check on", found=f"the folder {folder}")
    keep_ratio = isinstance(data, PictureData) and data.keep_ratio
    for path in files[:count]:
        planes = np.ascontiguousarray(read_picture(path, grey=True).rgb.transpose(2, 0, 1))
        yield _fitted(planes, data.height, data.width, data.channels, keep_ratio)


def _fitted(planes: U8, height: int, width: int, channels: Channels, keep_ratio: bool) -> U8:
    none = np.zeros(0, np.int32)
    bare = Sample(planes, np.zeros((0, 4), np.float32), none, none)
    return fit(bare, height, width, channels, keep_ratio=keep_ratio).planes
