"""What contenders find in images, kept block by block so that a long comparison can go on.

A comparison of thousands of bags takes hours. With a folder, each block's answers are written when
the block is done, and a later run of the same command takes them from there, with more images as
well, or with one contender more. Answers of another version of the code are not taken: its digest
is part of their name. Nor is what was kept believed on its name alone, which says nothing of the
machine: the first image of each block is looked at again, and a block whose answer is another now
is done anew.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

import xedge
from xedge.commands.evaluated import Find, Subjects
from xedge.errors import ConfigError
from xedge.metrics import Truth
from xedge.types import Detections

BLOCK: Final = 100
"""Images of a block: what an interruption loses, and one in a hundred is looked at twice."""

MAKES_NONE: Final = frozenset({"commands", "control", "lane", "train", "models"})
"""Parts of xedge that no answer comes out of, but for `evaluated`, which asks the engines."""

SOURCES: Final = frozenset({".py", ".npz"})
"""Of code, and of the tables that the simulator reads."""

Answers: TypeAlias = list[tuple[Detections, Truth]]

_OPTIONAL = ("levels", "difficult")


@dataclass(frozen=True)
class Contender:
    """Who is asked.

    Attributes:
        name: What its answers depend on: engine, version, graph, options.
        find: Answers.
    """

    name: str
    find: Find


def answers_of(
    contenders: Sequence[Contender],
    subjects: Subjects,
    folder: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Answers]:
    """What each contender finds in every image, and what it should have found.

    Args:
        contenders: Who is asked.
        subjects: What to look at.
        folder: Where answers are kept, and those of the same code taken from; None keeps none.
        advance: Called after each image.

    Raises:
        ConfigError: When the folder cannot be written.
        EngineError: When an engine fails.
        DataError, ImageError: When a picture cannot be used; the message names it.
    """
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: answers cannot be kept there",
                              found=str(error.strerror or error)) from error  # fmt: skip
    found: list[Answers] = [[] for _ in contenders]
    for first in range(0, subjects.count, BLOCK):
        places = range(first, min(first + BLOCK, subjects.count))
        block = _block(contenders, subjects, places, folder, advance)
        for mine, rows in zip(found, block, strict=True):
            mine += rows
    return found


def _block(
    contenders: Sequence[Contender],
    subjects: Subjects,
    places: range,
    folder: Path | None,
    advance: Callable[[], None],
) -> list[Answers]:
    images = subjects.items(places)
    opening = next(images)
    paths = [folder / _name(c, subjects, places) if folder else None for c in contenders]
    block, missing = [], []
    for k, (contender, path) in enumerate(zip(contenders, paths, strict=True)):
        first, kept = contender.find(opening), _read(path) if path else []
        if len(kept) == len(places) and _same(kept[0], first):
            block.append(kept)
        else:
            block.append([first])
            missing.append(k)
    advance()
    for _ in places[1:]:
        if missing:
            subject = next(images)
            for k in missing:
                block[k].append(contenders[k].find(subject))
        advance()
    for k in missing:
        if (path := paths[k]) is not None:
            _write(path, block[k])
    return block


def code_sha256(package: Path) -> str:
    """Sha256, in hex, over the sources that answers come out of: names and contents.

    Args:
        package: Folder of the package xedge.
    """
    digest = hashlib.sha256()
    found = (path for path in package.rglob("*") if path.suffix in SOURCES)
    sources = {path.relative_to(package).as_posix(): path for path in found}
    for name, path in sorted(sources.items()):
        if name.partition("/")[0] not in MAKES_NONE or name == "commands/evaluated.py":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


@functools.cache
def _this_code() -> str:
    return code_sha256(Path(xedge.__file__).resolve().parent)


def _name(contender: Contender, subjects: Subjects, places: range) -> str:
    depends_on = f"{_this_code()}\n{contender.name}\n{subjects.origin}"
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:24]
    return f"{digest}-{places.start:07d}-{len(places)}.npz"


def _same(one: tuple[Detections, Truth], other: tuple[Detections, Truth]) -> bool:
    ours, theirs = _packed([one]), _packed([other])
    return all(np.array_equal(ours[key], theirs[key]) for key in ours)


def _packed(rows: Answers) -> dict[str, Any]:
    found, truths = [row[0] for row in rows], [row[1] for row in rows]
    packed: dict[str, Any] = {
        "found": np.array([len(f) for f in found], np.int64),
        "boxes": np.concatenate([f.boxes for f in found]),
        "scores": np.concatenate([f.scores for f in found]),
        "labels": np.concatenate([f.labels for f in found]),
        "true": np.array([t.labels.size for t in truths], np.int64),
        "true_boxes": np.concatenate([t.boxes for t in truths]),
        "true_labels": np.concatenate([t.labels for t in truths]),
    }
    for name, dtype in zip(_OPTIONAL, (np.int32, np.bool_), strict=True):
        values = [getattr(truth, name) for truth in truths]
        packed[f"has_{name}"] = np.array([v is not None for v in values])
        packed[name] = np.concatenate([np.zeros(0, dtype)] + [v for v in values if v is not None])
    return packed


def _unpacked(packed: Mapping[str, npt.NDArray[Any]]) -> Answers:
    boxes, scores, labels = (
        _split(packed[n], packed["found"]) for n in ("boxes", "scores", "labels")
    )
    true = packed["true"]
    true_boxes, true_labels = (_split(packed[n], true) for n in ("true_boxes", "true_labels"))
    levels, difficult = (
        _split(packed[n], np.where(packed[f"has_{n}"], true, 0)) for n in _OPTIONAL
    )
    return [
        (
            Detections(boxes[k], scores[k], labels[k]),
            Truth(
                true_boxes[k],
                true_labels[k],
                levels[k] if packed["has_levels"][k] else None,
                difficult[k] if packed["has_difficult"][k] else None,
            ),
        )
        for k in range(true.size)
    ]


def _split(values: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> Sequence[npt.NDArray[Any]]:
    if counts.sum() != len(values):
        raise ValueError("counts and values do not fit together")
    return np.split(values, np.cumsum(counts)[:-1])


def _read(path: Path) -> Answers:
    """The answers of a block; empty where they were not kept, or cannot be read."""
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
            return _unpacked(packed)
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile):
        return []


def _write(path: Path, rows: Answers) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **_packed(rows))
    part.replace(path)
