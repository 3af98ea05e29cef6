"""What is wrong with a data set on disk: every file opened, every list compared."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2

from xedge.data.annotations import Source
from xedge.data.defects import Finding, Kind
from xedge.data.formats import FORMATS, no_such_part, parts_of
from xedge.data.image_set import ImageSet, Record
from xedge.errors import XedgeError
from xedge.pictures import read_picture

SLACK = 1.0
"""Pixels that a box may reach beyond the image: tools count from 0 or 1, ends in or out."""

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""

_SUMS = re.compile(r"(sha256|md5)sums?(\.txt)?|.*\.(sha256|md5)", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        format: A name of `FORMATS`.
        root: The set's folder.
        parts: The parts that were read.
        images: Annotated images that can be opened.
        objects: Boxes in them.
        files: Files that were opened.
        findings: All defects, by kind and file.
    """

    format: str
    root: Path
    parts: tuple[str, ...]
    images: int
    objects: int
    files: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """True when nothing was found."""
        return not self.findings

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind."""
        return dict(Counter(finding.kind.value for finding in self.findings))

    def to_json(self) -> str:
        """Everything as indented JSON."""
        values = dataclasses.asdict(self) | {"root": str(self.root), "sound": self.sound}
        return json.dumps(values, indent=2)


def verify(format: str, root: Path, part: str = "", progress: Progress | None = None) -> Report:
    """What is wrong with a set: its lists, its annotations, and every picture, which is decoded.

    No broken file ends the search.

    Args:
        format: A name of `FORMATS`.
        root: The set's folder.
        part: One part; empty takes all parts, and pictures that no list names as well.
        progress: Called after each file.

    Raises:
        ConfigError: When there is no such format.
        DataError: When the folder is not laid out so at all, or has no such part.
    """
    root = Path(root)
    known = parts_of(format, root)
    if part and part not in known:
        raise no_such_part(root, part, known, "Name one of them, or none for all")
    parts = (part,) if part or "" in known else known
    findings: list[Finding] = []
    source = Source(root, findings.append)
    sets = [images for name in parts if (images := _read(source, format, name)) is not None]
    records = {record.path: record for images in sets for record in images.records}
    paths = list(records)
    if not part:
        listed = (folder / name for folder, names in source.listings.items()
                  for name in names.values())  # fmt: skip
        paths = list(dict.fromkeys([*paths, *sorted(listed)]))
    sums = [(path, line) for path in _sum_files(root) for line in _lines(source, path)]
    digests: dict[str, Path] = {}
    for done, path in enumerate(paths, 1):
        _check_picture(source, path, records.get(path), digests)
        if progress is not None:
            progress(done, len(paths) + len(sums))
    for done, (path, line) in enumerate(sums, 1):
        _check_sum(source, path, line)
        if progress is not None:
            progress(len(paths) + done, len(paths) + len(sums))
    unique = {record.path: len(record.labels) for record in records.values()}
    order = {kind: k for k, kind in enumerate(Kind)}
    return Report(
        format=format,
        root=root,
        parts=parts,
        images=len(unique),
        objects=sum(unique.values()),
        files=len(paths) + len(sums),
        # A defect that several parts share is one defect.
        findings=tuple(sorted(set(findings), key=lambda f: (order[f.kind], f.file, f.what))),
    )


def _read(source: Source, format: str, part: str) -> ImageSet | None:
    """A part of the set; None, and a finding, when it cannot be read at all."""
    try:
        return FORMATS[format].read(source, part)
    except XedgeError as error:
        source.tell(Kind.LAYOUT, source.root / part, str(error), lost=True)
    except OSError as error:
        file = Path(error.filename or source.root)
        source.tell(Kind.UNREADABLE, file, error.strerror or str(error), lost=True)
    return None


def _check_picture(
    source: Source, path: Path, record: Record | None, digests: dict[str, Path]
) -> None:
    """Decode a picture, compare it with its annotation and with those seen before."""
    try:
        data = path.read_bytes()
        height, width = read_picture(path, grey=True).shape
    except OSError as error:
        source.tell(Kind.UNREADABLE, path, error.strerror or str(error), lost=True)
        return
    except XedgeError as error:
        source.tell(Kind.NO_DECODE, path, error.found or error.what, lost=True)
        return
    except (cv2.error, MemoryError, ValueError) as error:  # a hostile header
        source.tell(Kind.NO_DECODE, path, str(error) or type(error).__name__, lost=True)
        return
    if _cut_short(data):
        source.tell(Kind.NO_DECODE, path, "the JPEG has no end: it is cut short", lost=True)
    twin = digests.setdefault(hashlib.sha256(data).hexdigest(), path)
    if twin != path:
        what = f"the same bytes as {twin.relative_to(source.root).as_posix()}"
        source.tell(Kind.DUPLICATE_IMAGE, path, what)
    if record is None:
        return
    if record.size is not None and record.size != (height, width):
        what = (f"{width} x {height} pixels, the annotation is for "
                f"{record.size[1]} x {record.size[0]}")  # fmt: skip
        source.tell(Kind.WRONG_SIZE, path, what)
    for x1, y1, x2, y2 in record.boxes.tolist():
        if min(x1, y1) < -SLACK or x2 > width + SLACK or y2 > height + SLACK:
            what = f"box {x1:g} {y1:g} {x2:g} {y2:g} in a picture of {width} x {height}"
            source.tell(Kind.OUT_OF_BOUNDS, path, what)


def _cut_short(data: bytes) -> bool:
    """Whether a JPEG lacks its end; some versions of OpenCV fill the rest with grey.

    No marker can occur within a JPEG's coded pixels, so the end marker after the last start of
    a scan is the picture's own, not that of an embedded preview.
    """
    return data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _sum_files(root: Path) -> list[Path]:
    """Files of checksums in the set's folder and the folders directly in it."""
    near = [*root.glob("*"), *root.glob("*/*")]
    return sorted(path for path in near if _SUMS.fullmatch(path.name) and path.is_file())


def _lines(source: Source, path: Path) -> Iterable[str]:
    return [line for line in (source.text(path) or "").splitlines() if line.strip()]


def _check_sum(source: Source, path: Path, line: str) -> None:
    """Compare one line of a file of checksums with the file that it names."""
    match = re.fullmatch(r"\\?([0-9a-fA-F]{32}|[0-9a-fA-F]{64})\s+\*?(.+)", line.strip())
    if match is None:
        source.tell(Kind.NO_PARSE, path, f"expected a sum and a file name, found {line[:80]!r}")
        return
    target = (path.parent / match[2]).resolve()
    if not target.is_relative_to(source.root.resolve()):
        source.tell(Kind.CHECKSUM, path, f"{match[2]} lies outside the set")
        return
    digest = hashlib.sha256() if len(match[1]) == 64 else hashlib.md5(usedforsecurity=False)
    try:
        with target.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        source.tell(Kind.CHECKSUM, path, f"{match[2]}: {error.strerror or error}")
        return
    if digest.hexdigest() != match[1].lower():
        source.tell(Kind.CHECKSUM, path, f"{match[2]} does not have its {digest.name} sum")
