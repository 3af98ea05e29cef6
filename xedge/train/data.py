"""The data of a recipe as items, whatever its format."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xedge.data.files import files_digest
from xedge.data.image_set import ImageSet
from xedge.errors import ConfigError
from xedge.train.bags import Windows
from xedge.train.config import PictureData
from xedge.train.pictures import Pictures, PictureStore, open_pictures
from xedge.train.project import Donors
from xedge.train.recipe import Recipe

Items = Windows | Pictures
"""What a run draws its items from."""


def open_data(
    recipe: Recipe, root: Path | None, *, train: bool, bad: dict[str, str] | None = None
) -> Items:
    """The items that a recipe trains on, or those that it is watched by.

    Args:
        recipe: The recipe.
        root: Where its data set lies; simulated bags lie nowhere.
        train: Which of the two.
        bad: Takes what the set's lists and annotations cost (`open_pictures`).

    Raises:
        ConfigError: When it needs a folder and nobody named one, or the other way round.
        DataError: When the folder is not the data set that it should be.
    """
    data = recipe.data if train else recipe.held_out or recipe.data
    if isinstance(data, PictureData):
        images = open_pictures(data, recipe.model.classes, root, train=train, bad=bad)
        return Pictures(images, data, recipe.seed, train=train)
    if root is not None and not recipe.sees_pictures:
        raise ConfigError(
            f"the recipe {recipe.name!r} learns from simulated bags",
            expected="no folder of a data set",
            found=f"--data {root}",
            remedy="Leave out --data, or train with --on NAME as well: `xedge train --list` shows "
            "the data sets that a recipe can learn from instead",
        )
    donors = None
    if train and data.tip and recipe.held_out is not None:
        images = open_pictures(recipe.held_out, recipe.model.classes, root, train=True, bad=bad)
        store = PictureStore(images, recipe.held_out)
        donors = Donors.of(images, store.load, data.channels)
    return Windows(data, recipe.model.classes, recipe.seed, train=train, donors=donors)


def data_digest(items: Items) -> str:
    """16 hex digits that change whenever the data set that the items come from does.

    Of pictures: their annotations and the bytes of their files (`files_digest`), which are all
    read; not where the set lies. Of simulated bags: how they are made, and the pictures that
    objects are cut out of.
    """
    if isinstance(items, Pictures):
        return _short(_of_pictures(items.images))
    if items.donors is not None:
        return _short(f"{items.store.folder.name} {_of_pictures(items.donors.images)}")
    return items.store.folder.name


def _of_pictures(images: ImageSet) -> str:
    return f"{images.digest} {files_digest(images)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
