"""What is evaluated: bags or pictures with their truth, and what a model finds in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xedge.bundle import Bundle
from xedge.commands.screening import EngineUsed, named_engine
from xedge.data.formats import open_set
from xedge.data.image_set import ImageSet, open_picture
from xedge.detector import open_detector
from xedge.encode import AIR
from xedge.engines.base import Engine
from xedge.engines.deploy import load_variant
from xedge.errors import ConfigError
from xedge.metrics import Truth
from xedge.pictures import ColourPicture, DualEnergyPicture
from xedge.postprocess import check_contract, class_scores
from xedge.preprocess import Placement, pad_planes
from xedge.scanner.windows import WindowPlan
from xedge.sim import CLASSES
from xedge.sim.bags import SimulatedBag, generate_bag
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels, Kind, ModelSpec
from xedge.types import U8, Detections

Picture = ColourPicture | DualEnergyPicture

FRESH_SEED = 3_000_000
"""First seed of the bags to measure on; recipes use seeds from 1,000,000 and 2,000,000."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One bag or picture.

    Attributes:
        picture: What a model sees.
        truth: What is really there, in its pixels: elements and lines of counts.
    """

    picture: Picture
    truth: Truth


@dataclass(frozen=True, eq=False)
class Subjects:
    """Bags or pictures, made or decoded one by one.

    Attributes:
        name: What they are, for people.
        count: How many.
        origin: What they are the first of; two sets with one origin begin with the same images.
        made: Gives those at some places; the same each time.
    """

    name: str
    count: int
    origin: str
    made: Callable[[range], Iterator[Subject]]

    def items(self, places: range | None = None) -> Iterator[Subject]:
        """Those at these places, or all."""
        return self.made(range(self.count) if places is None else places)


def truth_of(bag: SimulatedBag, classes: Sequence[str] = CLASSES) -> Truth:
    """The labelled objects of a simulated bag, with their occlusion as level.

    Args:
        bag: The bag.
        classes: Names of the labels; objects of other classes are things like any other.
    """
    places = {name: k for k, name in enumerate(classes)}
    objects = [thing for thing in bag.truth if thing.label in places]
    return Truth(
        np.array([t.box for t in objects], np.float32).reshape(-1, 4),
        np.array([places[t.label] for t in objects], np.int32),
        np.array([t.occlusion for t in objects], np.int32),
    )


def simulated(classes: Sequence[str], bags: int, seed: int = FRESH_SEED) -> Subjects:
    """Fresh bags as the simulator packs them by default, through scanner and correction.

    Args:
        classes: Names of the labels.
        bags: How many.
        seed: Of the first.

    Raises:
        ConfigError: When the simulator has objects of none of the classes.
    """
    if not set(classes) & set(CLASSES):
        raise ConfigError(
            "no class of the model is in simulated bags",
            expected=f"some of {', '.join(CLASSES)}",
            found=", ".join(classes),
            remedy="Evaluate it on a data set with --data DIR --format F",
        )
    scanner = ScannerModel()
    field = flat_field(scanner, 1, 2)

    def made(places: range) -> Iterator[Subject]:
        for place in places:
            bag = generate_bag(seed + place, scanner=scanner)
            yield Subject(
                DualEnergyPicture(*field.apply(bag.low, bag.high)), truth_of(bag, classes)
            )

    origin = f"simulated bags from seed {seed}"
    return Subjects(f"{bags} {origin}", bags, f"{origin}: {', '.join(classes)}", made)


def annotated(
    root: Path,
    format: str,
    classes: Sequence[str],
    *,
    part: str = "",
    ignore: Sequence[str] = (),
    limit: int | None = None,
) -> Subjects:
    """The pictures of a data set.

    Args:
        root: Its folder.
        format: A name of `xedge.data.formats.FORMATS`.
        classes: Names of the labels; they match the set's without regard to case and hyphens.
        part: Which part, where there are several.
        ignore: Classes of the set that the model does not know.
        limit: At most so many pictures, evenly spread over the set; None takes all.

    Raises:
        ConfigError, DataError: As `open_set` and `ImageSet.with_classes` say.
    """
    chosen = open_set(format, root, part).with_classes(classes, ignore)
    if limit is not None and len(chosen) > limit:
        picks = np.linspace(0, len(chosen) - 1, limit).round().astype(int)
        chosen = replace(chosen, records=tuple(chosen.records[k] for k in picks))

    name = f"{chosen.name} ({format})"
    origin = f"{name} in {root.resolve()}, part {part!r}, every {limit}: {', '.join(classes)}"
    return Subjects(name, len(chosen), origin, lambda places: _pictures(chosen, places))


def _pictures(images: ImageSet, places: range) -> Iterator[Subject]:
    for place in places:
        record = images.records[place]
        picture = open_picture(record)
        cut = record.within(*picture.shape)
        truth = Truth(cut.boxes, cut.labels, cut.levels, cut.difficult)
        yield Subject(picture, truth)


Find = Callable[[Subject], tuple[Detections, Truth]]
"""What a model finds in a subject, and what it should have found."""


@contextmanager
def finder(
    bundle: Bundle,
    engine: str,
    variant: str = "fp32",
    *,
    threads: int | None = None,
    threshold: float | None = None,
    pixel_mm: float | None = None,
    refine_all: bool = False,
) -> Iterator[tuple[Find, EngineUsed]]:
    """A model that is ready, and the engine that it runs on.

    A classifier's answer comes as a detection of every class that is as large as the picture, and
    so does its truth: what is counted is then images.

    Args:
        bundle: The model.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        variant: Which graph of the bundle.
        threads: Threads of one run; None for every physical core.
        threshold: Detections with a lower score are dropped; None takes the model's own.
        pixel_mm: Size of a colour picture's pixel, see `Detector.detect_image`.
        refine_all: True refines every window, whatever the bundle says of quiet ones.

    Raises:
        BundleError: When the bundle has no such variant.
        EngineError: When the engine is not installed or refuses the model.
    """
    used = named_engine(engine, threads)
    if bundle.spec.kind is Kind.CLASSIFIER:
        with closing(load_variant(bundle, used.name, threads, variant)) as loaded:
            check_contract(loaded, bundle.spec)
            yield lambda subject: _classified(loaded, bundle.spec, subject), used
        return
    with open_detector(
        bundle,
        used.name,
        threads,
        variant=variant,
        score_threshold=threshold,
        refine_all=refine_all,
    ) as detector:
        yield lambda s: (detector.detect_image(s.picture, pixel_mm=pixel_mm), s.truth), used


def _classified(engine: Engine, spec: ModelSpec, subject: Subject) -> tuple[Detections, Truth]:
    scores = np.maximum.reduce(
        [class_scores(engine.run(feeds), spec) for feeds in windows_of(subject.picture, spec)]
    )
    whole = np.array([0, 0, 1, 1], np.float32)
    order = np.argsort(-scores, kind="stable")
    found = Detections(np.tile(whole, (len(scores), 1)), scores[order], order.astype(np.int32))
    truth = subject.truth
    sure = np.unique(truth.labels[truth.counted()])
    doubtful = np.setdiff1d(truth.labels, sure)
    labels = np.concatenate([sure, doubtful]).astype(np.int32)
    difficult = np.arange(labels.size) >= sure.size
    return found, Truth(np.tile(whole, (labels.size, 1)), labels, None, difficult)


def windows_of(picture: Picture, spec: ModelSpec) -> Iterator[Mapping[str, U8]]:
    """What a classifier is fed of a picture: windows of counts, or a whole picture in colour.

    Raises:
        ConfigError: When the model takes the other kind.
    """
    if isinstance(picture, DualEnergyPicture) != (spec.channels is Channels.DUAL_ENERGY):
        raise ConfigError(
            f"the classifier {spec.name} does not take such pictures",
            expected=f"pictures of {spec.channels.value}",
            found="counts" if isinstance(picture, DualEnergyPicture) else "a picture in colour",
            remedy="Evaluate it on another data set",
        )
    air = AIR[spec.channels]
    if isinstance(picture, ColourPicture):
        fitted = Placement(*picture.shape, spec.height, spec.width).resize(picture.rgb)
        yield {"planes": np.ascontiguousarray(fitted.transpose(2, 0, 1))[None]}
        return
    plan = WindowPlan.for_model(spec)
    width = spec.width * spec.binning
    for start in plan.starts(picture.shape[0]):
        planes = plan.planes(picture.low[:, :width], picture.high[:, :width], start)
        yield {"planes": pad_planes(planes, spec.height, spec.width, air)[None]}
