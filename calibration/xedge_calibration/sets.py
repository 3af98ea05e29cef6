"""Calibration sets: a few hundred pictures that hold of everything a model meets.

They are drawn from simulated bags or from a data set, so that every class and every degree of
clutter is there about equally often. What is kept is a manifest: where the pictures come from,
their names, and the sha256 of their pixels, which is compared when they are read again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from xedge.commands.evaluated import Picture, Subject, simulated, windows_of
from xedge.data.formats import open_set
from xedge.data.image_set import open_picture
from xedge.detector import Detector
from xedge.engines.fake import FakeEngine
from xedge.errors import CalibrationError
from xedge.pictures import DualEnergyPicture
from xedge.sim import CLASSES
from xedge.spec import Kind, ModelSpec
from xedge.types import U8, Detections

SCHEMA: Final = 1
CALIBRATION_SEED: Final = 8_000_000
"""First seed of the bags to draw from; none that is trained on, measured on or packed as golden."""
SIMULATED: Final = "simulated"
POOL: Final = 2
"""Pictures looked at for each one that is drawn."""
THIRDS: Final = ("sparse", "usual", "dense")
NOTHING: Final = "nothing"


@dataclass(frozen=True)
class Item:
    """One picture of a set.

    Attributes:
        name: Its id in the data set, or the seed of its bag.
        sha256: Of its pixels.
        classes: What is labelled in it; `NOTHING` alone where nothing is.
        clutter: One of `THIRDS`, among the pictures that were drawn from.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    clutter: str


@dataclass(frozen=True)
class CalibrationSet:
    """A manifest.

    Attributes:
        format: ``simulated``, or a name of `xedge.data.formats.FORMATS`.
        part: Which part of a data set.
        items: The pictures.
    """

    format: str
    part: str
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """Sha256 of the manifest, 64 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The manifest as JSON."""
        return json.dumps({"schema": SCHEMA} | asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> CalibrationSet:
        """The manifest that `to_json` wrote.

        Raises:
            CalibrationError: When it is none, of another version, or empty.
        """
        try:
            record: dict[str, Any] = json.loads(text)
            found = record.pop("schema")
            items = tuple(
                Item(str(i["name"]), str(i["sha256"]), tuple(i["classes"]), str(i["clutter"]))
                for i in record.pop("items")
            )
            made = CalibrationSet(items=items, **record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CalibrationError(
                "this is no manifest of a calibration set",
                expected="JSON with schema, format, part and items",
                found=str(error),
                remedy="Make one with xedge_calibration.sets",
            ) from error
        if found != SCHEMA:
            raise CalibrationError(
                "the calibration set is of another version",
                expected=f"schema {SCHEMA}",
                found=f"schema {found}",
            )
        if not items:
            raise _empty()
        return made


def simulated_set(
    count: int, seed: int = CALIBRATION_SEED, advance: Callable[[], None] = lambda: None
) -> CalibrationSet:
    """A set of simulated bags, drawn from `POOL` times as many.

    Args:
        count: How many, 1 or more.
        seed: Of the first bag to draw from.
        advance: Called after each bag that is looked at.

    Raises:
        CalibrationError: When ``count`` is 0.
    """

    def looked_at() -> Iterator[_Seen]:
        for number, subject in enumerate(simulated(CLASSES, POOL * count, seed).items(), seed):
            names = [CLASSES[label] for label in subject.truth.labels]
            yield _seen(str(number), subject.picture, names)
            advance()

    return CalibrationSet(SIMULATED, "", _drawn(looked_at(), count))


def data_set(
    root: Path, format: str, part: str, count: int, advance: Callable[[], None] = lambda: None
) -> CalibrationSet:
    """A set of pictures of a data set, drawn from `POOL` times as many that lie evenly spread.

    Args:
        root: Folder of the data set.
        format: A name of `xedge.data.formats.FORMATS`.
        part: Which part, where there are several.
        count: How many; all when it has fewer.
        advance: Called after each picture that is looked at.

    Raises:
        CalibrationError: When the data set or ``count`` is empty.
        ConfigError, DataError: As `open_set` and `open_picture` say.
    """
    images = open_set(format, root, part)
    size = len(images)
    picks = np.unique(np.linspace(0, max(size - 1, 0), min(POOL * count, size)).round().astype(int))

    def looked_at() -> Iterator[_Seen]:
        for record in (images.records[k] for k in picks):
            names = [images.classes[k] for k in np.flatnonzero(record.presence == 1)]
            yield _seen(record.name, open_picture(record), names)
            advance()

    return CalibrationSet(format, part, _drawn(looked_at(), count))


def pictures(chosen: CalibrationSet, root: Path | None = None) -> Iterator[Picture]:
    """The pictures of a set, each compared with its sha256.

    Args:
        chosen: The set.
        root: Folder of its data set; None for simulated bags.

    Raises:
        CalibrationError: When the set is empty, a data set's folder is not given, or a picture is
            not the one that was drawn; the message names it.
        ConfigError, DataError: As `open_set`, `ImageSet.select` and `open_picture` say.
    """
    if not chosen.items:
        raise _empty()
    if (root is None) != (chosen.format == SIMULATED):
        raise CalibrationError(
            "the calibration set and the folder do not belong together",
            expected="no folder" if root else f"a folder of {chosen.format}",
            found=str(root),
        )
    names = [item.name for item in chosen.items]
    found = _bags(names) if root is None else map(
        open_picture, open_set(chosen.format, root, chosen.part).select(names).records
    )  # fmt: skip
    for item, picture in zip(chosen.items, found, strict=True):
        if _digest(picture) != item.sha256:
            raise CalibrationError(
                f"picture {item.name} of the calibration set is another one",
                expected=f"sha256 {item.sha256}",
                found=_digest(picture),
                remedy="Draw the set anew: the data, or the simulator, has changed",
            )
        yield picture


def planes_of(pictures: Iterable[Picture], spec: ModelSpec) -> Iterator[U8]:
    """The planes that a model sees of pictures, uint8 ``[3, height, width]``, as on a device.

    A detector with an engine that finds nothing cuts and pads them, so there is no second way.

    Raises:
        ConfigError, ImageError, LineError: When the model does not take such a picture.
    """
    seen: list[U8] = []

    def keep(planes: U8) -> Detections:
        seen.append(planes.copy())
        return Detections.empty()

    fake = FakeEngine(
        keep, height=spec.height, width=spec.width, candidates=max(spec.candidates, 1)
    )
    for picture in pictures:
        if spec.kind is Kind.CLASSIFIER:
            yield from (feeds["planes"][0] for feeds in windows_of(picture, spec))
            continue
        Detector(fake, spec).detect_image(picture)
        yield from seen
        seen.clear()


@dataclass(frozen=True)
class _Seen:
    name: str
    sha256: str
    classes: tuple[str, ...]
    busy: float


def _seen(name: str, picture: Picture, classes: Iterable[str]) -> _Seen:
    return _Seen(name, _digest(picture), tuple(sorted(set(classes))) or (NOTHING,), _busy(picture))


def _digest(picture: Picture) -> str:
    dual = isinstance(picture, DualEnergyPicture)
    arrays = (picture.low, picture.high) if dual else (picture.rgb,)  # type: ignore[union-attr]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _busy(picture: Picture) -> float:
    """How cluttered a picture is: mean step between neighbours of its logarithm."""
    counts = picture.high if isinstance(picture, DualEnergyPicture) else picture.rgb.mean(axis=2)
    dark = np.log1p(counts.astype(np.float32))
    steps = [np.abs(np.diff(dark, axis=axis)).mean() for axis in (0, 1) if dark.shape[axis] > 1]
    return float(sum(steps))


def _drawn(candidates: Iterable[_Seen], count: int) -> tuple[Item, ...]:
    """The items drawn one by one, always the one whose classes and clutter are rarest so far."""
    pool = list(candidates)
    if not pool or count < 1:
        raise _empty()
    order = np.argsort([one.busy for one in pool], kind="stable")
    third = np.empty(len(pool), int)
    third[order] = np.arange(len(pool)) * len(THIRDS) // len(pool)
    items = [
        Item(one.name, one.sha256, one.classes, THIRDS[k])
        for one, k in zip(pool, third, strict=True)
    ]
    seen: Counter[tuple[str, str]] = Counter()
    drawn: list[Item] = []

    def rarity(item: Item) -> float:
        return max(1 / (1 + seen[name, item.clutter]) for name in item.classes)

    while items and len(drawn) < count:
        best = max(items, key=rarity)  # the first of those that are equally rare
        items.remove(best)
        drawn.append(best)
        seen.update((name, best.clutter) for name in best.classes)
    return tuple(drawn)


def _bags(names: Iterable[str]) -> Iterator[Picture]:
    for name in names:
        if not name.isdecimal():
            raise CalibrationError("a simulated bag is named by its seed", found=repr(name))
        bag: Subject = next(iter(simulated(CLASSES, 1, int(name)).items()))
        yield bag.picture


def _empty() -> CalibrationError:
    return CalibrationError(
        "the calibration set is empty",
        expected="one picture or more, better some hundred",
        remedy="Give more bags, or a data set with pictures",
    )
