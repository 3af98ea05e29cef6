"""OPIXray: one text file of boxes an image, and lists of ids by occlusion level.

Source: Wei et al., "Occluded Prohibited Items Detection", ACM MM 2020; the folder as it is
released: a line of an annotation is ``009000.jpg Straight_Knife 763 486 840 549``, a list holds
one id a line, and `test_knife-1.txt` to ``-3`` are the three levels of occlusion of the test set.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from xedge.data.annotations import Item, Source, class_index, index_of, record, sound_box
from xedge.data.blocks import neighbours
from xedge.data.defects import Kind
from xedge.data.image_set import ImageSet

CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
LEVELS = (1, 2, 3)

LAYOUT = """\
train|test/train_image|test_image/009000.jpg ...
train|test/train_annotation|test_annotation/009000.txt ...
train/train_knife.txt, test/test_knife.txt, test/test_knife-1.txt ... -3.txt"""


def parts(root: Path) -> tuple[str, ...]:
    """``train``, ``test``, ``test-1`` ... as far as their lists are there."""
    names = ("train", "test", *(f"test-{level}" for level in LEVELS))
    return tuple(name for name in names if _list(root, name).is_file())


def _list(root: Path, part: str) -> Path:
    half, dash, level = part.partition("-")
    return root / half / f"{half}_knife{dash}{level}.txt"


def read(source: Source, part: str) -> ImageSet:
    """The images of a list; occlusion levels wherever the level lists are there."""
    half = part.partition("-")[0]
    images = source.folder(half, f"{half}_image")
    annotations = source.folder(half, f"{half}_annotation")
    ids = _ids(source, _list(source.root, part))
    levels = _levels(source, half)
    if levels and "-" not in part:
        for name in sorted(set(levels) ^ set(ids)):
            where = "no level list has" if name not in levels else f"{part}_knife.txt lacks"
            source.tell(Kind.LISTS_DISAGREE, _list(source.root, part), f"{where} {name}")
    found, groups = source.images(images), neighbours(ids)
    records = []
    for name in ids:
        if name not in found:
            source.tell(Kind.MISSING_FILE, images / f"{name}.jpg", "a list has its id", lost=True)
            continue
        text = annotations / f"{name}.txt"
        if not text.is_file():
            source.tell(Kind.NO_ANNOTATION, images / found[name],
                        f"there is no {half}_annotation/{name}.txt", lost=True)  # fmt: skip
            continue
        items = _objects(source, text)
        if items is None:
            continue
        level = levels.get(name, 0)
        records.append(
            record(name, images / found[name],
                   [dataclasses.replace(item, level=level) for item in items], len(CLASSES),
                   group=groups[name], with_levels=bool(levels))
        )  # fmt: skip
    if "-" not in part:
        _strays(source, images, annotations, ids)
    return ImageSet(f"{source.root.name} {part}", "opixray", CLASSES, tuple(records))


def _ids(source: Source, path: Path) -> list[str]:
    """The ids of a list, in its order, each once."""
    ids: dict[str, None] = {}
    lines = (source.text(path) or "").split("\n")
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name and number < len(lines):
            source.tell(Kind.EMPTY_NAME, path, f"line {number} names no image")
        elif name in ids:
            source.tell(Kind.DUPLICATE_NAME, path, f"line {number} lists {name} again", lost=True)
        elif name:
            ids[name] = None
    return list(ids)


def _levels(source: Source, half: str) -> dict[str, int]:
    """Occlusion level by id, from the lists that are there."""
    levels: dict[str, int] = {}
    for level in LEVELS:
        path = _list(source.root, f"{half}-{level}")
        if not path.is_file():
            continue
        for name in _ids(source, path):
            if name in levels:
                what = f"{name} is of level {levels[name]} too"
                source.tell(Kind.LISTS_DISAGREE, path, what)
            levels.setdefault(name, level)
    return levels


def _objects(source: Source, path: Path) -> list[Item] | None:
    """The objects of an annotation; None when the file cannot be read."""
    text = source.text(path)
    if text is None:
        return None
    items, classes = [], index_of(CLASSES)
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            image, name, *numbers = fields
            values = [float(value) for value in numbers]
            if len(values) != 4:
                raise ValueError
        except ValueError:
            what = f"line {number}: expected image, class, x1 y1 x2 y2, found {line.strip()!r}"
            source.tell(Kind.NO_PARSE, path, what, lost=True)
            continue
        if Path(image).stem != path.stem:
            source.tell(Kind.LISTS_DISAGREE, path, f"line {number} belongs to {image}")
        label, box = class_index(source, path, name, classes), sound_box(source, path, values)
        if label is not None and box is not None:
            items.append(Item(label, box))
    return items


def _strays(source: Source, images: Path, annotations: Path, ids: list[str]) -> None:
    """Tell of files that the list does not name, and of annotations without an image."""
    found, listed = source.images(images), set(ids)
    for stem in sorted(set(found) - listed):
        source.tell(Kind.LISTS_DISAGREE, images / found[stem], "the list does not have its id")
    for path in sorted(annotations.glob("*.txt")):
        if path.stem not in found:
            source.tell(Kind.NO_IMAGE, path, f"there is no {images.name}/{path.stem}.jpg")
