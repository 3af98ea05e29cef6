"""Detections against the truth: what counts as found, missed and false."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.commands.judge import judge, score_belt
from xedge.sim.bags import TruthObject
from xedge.sim.belt import BeltTruth
from xedge.types import Decision, Detections, Verdict

CLASSES = ("gun", "knife")


def decision(*rows, head: int = 100, tail: int = 900, verdict: Verdict = Verdict.ALARM, bag=1):
    """A decision on lines 100 to 900 of the belt; rows of (label, score, box in the scan)."""
    rows = sorted(rows, key=lambda row: -row[1])
    found = Detections(
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([CLASSES.index(row[0]) for row in rows], np.int32),
    )
    return Decision(bag, verdict, encoder_head=head, encoder_tail=tail, detections=found)


def belt(*objects, first: int = 90):
    """One bag whose own image begins ``100 - first`` lines before the scan."""
    return BeltTruth(1, first, first + 900, tuple(TruthObject(n, box, 2) for n, box in objects))


GUN = (10.0, 30.0, 60.0, 70.0)
IN_SCAN = (10.0, 20.0, 60.0, 60.0)  # the same, 10 lines less: the scan begins later


def test_an_object_is_found_where_it_is_in_the_scan() -> None:
    bag = judge(decision(("gun", 0.9, IN_SCAN)), [belt(("gun", GUN))], CLASSES, 0.4)
    (thing,) = bag.things
    assert (thing.box, thing.found, thing.taken_for) == (IN_SCAN, True, "")
    assert thing.best_score == pytest.approx(0.9)
    assert bag.reports[0].right
    assert bag.missed == bag.false == ()


def test_iou_of_half_finds_and_less_does_not() -> None:
    # Twice as long a box that holds the object: IoU 1/2 exactly. One more pixel: less.
    for length, found in ((100.0, True), (101.0, False)):
        bag = judge(
            decision(("gun", 0.9, (10.0, 20.0, 10.0 + length, 60.0))),
            [belt(("gun", GUN))], CLASSES, 0.4,
        )  # fmt: skip
        assert bag.things[0].found is found
        assert len(bag.false) == (not found)


def test_a_weak_detection_reports_nothing_but_is_told_of() -> None:
    bag = judge(decision(("gun", 0.39, IN_SCAN)), [belt(("gun", GUN))], CLASSES, 0.4)
    assert bag.reports == ()
    (missed,) = bag.missed
    assert missed.best_score == pytest.approx(0.39)


def test_a_wrong_class_is_a_miss_and_a_false_report() -> None:
    bag = judge(decision(("knife", 0.8, IN_SCAN)), [belt(("gun", GUN))], CLASSES, 0.4)
    assert bag.missed[0].taken_for == "knife"
    assert bag.false[0].label == "knife"
    assert bag.found == 0


def test_an_object_is_found_once() -> None:
    bag = judge(
        decision(("gun", 0.9, IN_SCAN), ("gun", 0.8, IN_SCAN)), [belt(("gun", GUN))], CLASSES, 0.4
    )
    assert [report.right for report in bag.reports] == [True, False]


def test_objects_outside_every_scan_are_missed_and_counted() -> None:
    one = decision(("gun", 0.9, IN_SCAN))
    truth = [belt(("gun", GUN)), BeltTruth(2, 2000, 2900, (TruthObject("knife", GUN, 3),))]
    bags = [judge(one, truth, CLASSES, 0.4)]
    score = score_belt(bags, truth, CLASSES)
    assert (score.objects, score.found, score.missed, score.unseen) == (2, 1, 1, 1)
    assert score.ap50 == pytest.approx(0.5)  # 1 for guns, 0 for knives
    assert [(row.level, row.objects, row.found) for row in score.levels] == [
        (1, 0, 0), (2, 1, 1), (3, 1, 0),
    ]  # fmt: skip


def test_bags_are_counted_by_content_and_verdict() -> None:
    truth = [belt(("gun", GUN))]
    loaded = judge(decision(verdict=Verdict.CLEAR), truth, CLASSES, 0.4)
    clean = judge(decision(head=2000, tail=2500, bag=2), truth, CLASSES, 0.4)
    score = score_belt([loaded, clean], truth, CLASSES)
    assert (score.loaded, score.loaded_cleared, score.loaded_alarm) == (1, 1, 0)
    assert (score.clean, score.clean_alarm, score.clean_cleared) == (1, 1, 0)


def test_a_belt_without_objects_has_no_precision() -> None:
    score = score_belt([judge(decision(), [], CLASSES, 0.4)], [], CLASSES)
    assert math.isnan(score.ap50)
    assert score.objects == 0


boxes = st.tuples(
    st.integers(0, 80), st.integers(0, 80), st.integers(5, 60), st.integers(5, 60)
).map(lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3])))
names = st.sampled_from(CLASSES)


@given(
    st.lists(st.tuples(names, boxes), max_size=6),
    st.lists(st.tuples(names, st.floats(0.05, 1), boxes), max_size=8),
)
def test_books_of_any_bag_balance(objects, rows) -> None:
    truth = [belt(*objects, first=100)]
    bag = judge(decision(*rows), truth, CLASSES, 0.4)
    score = score_belt([bag], truth, CLASSES)
    assert score.objects == len(objects) == score.found + score.missed
    assert bag.found == sum(report.right for report in bag.reports) == score.found
    assert len(bag.reports) == sum(np.float32(row[1]) >= 0.4 for row in rows)
    assert score.false == len(bag.reports) - score.found
    assert sum(row.objects for row in score.levels) == len(objects)
