"""What the published formats share: folders of images, VOC XML, and records made of objects."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xedge.data.defects import Complain, Finding, Kind
from xedge.data.image_set import Record, plain
from xedge.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".npz"})


@dataclass(frozen=True)
class Item:
    """One annotated object.

    Attributes:
        label: Index into the set's classes.
        box: x1 y1 x2 y2, pixels.
        difficult: Left out by evaluations.
        level: Occlusion level, 0 where none is given.
    """

    label: int
    box: tuple[float, float, float, float]
    difficult: bool = False
    level: int = 0


@dataclass(frozen=True)
class Source:
    """A set's folder while it is read, and who hears of defects.

    Attributes:
        root: The set's folder.
        complain: Takes findings.
        listings: Folders that were listed already: each is read from the disk once.
    """

    root: Path
    complain: Complain
    listings: dict[Path, dict[str, str]] = field(default_factory=dict)

    def tell(self, kind: Kind, file: Path, what: str, *, lost: bool = False) -> None:
        """Report a finding; the file is named inside the set's folder."""
        inside = file.relative_to(self.root) if file.is_relative_to(self.root) else file
        self.complain(Finding(kind, inside.as_posix(), what, lost))

    def folder(self, *parts: str) -> Path:
        """A folder of the set.

        Raises:
            DataError: When it is not there.
        """
        path = self.root.joinpath(*parts)
        if not path.is_dir():
            raise DataError(
                f"{self.root} is not what it is said to be",
                expected=f"a folder {'/'.join(parts) or 'of that name'} in it",
                found=_inside(self.root),
                remedy="`xedge data formats` shows the layout of each format",
            )
        return path

    def images(self, folder: Path) -> dict[str, str]:
        """Names of the image files of a folder by their stem.

        The halves NAME_low and NAME_high of a dual-energy pair stand under NAME, by the low one.
        """
        if folder not in self.listings:
            found: dict[str, str] = {}
            try:
                names = {path.name for path in folder.iterdir()}
            except OSError as error:
                self.tell(Kind.UNREADABLE, folder, error.strerror or str(error), lost=True)
                names = set()
            for name in sorted(names):
                stem, suffix = Path(name).stem, Path(name).suffix
                if suffix.lower() not in IMAGE_SUFFIXES or name.startswith("."):
                    continue
                if (whole := _pair(stem, suffix, names)) is not None:
                    if stem.endswith("_high"):
                        continue  # the low half stands for both
                    stem = whole
                if stem in found:
                    self.tell(Kind.DUPLICATE_NAME, folder / name, f"{found[stem]} has the same id")
                found.setdefault(stem, name)
            self.listings[folder] = found
        return self.listings[folder]

    def text(self, path: Path) -> str | None:
        """The text of a file; None, and a finding, when it cannot be read."""
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            self.tell(Kind.MISSING_FILE, path, "it is not there", lost=True)
        except UnicodeDecodeError as error:
            self.tell(Kind.NO_PARSE, path, f"it is no UTF-8 text: {error.reason}", lost=True)
        except OSError as error:
            self.tell(Kind.UNREADABLE, path, error.strerror or str(error), lost=True)
        return None


def _pair(stem: str, suffix: str, names: set[str]) -> str | None:
    for half, other in (("_low", "_high"), ("_high", "_low")):
        if stem.endswith(half) and stem.removesuffix(half) + other + suffix in names:
            return stem.removesuffix(half)
    return None


def _inside(folder: Path) -> str:
    """What a folder holds, in a few words."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:6]) + (", ..." if len(names) > 6 else "")) or "an empty folder"


def sound_box(
    source: Source, file: Path, values: Sequence[float], *, turn: bool = False
) -> tuple[float, float, float, float] | None:
    """The box; None, and a finding, when it is not finite or has no area.

    Args:
        source: Who hears of it.
        file: Where the box stands.
        values: x1 y1 x2 y2.
        turn: Put right a box whose corners are swapped, which is told as a known defect.
    """
    x1, y1, x2, y2 = (float(v) for v in values)
    shown = " ".join(f"{v:g}" for v in values)
    if turn and all(map(math.isfinite, values)) and (x1 > x2 or y1 > y2):
        source.tell(Kind.KNOWN_DEFECT, file, f"the corners of box {shown} are swapped")
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if all(map(math.isfinite, values)) and x1 < x2 and y1 < y2:
        return x1, y1, x2, y2
    source.tell(Kind.BAD_BOX, file, f"expected x1 < x2 and y1 < y2, found {shown}", lost=True)
    return None


def class_index(source: Source, file: Path, name: str, classes: Mapping[str, int]) -> int | None:
    """The label of a class name; None, and a finding, when the format has no such class."""
    label = classes.get(plain(name))
    if label is None:
        kind = Kind.UNKNOWN_CLASS if plain(name) else Kind.EMPTY_NAME
        what = f"found class {name!r}, expected one of {', '.join(classes)}"
        source.tell(kind, file, what, lost=True)
    return label


def index_of(classes: Iterable[str]) -> dict[str, int]:
    """Labels by class name as names are compared."""
    return {plain(name): k for k, name in enumerate(classes)}


def voc_objects(
    source: Source, path: Path, classes: Mapping[str, int]
) -> tuple[list[Item], tuple[int, int] | None] | None:
    """Objects of a Pascal VOC XML and the height and width it states; None when unusable.

    Coordinates may have decimals, as SIXray's have. A size of zero is no size.
    """
    text = source.text(path)
    if text is None:
        return None
    try:
        # ElementTree refuses a declared encoding in text that is decoded already: give bytes.
        root = ET.fromstring(text.encode())
    except (ET.ParseError, ValueError, LookupError) as error:
        source.tell(Kind.NO_PARSE, path, f"broken XML: {error}", lost=True)
        return None
    named = Path(root.findtext("filename") or "").stem
    if named and named != path.stem:
        source.tell(Kind.LISTS_DISAGREE, path, f"it says that it belongs to {named!r}")
    items = []
    for node in root.iter("object"):
        label = class_index(source, path, node.findtext("name") or "", classes)
        texts = [node.findtext(f"bndbox/{tag}") or "" for tag in ("xmin", "ymin", "xmax", "ymax")]
        try:
            values = [float(text) for text in texts]
        except ValueError:
            source.tell(Kind.NO_PARSE, path, f"a box of {' '.join(texts) or 'nothing'}", lost=True)
            continue
        box = sound_box(source, path, values)
        if label is not None and box is not None:
            items.append(Item(label, box, (node.findtext("difficult") or "0").strip() == "1"))
    return items, stated_size(root.findtext("size/height"), root.findtext("size/width"))


def stated_size(height: object, width: object) -> tuple[int, int] | None:
    """Height and width where both are positive whole numbers."""
    try:
        size = int(float(str(height))), int(float(str(width)))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def record(
    name: str,
    path: Path,
    items: Sequence[Item],
    classes: int,
    *,
    group: str,
    size: tuple[int, int] | None = None,
    presence: Sequence[int] | None = None,
    with_levels: bool = False,
) -> Record:
    """A record of objects.

    Args:
        name: Its id.
        path: Its file.
        items: Its objects.
        classes: How many classes the set has.
        group: Its run of neighbours.
        size: Height and width that the annotation states.
        presence: Labels of the whole image; None takes them from the objects, 0 where all of a
            class are difficult.
        with_levels: Whether the set gives occlusion levels.
    """
    seen = np.full(classes, -1, np.int8)
    by_class: dict[int, list[bool]] = defaultdict(list)
    for item in items:
        by_class[item.label].append(item.difficult)
    for label, difficult in by_class.items():
        seen[label] = 0 if all(difficult) else 1
    return Record(
        name=name,
        path=path,
        boxes=np.array([i.box for i in items], np.float32).reshape(-1, 4),
        labels=np.array([i.label for i in items], np.int32),
        levels=np.array([i.level for i in items], np.int32) if with_levels else None,
        difficult=np.array([i.difficult for i in items], np.bool_),
        presence=seen if presence is None else np.array(presence, np.int8),
        group=group,
        size=size,
    )
