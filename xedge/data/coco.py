"""COCO JSON: CLCXray as it is released, and a plain folder of images with one JSON a part.

Source: Zhao et al., "Detecting Overlapped Objects in X-Ray Security Imagery by a Label-Aware
Mechanism", IEEE TIFS 2022 (CLCXray); boxes are x y width height of the COCO format. CLCXray's
16-bit pictures are read where NAME_low.png and NAME_high.png, NAME.npz or NAME.tiff lie in the
place of NAME.png; `load_picture` encodes them by the paper's equation 1.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xedge.data.annotations import Item, Source, record, sound_box, stated_size
from xedge.data.blocks import neighbours
from xedge.data.defects import Kind
from xedge.data.image_set import ImageSet

CLCXRAY_LAYOUT = """\
train2017|val2017|test2017/20_40_04_140.png ...
annotations/instances_train2017.json, ..._val2017.json, ..._test2017.json"""

COCO_LAYOUT = """\
NAME.json or annotations/NAME.json, one or more
their file names count from images/, NAME/ or the folder itself"""

CLCXRAY_NAMES: Mapping[int, str] = {7547: "20_40_04_140.png"}
"""Right file names by image id, where the released training list has only ``.png``."""


def clcxray_parts(root: Path) -> tuple[str, ...]:
    """``train``, ``val``, ``test`` as far as their lists are there."""
    return tuple(p for p in ("train", "val", "test") if _clcxray_list(root, p).is_file())


def _clcxray_list(root: Path, part: str) -> Path:
    return root / "annotations" / f"instances_{part}2017.json"


def read_clcxray(source: Source, part: str) -> ImageSet:
    """The images of a part of CLCXray."""
    repair = CLCXRAY_NAMES if part == "train" else {}
    folder = source.folder(f"{part}2017")
    return _read(source, _clcxray_list(source.root, part), (folder,), "clcxray", part, repair)


def coco_parts(root: Path) -> tuple[str, ...]:
    """The stems of the JSON files."""
    return tuple(sorted({path.stem for path in _coco_lists(root)}))


def _coco_lists(root: Path) -> list[Path]:
    return [*root.glob("*.json"), *root.glob("annotations/*.json")]


def read_coco(source: Source, part: str) -> ImageSet:
    """The images of one JSON."""
    listing = next(path for path in _coco_lists(source.root) if path.stem == part)
    candidates = (source.root / "images", source.root / part, source.root)
    folders = tuple(path for path in candidates if path.is_dir())
    return _read(source, listing, folders, "coco", part, {})


@dataclass(frozen=True)
class _Entry:
    """An image of the JSON that is there."""

    name: str
    path: Path
    group: str
    size: tuple[int, int] | None


def _read(
    source: Source,
    listing: Path,
    folders: tuple[Path, ...],
    kind: str,
    part: str,
    repair: Mapping[int, str],
) -> ImageSet:
    title = f"{source.root.name} {part}"
    content = _content(source, listing)
    if content is None:
        return ImageSet(title, kind, (), ())
    classes = _classes(source, listing, content["categories"])
    names = tuple(classes.values())
    labels = {category: k for k, category in enumerate(classes)}
    entries = _entries(source, listing, content["images"], folders, repair)
    ids = {entry["id"] for entry in content["images"] if _is_id(entry)}
    items = _items(source, listing, content["annotations"], labels, ids)
    groups = neighbours([entry.name for entry in entries.values()])
    records = tuple(
        record(e.name, e.path, items.get(key, []), len(names), group=e.group or groups[e.name],
               size=e.size)
        for key, e in entries.items()
    )  # fmt: skip
    if kind == "clcxray":
        used = {PurePosixPath(entry.name).name for entry in entries.values()}
        for stem, file in source.images(folders[0]).items():
            if stem not in used:
                source.tell(Kind.NO_ANNOTATION, folders[0] / file, f"{listing.name} lacks it")
    return ImageSet(title, kind, names, records)


def _is_id(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), int | str)


def _content(source: Source, listing: Path) -> dict[str, list[Any]] | None:
    """The three lists of a COCO JSON; None, and a finding, when it is none."""
    text = source.text(listing)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        source.tell(Kind.NO_PARSE, listing, f"broken JSON: {error}", lost=True)
        return None
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content)
        source.tell(Kind.NO_PARSE, listing, f"expected lists {', '.join(keys)}, found {found}",
                    lost=True)  # fmt: skip
        return None
    return {key: content[key] for key in keys}


def _classes(source: Source, listing: Path, categories: list[Any]) -> dict[Any, str]:
    """Class names by category id, in the order of the ids."""
    classes: dict[Any, str] = {}
    for entry in categories:
        name = str(entry.get("name", "")).strip() if _is_id(entry) else ""
        if not name:
            source.tell(Kind.EMPTY_NAME, listing, f"category {entry!r}", lost=True)
        elif entry["id"] in classes or name in classes.values():
            source.tell(Kind.DUPLICATE_NAME, listing, f"category {entry!r}", lost=True)
        else:
            classes[entry["id"]] = name
    return dict(sorted(classes.items(), key=lambda pair: (str(type(pair[0])), pair[0])))


def _entries(
    source: Source,
    listing: Path,
    images: list[Any],
    folders: tuple[Path, ...],
    repair: Mapping[int, str],
) -> dict[Any, _Entry]:
    """The images that are there, by their id."""
    entries: dict[Any, _Entry] = {}
    taken: set[str] = set()
    for image in images:
        if not _is_id(image):
            source.tell(Kind.NO_PARSE, listing, f"an image without an id: {image!r}", lost=True)
            continue
        key, file = image["id"], str(image.get("file_name", "")).strip()
        if PurePosixPath(file).stem in ("", ".png", ".jpg") and key in repair:
            source.tell(Kind.KNOWN_DEFECT, listing, f"image {key} is named {file!r}, which is "
                        f"{repair[key]}")  # fmt: skip
            file = repair[key]
        pure = PurePosixPath(file)
        name = str(pure.with_suffix("")) if pure.suffix else ""
        if not name or pure.is_absolute() or ".." in pure.parts:
            kind = Kind.EMPTY_NAME if not name else Kind.NO_PARSE
            source.tell(kind, listing, f"image {key} has file name {file!r}", lost=True)
        elif key in entries or name in taken:
            source.tell(Kind.DUPLICATE_NAME, listing, f"image {key}, {file}", lost=True)
        elif (path := _locate(source, folders, pure)) is None:
            source.tell(Kind.MISSING_FILE, folders[0] / file, f"{listing.name} lists it",
                        lost=True)  # fmt: skip
        else:
            taken.add(name)
            size = stated_size(image.get("height"), image.get("width"))
            entries[key] = _Entry(name, path, str(image.get("group", "")), size)
    return entries


def _locate(source: Source, folders: tuple[Path, ...], file: PurePosixPath) -> Path | None:
    """The file of that name, or the dual-energy one in its place."""
    for folder in folders:
        inside = folder / file.parent
        if not inside.is_dir():
            continue
        found = source.images(inside).get(file.stem)
        if found is not None:
            return inside / (file.name if (inside / file.name).is_file() else found)
    return None


def _items(
    source: Source, listing: Path, annotations: list[Any], labels: Mapping[Any, int], ids: set[Any]
) -> dict[Any, list[Item]]:
    """Objects by image id."""
    items: dict[Any, list[Item]] = defaultdict(list)
    for entry in annotations:
        try:
            key, image, category = entry.get("id"), entry["image_id"], entry["category_id"]
            x, y, w, h = (float(value) for value in entry["bbox"])
            known, drawn = image in ids, category in labels
        except (AttributeError, KeyError, TypeError, ValueError):
            source.tell(Kind.NO_PARSE, listing, f"annotation {str(entry)[:120]}", lost=True)
            continue
        if not known:
            source.tell(Kind.NO_IMAGE, listing, f"annotation {key} is of image {image}, which is "
                        "not listed")  # fmt: skip
        elif not drawn:
            source.tell(Kind.UNKNOWN_CLASS, listing, f"annotation {key} is of category {category}, "
                        "which is not listed", lost=True)  # fmt: skip
        elif (box := sound_box(source, listing, (x, y, x + w, y + h))) is not None:
            difficult = bool(entry.get("iscrowd") or entry.get("ignore"))
            items[image].append(Item(labels[category], box, difficult))
    return items
