"""Annotated images of a data set: values without pixels, which are read when they are needed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.data.blocks import choose_blocks, twins
from xedge.encode import dual_energy_planes
from xedge.errors import DataError, ImageError
from xedge.pictures import ColourPicture, DualEnergyPicture, read_picture
from xedge.types import AIR_COUNTS, F32, I32, U8

I8 = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Record:
    """One annotated image.

    Attributes:
        name: Its id, unique in the set.
        path: A file that `load_picture` reads: a colour picture or 16-bit dual energy.
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2 in pixels of the file, as annotated: a box may
            reach beyond the image (`within` cuts it off).
        labels: int32 ``[n]``, index into the set's classes.
        levels: int32 ``[n]``, OPIXray's occlusion level 1 to 3, 0 where none is given; None
            where the set has no levels.
        difficult: bool ``[n]``, True for objects that an evaluation leaves out.
        presence: int8 ``[classes]``, the label of the whole image: 1 present, -1 absent,
            0 difficult.
        group: Neighbouring scans, which may show the same bag, share it; a split keeps it whole.
        size: Height and width that the annotation states; None where it states none.

    Raises:
        DataError: On shapes or dtypes that do not fit together.
    """

    name: str
    path: Path
    boxes: F32
    labels: I32
    levels: I32 | None
    difficult: Flags
    presence: I8
    group: str
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        levels = self.labels if self.levels is None else self.levels
        fits = (
            self.boxes.shape == (n, 4)
            and self.labels.shape == levels.shape == self.difficult.shape == (n,)
            and self.presence.ndim == 1
            and (not n or 0 <= self.labels.min() <= self.labels.max() < len(self.presence))
        )
        arrays = (self.boxes, self.labels, levels, self.difficult, self.presence)
        if not fits or [a.dtype.name for a in arrays] != [
            "float32",
            "int32",
            "int32",
            "bool",
            "int8",
        ]:
            raise DataError(
                f"{self.path}: its annotation does not fit together",
                expected="float32 boxes [n, 4], int32 labels and levels [n], bool difficult [n], "
                "int8 presence [classes]",
                found=f"{self.boxes.shape}, {self.labels.shape}, {levels.shape}, "
                f"{self.difficult.shape}, {self.presence.shape}",
            )

    def within(self, height: int, width: int) -> Record:
        """The record with boxes cut off at the image; those of which no area is left are gone."""
        cut = box_arithmetic.clip(self.boxes, height, width)
        return replace(self, boxes=cut).keep(box_arithmetic.area(cut) > 0)

    def keep(self, chosen: Flags) -> Record:
        """The record with the chosen objects only; its presence stays what it is.

        Args:
            chosen: bool ``[n]``.
        """
        levels = None if self.levels is None else self.levels[chosen]
        return replace(self, boxes=self.boxes[chosen], labels=self.labels[chosen], levels=levels,
                       difficult=self.difficult[chosen])  # fmt: skip


def open_picture(record: Record, air_counts: int = AIR_COUNTS) -> ColourPicture | DualEnergyPicture:
    """The picture in a record's file; a grey one comes in three equal colours.

    Args:
        record: Whose file to read.
        air_counts: What unattenuated air reads in a 16-bit file.

    Raises:
        DataError: When the file is absent or no such picture; the message names it.
    """
    try:
        return read_picture(record.path, air_counts, grey=True)
    except ImageError as error:
        raise DataError(
            f"image {record.name} of a data set cannot be used: {error.what}",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy or "Fetch the file again",
        ) from error
    except OSError as error:
        raise DataError(
            f"image {record.name} of a data set cannot be read: {record.path}",
            found=error.strerror or str(error),
            remedy="Check the disk and the file's permissions",
        ) from error


def load_picture(record: Record, air_counts: int = AIR_COUNTS) -> U8:
    """Three planes of a record's file: red, green, blue, or high, low, ratio of dual energy.

    Args:
        record: Whose file to read; a grey picture gives three equal planes.
        air_counts: What unattenuated air reads in a 16-bit file.

    Returns:
        uint8 ``[3, h, w]``; of dual energy by equation 1 (`xedge.encode`).

    Raises:
        DataError: When the file is absent or no such picture; the message names it.
    """
    picture = open_picture(record, air_counts)
    if isinstance(picture, DualEnergyPicture):
        return dual_energy_planes(picture.low, picture.high)
    return np.ascontiguousarray(picture.rgb.transpose(2, 0, 1))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The annotated images of one part of a data set, in the set's own order.

    Attributes:
        name: For people: the folder's name and the part.
        format: A name of `xedge.data.formats.FORMATS`.
        classes: Names of the labels, as the set spells them.
        records: The images.

    Raises:
        DataError: When two records share a name, or one has presence for other classes.
    """

    name: str
    format: str
    classes: tuple[str, ...]
    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for record in self.records:
            if record.name in seen or len(record.presence) != len(self.classes):
                raise DataError(
                    f"{self.name}: {record.path} does not fit into the set",
                    expected=f"a name of its own and {len(self.classes)} classes",
                    found=f"name {record.name!r}, {len(record.presence)} classes",
                )
            seen.add(record.name)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def digest(self) -> str:
        """Sha256, 64 hex digits, of classes, names and annotations; not of where the set lies."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for record in self.records:
            digest.update(f"\n{record.name}\0{record.group}\0{len(record.labels)}\0".encode())
            levels = np.full(1, -1, np.int32) if record.levels is None else record.levels
            for array, kind in (
                (record.boxes, "<f4"),
                (record.labels, "<i4"),
                (levels, "<i4"),
                (record.difficult, "|b1"),
                (record.presence, "|i1"),
            ):
                digest.update(np.ascontiguousarray(array, kind).tobytes())
        return digest.hexdigest()

    def select(self, names: Iterable[str]) -> ImageSet:
        """The set of the named records, in the order of the names.

        Raises:
            DataError: When the set has no record of a name.
        """
        by_name = {record.name: record for record in self.records}
        try:
            return replace(self, records=tuple(by_name[name] for name in names))
        except KeyError as error:
            raise DataError(
                f"{self.name} has no image {error.args[0]!r}",
                expected="names of its records",
                remedy="Check the list of names against the set's own",
            ) from None

    def with_classes(self, classes: Sequence[str], ignore: Sequence[str] = ()) -> ImageSet:
        """The set with labels and presence for another list of classes.

        Names match without regard to case, hyphen, underscore and space. Objects of ignored
        classes are dropped; a new class that the set does not know is absent everywhere.

        Args:
            classes: The new names, in their order.
            ignore: Classes of the set that nobody wants.

        Raises:
            DataError: When an image has an object of a class that is in neither list, or a class to
                be ignored is none of the set.
        """
        new = {plain(name): k for k, name in enumerate(classes)}
        if len(new) < len(classes):
            raise DataError("a class is named twice", expected="different names",
                            found=", ".join(classes))  # fmt: skip
        target = np.array([new.get(plain(name), -1) for name in self.classes], np.int32)
        ignored = {plain(name) for name in ignore}
        own = {plain(name) for name in self.classes}
        if strange := [name for name in ignore if plain(name) not in own]:
            raise DataError(
                f"{self.name} has no class {strange[0]!r} that could be ignored",
                expected=f"some of {', '.join(self.classes)}",
                remedy="Correct the name in data.ignore, or remove it",
            )
        unknown = [target[k] < 0 and plain(c) not in ignored for k, c in enumerate(self.classes)]
        records = []
        for record in self.records:
            occurs = record.presence >= 0
            occurs[record.labels] = True
            if (bad := np.flatnonzero(occurs & np.array(unknown, np.bool_))).size:
                raise DataError(
                    f"{record.path} shows a class that is not asked for",
                    expected=f"one of {', '.join(classes)}",
                    found=self.classes[int(bad[0])],
                    remedy="Add it to the classes, or to those to be ignored",
                )
            presence = np.full(len(classes), -1, np.int8)
            presence[target[target >= 0]] = record.presence[target >= 0]
            labels = target[record.labels]
            kept = record.keep(labels >= 0)
            records.append(replace(kept, labels=labels[labels >= 0], presence=presence))
        return replace(self, classes=tuple(classes), records=tuple(records))

    def split(self, share: float, seed: int, blocks: int = 20) -> tuple[ImageSet, ImageSet]:
        """A training set and a held-out set, cut in blocks of neighbouring groups.

        Neighbouring scans may show the same bag, so whole runs of groups are held out, and
        blocks that hold one file's bytes under two names stay together (files are read for
        that). Of many draws the one is taken whose classes are divided most evenly; the same
        arguments give the same split.

        Args:
            share: Share of the images to hold out, between 0 and 1.
            seed: Of the draws.
            blocks: How many runs the ordered groups are cut into; fewer where groups are few.

        Raises:
            DataError: When the set has fewer than two groups.
            ConfigError: When the share or the number of blocks cannot be used.
        """
        weights = np.stack(
            [np.append(r.presence == 1, [not (r.presence == 1).any(), True]) for r in self.records]
        ).astype(np.float64) if self.records else np.zeros((0, 1))  # fmt: skip
        groups = [record.group for record in self.records]
        same = [(groups[a], groups[b]) for a, b in twins([r.path for r in self.records])]
        held = choose_blocks(groups, weights, share, seed, blocks, of=self.name, twins=same)
        parts = (
            tuple(r for r in self.records if r.group not in held),
            tuple(r for r in self.records if r.group in held),
        )
        return replace(self, records=parts[0]), replace(self, records=parts[1])


def plain(name: str) -> str:
    """A class name as it is compared: lower case, words parted by single spaces."""
    return re.sub(r"[-_\s]+", " ", name).strip().casefold()
