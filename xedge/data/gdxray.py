"""GDXray: grey pictures of one bag from many sides, and one text file of boxes a series.

Source: Mery et al., "GDXray", Journal of Nondestructive Evaluation 34 (2015), group Baggages:
``Baggages/B0046/B0046_0001.png``, and in a series with ground truth a text file whose rows are
``image x1 x2 y1 y2`` (both x first), numbers of any notation. The truth names no class. All
pictures of a series show the same bag turned, so a series is a group. Series without ground
truth are left out: that nothing is marked there does not mean that nothing is there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from xedge.data.annotations import Item, Source, record, sound_box
from xedge.data.defects import Kind
from xedge.data.image_set import ImageSet, Record
from xedge.errors import DataError

CLASSES = ("object",)
TRUTHS = ("ground_truth.txt", "BoundingBox.txt")
MATLAB = "BoundingBox.mat"

LAYOUT = """\
Baggages/B0046/B0046_0001.png ...   (or the folder Baggages itself)
Baggages/B0046/ground_truth.txt or BoundingBox.txt: image x1 x2 y1 y2"""


def _group(root: Path) -> Path:
    return root / "Baggages" if (root / "Baggages").is_dir() else root


def parts(root: Path) -> tuple[str, ...]:
    """The empty name for all series with ground truth, and the name of each."""
    folders = sorted(path for path in _group(root).glob("B[0-9]*") if path.is_dir())
    names = [p.name for p in folders if any((p / name).is_file() for name in (*TRUTHS, MATLAB))]
    return ("", *names) if names else ()


def read(source: Source, part: str) -> ImageSet:
    """The images of a series, or of all that have ground truth."""
    names = (part,) if part else parts(source.root)[1:]
    records = [r for name in names for r in _series(source, _group(source.root) / name)]
    title = f"{source.root.name} {part}".strip()
    return ImageSet(title, "gdxray", CLASSES, tuple(records))


def _series(source: Source, folder: Path) -> list[Record]:
    truth = next((folder / name for name in TRUTHS if (folder / name).is_file()), None)
    if truth is None:
        raise DataError(
            f"{folder / MATLAB} is a MATLAB file, which xedge does not read",
            expected=f"{TRUTHS[0]} beside it: rows of image x1 x2 y1 y2",
            remedy="Convert it: numpy.savetxt('ground_truth.txt', "
            "scipy.io.loadmat('BoundingBox.mat')['bb'])",
        )
    images: dict[int, tuple[str, str]] = {}
    for stem, file in source.images(folder).items():
        if match := re.fullmatch(rf"{re.escape(folder.name)}_(\d+)", stem):
            images[int(match[1])] = (stem, file)
    boxes = _boxes(source, truth)
    for number in sorted(set(boxes) - set(images)):
        source.tell(Kind.NO_IMAGE, truth, f"rows of image {number}, of which there is no "
                    f"{folder.name}_{number:04d}.png")  # fmt: skip
    return [
        record(stem, folder / file, boxes.get(number, []), len(CLASSES), group=folder.name)
        for number, (stem, file) in sorted(images.items())
    ]


def _boxes(source: Source, truth: Path) -> dict[int, list[Item]]:
    """Objects by image number."""
    boxes: dict[int, list[Item]] = defaultdict(list)
    for number, line in enumerate((source.text(truth) or "").splitlines(), 1):
        if not line.strip():
            continue
        try:
            image, x1, x2, y1, y2 = (float(value) for value in line.replace(",", " ").split())
            key = int(image)
        except (ValueError, OverflowError):
            what = f"line {number}: expected image x1 x2 y1 y2, found {line.strip()!r}"
            source.tell(Kind.NO_PARSE, truth, what, lost=True)
            continue
        box = sound_box(source, truth, (x1, y1, x2, y2), turn=True)
        if box is not None:
            boxes[key].append(Item(0, box))
    return boxes
