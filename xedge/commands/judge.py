"""Decisions held against what is really in the bags: found, missed, false.

A detection *reports* an object when its score reaches the alarm threshold. It finds an object of
its class with IoU at least 0.5, each object once, best score first; one that finds none is false.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from xedge import boxes as box_arithmetic
from xedge.metrics import Truth, average_precision
from xedge.page import Box
from xedge.sim.bags import TruthObject
from xedge.sim.belt import BeltTruth
from xedge.types import F32, Decision, Detections, Verdict

MATCH_IOU = 0.5


@dataclass(frozen=True)
class Report:
    """One reported object: a detection whose score reaches the alarm threshold.

    Attributes:
        label: Name of its class.
        score: Its score.
        box: x1 y1 x2 y2, detector elements and lines of the scan.
        right: True when it found an object; False when there is no such object there.
    """

    label: str
    score: float
    box: Box
    right: bool


@dataclass(frozen=True)
class Thing:
    """One labelled object that is really in a bag.

    Attributes:
        label: Name of its class.
        box: x1 y1 x2 y2, detector elements and lines of the scan.
        occlusion: Level 1 to 3.
        found: True when a report found it.
        best_score: Best score of any detection that fits it in class and place, 0 without one:
            says of a missed object how near the model was.
        taken_for: Class of the false report in its place, empty without one.
    """

    label: str
    box: Box
    occlusion: int
    found: bool
    best_score: float
    taken_for: str


@dataclass(frozen=True, eq=False)
class JudgedBag:
    """A decision and what it is worth.

    Attributes:
        decision: The lane's decision.
        reports: What it reported, best score first.
        things: What is really in it.
    """

    decision: Decision
    reports: tuple[Report, ...]
    things: tuple[Thing, ...]

    @property
    def found(self) -> int:
        """Number of labelled objects that were found."""
        return sum(thing.found for thing in self.things)

    @property
    def missed(self) -> tuple[Thing, ...]:
        """Labelled objects that were not found."""
        return tuple(thing for thing in self.things if not thing.found)

    @property
    def false(self) -> tuple[Report, ...]:
        """Reports of objects that are not there."""
        return tuple(report for report in self.reports if not report.right)


@dataclass(frozen=True)
class ClassTally:
    """How one class fared: ``objects = found + missed``."""

    label: str
    objects: int
    found: int
    missed: int
    false: int
    ap50: float


@dataclass(frozen=True)
class LevelTally:
    """How the objects of one occlusion level fared."""

    level: int
    objects: int
    found: int


@dataclass(frozen=True)
class Score:
    """How all bags fared.

    Attributes:
        ap50: Average precision at IoU 0.5, the mean over the classes that occur; NaN without any.
        classes: Each class.
        levels: Each occlusion level.
        unseen: Objects that lie in no bag that the lane cut; missed, of course.
        loaded_alarm: Bags with a labelled object that raised an alarm.
        loaded_cleared: Bags with a labelled object that were cleared.
        loaded: Bags with a labelled object.
        clean_cleared: Bags without any that were cleared.
        clean_alarm: Bags without any that raised an alarm.
        clean: Bags without any labelled object.
    """

    ap50: float
    classes: tuple[ClassTally, ...]
    levels: tuple[LevelTally, ...]
    unseen: int
    loaded_alarm: int
    loaded_cleared: int
    loaded: int
    clean_cleared: int
    clean_alarm: int
    clean: int

    @property
    def objects(self) -> int:
        """Labelled objects on the belt."""
        return sum(row.objects for row in self.classes)

    @property
    def found(self) -> int:
        """Labelled objects that were found."""
        return sum(row.found for row in self.classes)

    @property
    def missed(self) -> int:
        """Labelled objects that were not found."""
        return sum(row.missed for row in self.classes)

    @property
    def false(self) -> int:
        """Reports of objects that are not there."""
        return sum(row.false for row in self.classes)


def judge(
    decision: Decision, belt: Iterable[BeltTruth], classes: Sequence[str], alarm_threshold: float
) -> JudgedBag:
    """A decision held against the objects whose middle lies in its stretch of belt.

    Args:
        decision: Of a lane on a simulated belt, where one encoder count is one line.
        belt: Truth of the belt, at least around this bag.
        classes: Names of the model's labels.
        alarm_threshold: Detections with at least this score are reports.
    """
    objects = [moved for bag in belt for moved in _in_scan(bag, decision)]
    detections = decision.detections
    overlap = box_arithmetic.iou(detections.boxes, _boxes(o.box for o in objects))
    names = [classes[int(label)] for label in detections.labels]
    found_by: dict[int, int] = {}
    right = set()
    reports = int(np.count_nonzero(detections.scores >= alarm_threshold))
    for row in range(reports):
        fits = [
            k for k, thing in enumerate(objects)
            if k not in found_by and thing.label == names[row] and overlap[row, k] >= MATCH_IOU
        ]  # fmt: skip
        if fits:
            found_by[max(fits, key=lambda k: float(overlap[row, k]))] = row
            right.add(row)
    wrong = [row for row in range(reports) if row not in right]
    things = []
    for k, thing in enumerate(objects):
        here = [row for row in range(len(detections)) if overlap[row, k] >= MATCH_IOU]
        scores = [float(detections.scores[row]) for row in here if names[row] == thing.label]
        taken = [names[row] for row in wrong if row in here and names[row] != thing.label]
        things.append(
            Thing(thing.label, thing.box, thing.occlusion, k in found_by, max(scores, default=0.0),
                  taken[0] if taken and k not in found_by else "")
        )  # fmt: skip
    made = [
        Report(names[row], float(detections.scores[row]), _box(detections, row), row in right)
        for row in range(reports)
    ]
    return JudgedBag(decision, tuple(made), tuple(things))


def score_belt(
    bags: Sequence[JudgedBag], belt: Sequence[BeltTruth], classes: Sequence[str]
) -> Score:
    """How all decisions of a belt fared.

    Args:
        bags: Every decision, judged.
        belt: Truth of the whole belt.
        classes: Names of the model's labels.
    """
    labels = list(classes)
    stretches = [(bag.decision.encoder_head, bag.decision.encoder_tail) for bag in bags]
    unseen = [
        thing for bag in belt for thing in bag.objects
        if not any(head <= _middle(bag, thing) <= tail for head, tail in stretches)
    ]  # fmt: skip
    truths = [_truth([(thing.box, thing.label) for thing in bag.things], labels) for bag in bags]
    truths.append(_truth([(thing.box, thing.label) for thing in unseen], labels))
    found = [*(bag.decision.detections for bag in bags), Detections.empty()]
    precision = average_precision(found, truths, len(labels))
    tallies = []
    for k, label in enumerate(labels):
        things = [thing for bag in bags for thing in bag.things if thing.label == label]
        objects = len(things) + sum(thing.label == label for thing in unseen)
        hits = sum(thing.found for thing in things)
        false = sum(report.label == label for bag in bags for report in bag.false)
        tallies.append(
            ClassTally(label, objects, hits, objects - hits, false, precision.ap50_by_class[k])
        )
    every = [(thing.occlusion, thing.found) for bag in bags for thing in bag.things]
    every += [(thing.occlusion, False) for thing in unseen]
    levels = tuple(
        LevelTally(level, sum(one == level for one, _ in every), every.count((level, True)))
        for level in (1, 2, 3)
    )
    loaded = [bag.decision.verdict for bag in bags if bag.things]
    clean = [bag.decision.verdict for bag in bags if not bag.things]
    return Score(
        ap50=precision.ap50,
        classes=tuple(tallies),
        levels=levels,
        unseen=len(unseen),
        loaded_alarm=loaded.count(Verdict.ALARM),
        loaded_cleared=loaded.count(Verdict.CLEAR),
        loaded=len(loaded),
        clean_cleared=clean.count(Verdict.CLEAR),
        clean_alarm=clean.count(Verdict.ALARM),
        clean=len(clean),
    )


def _middle(bag: BeltTruth, thing: TruthObject) -> float:
    """Line of the belt at the middle of an object."""
    return bag.first_line + (thing.box[1] + thing.box[3]) / 2


def _in_scan(bag: BeltTruth, decision: Decision) -> list[TruthObject]:
    """The objects of a bag that lie in a decision's scan, in its coordinates."""
    shift = bag.first_line - decision.encoder_head
    moved = []
    for thing in bag.objects:
        if decision.encoder_head <= _middle(bag, thing) <= decision.encoder_tail:
            x1, y1, x2, y2 = thing.box
            moved.append(
                TruthObject(thing.label, (x1, y1 + shift, x2, y2 + shift), thing.occlusion)
            )
    return moved


def _boxes(boxes: Iterable[Box]) -> F32:
    return np.array([*boxes], np.float32).reshape(-1, 4)


def _box(detections: Detections, row: int) -> Box:
    x1, y1, x2, y2 = (float(v) for v in detections.boxes[row])
    return x1, y1, x2, y2


def _truth(objects: list[tuple[Box, str]], labels: list[str]) -> Truth:
    return Truth(
        _boxes(box for box, _ in objects),
        np.array([labels.index(name) for _, name in objects], np.int32),
    )
