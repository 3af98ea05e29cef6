"""SIXray: VOC XML with decimals, image labels in CSV lists, negatives without annotation.

Source: Miao et al., "SIXray", CVPR 2019; the folder as it is released: ``JPEGImage/NAME.jpg``,
``Annotation/NAME.xml`` of positives, ``ImageSet/10|100|1000/train|test.csv`` with a header
``name,Gun,Knife,...`` and 1 (present), -1 (absent) or 0 (difficult) a class. A folder with one
list ``images.csv`` instead of ``ImageSet`` is read too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from xedge.data.annotations import Item, Source, index_of, record, voc_objects
from xedge.data.blocks import neighbours
from xedge.data.defects import Kind
from xedge.data.image_set import ImageSet, Record, plain

CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors", "Hammer")
"""The sixth has boxes in 60 images and no column in the lists."""

LAYOUT = """\
JPEGImage/P00001.jpg, N0000001.jpg ...
Annotation/P00001.xml ...   (none for negatives)
ImageSet/10|100|1000/train.csv, test.csv   or   images.csv"""


def parts(root: Path) -> tuple[str, ...]:
    """``10/train`` and so on as far as the lists are there; only "" where `images.csv` is."""
    if (root / "images.csv").is_file():
        return ("",)
    lists = root.glob("ImageSet/*/*.csv")
    found = [f"{path.parent.name}/{path.stem}" for path in lists]
    return tuple(sorted(found, key=lambda part: (len(part.partition("/")[0]), part)))


def read(source: Source, part: str) -> ImageSet:
    """The images of a list."""
    folder = source.folder("JPEGImage")
    listing = source.root / (f"ImageSet/{part}.csv" if part else "images.csv")
    rows = list(_rows(source, listing))
    images = source.images(folder)
    groups = neighbours([name for name, _ in rows])
    annotations = source.root / "Annotation"
    annotated = {p.stem for p in annotations.glob("*.xml")} if annotations.is_dir() else set()
    records = []
    for name, presence in rows:
        if name not in images:
            source.tell(Kind.MISSING_FILE, folder / f"{name}.jpg",
                        f"{listing.name} lists it", lost=True)  # fmt: skip
            continue
        path, xml = folder / images[name], annotations / f"{name}.xml"
        if name in annotated:
            made = _annotated(source, xml, path, name, presence, groups[name])
        elif 1 in presence and annotated:
            source.tell(Kind.NO_ANNOTATION, path, f"{listing.name} says that it is positive, and "
                        f"there is no Annotation/{name}.xml", lost=True)  # fmt: skip
            made = None
        else:
            made = record(name, path, [], len(CLASSES), group=groups[name], presence=presence)
        if made is not None:
            records.append(made)
    for stem in sorted(annotated - set(images)):
        source.tell(Kind.NO_IMAGE, annotations / f"{stem}.xml", f"there is no JPEGImage/{stem}.jpg")
    if not part:
        for stem in sorted(set(images) - {name for name, _ in rows}):
            source.tell(Kind.LISTS_DISAGREE, folder / images[stem], "images.csv does not list it")
    name = f"{source.root.name} {part}".strip()
    return ImageSet(name, "sixray", CLASSES, tuple(records))


def _annotated(
    source: Source, xml: Path, path: Path, name: str, presence: list[int], group: str
) -> Record | None:
    """The record of an image with boxes; None when its XML cannot be used."""
    parsed = voc_objects(source, xml, index_of(CLASSES))
    if parsed is None:
        return None
    items, size = parsed
    drawn = {item.label for item in items}
    for label, (cls, listed) in enumerate(zip(CLASSES, presence, strict=True)):
        if cls == "Hammer":  # no list has a column for it: its boxes are all there is
            presence[label] = 1 if label in drawn else -1
        elif listed != 0 and (listed == 1) != (label in drawn):
            boxes = "has boxes of it" if label in drawn else "has no box of it"
            source.tell(Kind.LISTS_DISAGREE, xml, f"the list says {cls} {listed}, the XML {boxes}")
    return record(name, path, _hidden(items, presence), len(CLASSES), group=group, size=size,
                  presence=presence)  # fmt: skip


def _hidden(items: list[Item], presence: list[int]) -> list[Item]:
    """The objects, difficult where the list calls their class difficult in this image."""
    return [
        Item(i.label, i.box, i.difficult or presence[i.label] == 0, i.level) for i in items
    ]  # fmt: skip


def _rows(source: Source, listing: Path) -> Iterator[tuple[str, list[int]]]:
    """Name and presence of each usable row of a list."""
    text = source.text(listing)
    if text is None:
        return
    reader = csv.reader(text.splitlines())
    header = [cell.strip() for cell in next(reader, [])]
    columns = index_of(CLASSES)
    unknown = [cell for cell in header[1:] if plain(cell) not in columns]
    if header[:1] != ["name"] or len(header) < 2 or unknown:
        what = f"expected a header name,{','.join(CLASSES[:5])}, found {','.join(header)!r}"
        source.tell(Kind.NO_PARSE, listing, what, lost=True)
        return
    where = [columns[plain(cell)] for cell in header[1:]]
    seen: set[str] = set()
    for cells in reader:
        if not cells:
            continue
        name, values = cells[0].strip(), [cell.strip() for cell in cells[1:]]
        place = f"row {reader.line_num}"
        if not name:
            source.tell(Kind.EMPTY_NAME, listing, f"{place} names no image", lost=True)
        elif len(values) != len(where) or not set(values) <= {"1", "0", "-1"}:
            what = f"{place}: expected {len(where)} values of 1, 0 or -1, found {','.join(cells)!r}"
            source.tell(Kind.NO_PARSE, listing, what, lost=True)
        elif name in seen:
            source.tell(Kind.DUPLICATE_NAME, listing, f"{place} lists {name} again", lost=True)
        else:
            seen.add(name)
            presence = [-1] * len(CLASSES)
            for k, value in zip(where, values, strict=True):
                presence[k] = int(value)
            yield name, presence
