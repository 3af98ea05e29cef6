"""The formats that xedge reads, by name, and the way to open a set."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.data import coco, gdxray, opixray, sixray
from xedge.data.annotations import Source
from xedge.data.defects import Complain, complaint
from xedge.data.image_set import ImageSet
from xedge.errors import ConfigError, DataError


@dataclass(frozen=True)
class Format:
    """One way to lay out a data set.

    Attributes:
        name: What it is opened by.
        what: What it is, one sentence for people.
        layout: The files it expects, one line each.
        parts: The parts that a folder has; "" among them when it can be opened as a whole.
        read: The reader: a part of a folder to its images.
    """

    name: str
    what: str
    layout: str
    parts: Callable[[Path], tuple[str, ...]]
    read: Callable[[Source, str], ImageSet]


FORMATS: Final[Mapping[str, Format]] = types.MappingProxyType(
    {
        form.name: form
        for form in (
            Format("opixray", "OPIXray: five kinds of cutters, three levels of occlusion",
                   opixray.LAYOUT, opixray.parts, opixray.read),
            Format("sixray", "SIXray: six classes, most images negative, labels by image",
                   sixray.LAYOUT, sixray.parts, sixray.read),
            Format("clcxray", "CLCXray: cutters and containers of liquid, overlapping",
                   coco.CLCXRAY_LAYOUT, coco.clcxray_parts, coco.read_clcxray),
            Format("gdxray", "GDXray's baggage series: grey pictures, one class",
                   gdxray.LAYOUT, gdxray.parts, gdxray.read),
            Format("coco", "a plain folder of images with COCO JSON files",
                   coco.COCO_LAYOUT, coco.coco_parts, coco.read_coco),
        )
    }
)  # fmt: skip
"""Formats by name."""


def parts_of(format: str, root: Path) -> tuple[str, ...]:
    """The parts of a folder; only "" where it is opened as a whole.

    Raises:
        ConfigError: When there is no such format.
        DataError: When the folder is not laid out so.
    """
    if format not in FORMATS:
        raise ConfigError(
            "there is no such format of data sets",
            expected=f"one of {', '.join(FORMATS)}",
            found=repr(format),
        )
    form = FORMATS[format]
    found = form.parts(root) if root.is_dir() else ()
    if not found:
        raise DataError(
            f"{root} is no data set of format {format}",
            expected=f"a folder with {'; '.join(form.layout.splitlines())}",
            found="no list of images" if root.is_dir() else "no such folder",
            remedy="Name the folder that holds these, unpacked",
        )
    return found


def no_such_part(
    root: Path, part: str, found: tuple[str, ...], remedy: str = "Name one of them"
) -> DataError:
    """The error that a folder with these parts has no such one.

    Args:
        root: The set's folder.
        part: The part that was asked for; "" where none was.
        found: The parts that there are.
        remedy: What to do where there are several.
    """
    names = [name for name in found if name]
    if not names:
        return DataError(
            f"{root} has no part {part!r}: this copy is a whole, without parts",
            remedy="Leave the part out (in a recipe: data.part and data.held_out_part)",
        )
    return DataError(
        f"{root} has no part {part!r}" if part else f"{root} has several parts",
        expected=f"one of {', '.join(names)}{', or none at all' if '' in found else ''}",
        remedy=remedy,
    )


def open_set(format: str, root: Path, part: str = "", *, skip: Complain | None = None) -> ImageSet:
    """The images of one part of a data set; no picture is decoded.

    Args:
        format: A name of `FORMATS`.
        root: The set's folder.
        part: Which part; may stay empty where there is only one, so that a test set is never
            read by accident.
        skip: Takes each defect that costs an image or a box, which is then left out. None
            raises the first.

    Raises:
        ConfigError: When there is no such format.
        DataError: When the folder is not laid out so, has no such part, or something in it is
            broken; the message names the file.
    """
    root = Path(root)
    found = parts_of(format, root)
    if not part and len(found) == 1:
        part = found[0]
    if part not in found:
        raise no_such_part(root, part, found)
    images = FORMATS[format].read(Source(root, complaint(skip)), part)
    if not images.records:
        raise DataError(
            f"{root} has no image that can be used",
            expected=f"images of part {part!r}" if part else "images",
            remedy="`xedge data verify` says what is wrong with it",
        )
    return images
