"""Annotated pictures of a data set as items to train on or to be measured by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from torch.utils.data import Dataset

from xedge.data.defects import Finding
from xedge.data.files import files_stamp
from xedge.data.formats import open_set
from xedge.data.image_set import ImageSet, Record, load_picture
from xedge.errors import ConfigError
from xedge.train.batch import Item, to_item
from xedge.train.config import PictureData
from xedge.train.project import Donors
from xedge.train.sample import Sample, augment, fit
from xedge.train.stored import stored

FITTING: Final = 1
"""Version of how pictures are decoded and fitted: raised when that changes, for the caches."""


def open_pictures(
    data: PictureData,
    classes: tuple[str, ...],
    root: Path | None,
    *,
    train: bool,
    bad: dict[str, str] | None = None,
) -> ImageSet:
    """The part of a data set that a run trains on, or the one that it is watched by.

    Args:
        data: The recipe's table.
        classes: The model's classes.
        root: Where the data set lies.
        train: Which of the two.
        bad: Takes each defect that costs an image or a box, which is then left out: where and
            what, to its kind. None raises the first.

    Raises:
        ConfigError: When nobody said where the set lies.
        DataError: When the folder is no such set, or has classes that nobody asked for.
    """
    if root is None:
        raise ConfigError(
            f"the recipe learns from a data set in the format {data.format!r}, but where is it",
            expected="the set's folder",
            remedy="Give it with --data DIR",
        )

    def note(finding: Finding) -> None:
        if bad is not None:
            bad[f"{finding.file}: {finding.what}"] = finding.kind.value

    skip = None if bad is None else note
    if data.held_out_part:
        part = data.part if train else data.held_out_part
        chosen = open_set(data.format, root, part, skip=skip).with_classes(classes, data.ignore)
    else:
        whole = open_set(data.format, root, data.part, skip=skip)
        whole = whole.with_classes(classes, data.ignore)
        chosen = whole.split(data.held_out, data.split_seed, data.blocks)[0 if train else 1]
    if data.limit and len(chosen) > data.limit:
        picks = np.linspace(0, len(chosen) - 1, data.limit).round().astype(int)
        chosen = replace(chosen, records=tuple(chosen.records[k] for k in picks))
    return chosen


class PictureStore:
    """Pictures fitted to a size, kept on disk one file each, so that a JPEG is decoded once."""

    def __init__(self, images: ImageSet, data: PictureData) -> None:
        self.records, self.data = images.records, data
        self.folder: Path | None = None
        if data.cache:
            size = f"{data.height} {data.width} {data.keep_ratio}"
            note = f"{FITTING} {images.format} {size} {data.channels.value}"
            key = f"{images.digest} {files_stamp(images)} {note}"
            self.folder = Path(data.cache) / hashlib.sha256(key.encode()).hexdigest()[:16]
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "README").write_text(f"{images.name} {note}\n", encoding="utf-8")

    def load(self, index: int) -> Sample:
        """The picture at a place of the set, fitted.

        Raises:
            DataError: When its file cannot be decoded; the message names it.
        """
        if self.folder is None:
            return self._fitted(self.records[index])
        return stored(self.folder / f"{index}.npz", lambda: self._fitted(self.records[index]))

    def _fitted(self, record: Record) -> Sample:
        planes = load_picture(record)
        cut = record.within(*planes.shape[1:])
        levels = np.zeros_like(cut.labels) if cut.levels is None else cut.levels
        data = self.data
        difficult = cut.difficult if cut.difficult.any() else None
        whole = Sample(planes, cut.boxes, cut.labels, levels, difficult)
        return fit(whole, data.height, data.width, data.channels, keep_ratio=data.keep_ratio)


class Pictures(Dataset[Item]):
    """Pictures to train on (augmented) or to be measured by (as they are).

    Difficult objects are not taught; those to be measured by keep them, with their mark.
    """

    def __init__(self, images: ImageSet, data: PictureData, seed: int, *, train: bool) -> None:
        self.images, self.data, self.seed, self.train = images, data, seed, train
        self.epoch = 0
        self.store = PictureStore(images, data)
        self.donors = Donors.of(images, self.store.load, data.channels)

    def __len__(self) -> int:
        return len(self.images)

    def prepare(self, workers: int, advance: Callable[[], None]) -> None:
        """Nothing to make: a picture is decoded when it is first asked for."""
        del workers
        for _ in range(len(self)):
            advance()

    def __getitem__(self, index: int) -> Item:
        record, sample = self.images.records[index], self.store.load(index)
        presence = record.presence.copy()
        if self.train:
            sample = sample.taught()
            rng = np.random.default_rng((self.seed, self.epoch, index))
            if self.donors.indices and rng.random() < self.data.tip:
                sample = self.donors.project(sample, rng)
                presence[sample.labels] = 1
            sample = augment(sample, rng, self.data.tone, self.data.channels)
        return to_item(record.name, sample, presence)
