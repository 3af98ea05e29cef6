"""Windows over a growing scan, and what becomes of objects that a window's edge cuts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.scanner.windows import GrowingPlanes, WindowPlan, merge
from xedge.types import Detections

PLANS = st.builds(
    lambda lines, overlap, binning: WindowPlan(
        binning * (overlap + lines), binning * overlap, binning
    ),
    st.integers(1, 30),
    st.integers(0, 30),
    st.integers(1, 4),
)


@given(plan=PLANS, lines=st.integers(1, 500))
def test_windows_cover_every_line_and_end_with_the_scan(plan: WindowPlan, lines: int) -> None:
    starts = plan.starts(lines)
    assert starts[0] == 0
    assert all(s % plan.binning == 0 for s in starts)
    assert starts[-1] + plan.lines >= lines
    assert list(starts) == sorted(set(starts))
    for a, b in itertools.pairwise(starts):
        assert a + plan.lines - b >= plan.overlap
        assert a + plan.lines < lines


@given(plan=PLANS, lines=st.integers(1, 500), data=st.data())
def test_an_object_up_to_the_overlap_is_whole_in_one_window(plan, lines, data) -> None:
    length = data.draw(st.integers(0, min(plan.overlap, lines)))
    top = data.draw(st.integers(0, lines - length))
    assert any(s <= top and top + length <= s + plan.lines for s in plan.starts(lines))


@given(plan=PLANS, lines=st.integers(1, 500))
def test_what_is_ready_early_is_part_of_the_finished_plan(plan: WindowPlan, lines: int) -> None:
    starts, emitted = plan.starts(lines), []
    for grown in range(1, lines + 1):
        new = plan.ready(grown, len(emitted))
        assert all(s + plan.lines < grown for s in new)
        emitted += new
    assert tuple(emitted) == starts[: len(emitted)]
    assert len(starts) - len(emitted) == 1  # the last one is left for the bag's end


@given(plan=PLANS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), data=st.data())
def test_planes_that_grow_with_the_scan_are_those_of_the_whole(plan, sizes, data) -> None:
    lines, width = sum(sizes), data.draw(st.integers(plan.binning, 12))
    seed = data.draw(st.integers(0, 99))
    low, high = np.random.default_rng(seed).integers(0, 65536, (2, lines, width), np.uint16)
    growing = GrowingPlanes(plan, lines + 3, width)
    come, screened = 0, 0
    for size in sizes:
        come += size
        if data.draw(st.booleans()):  # else nobody looks in between
            growing.grow(low[:come], high[:come])
        for start in plan.ready(come, screened):
            window = growing.window(low[:come], high[:come], start)
            np.testing.assert_array_equal(window, plan.planes(low, high, start))
            window[...] = 0  # a copy
            screened += 1
    for start in plan.starts(lines):
        np.testing.assert_array_equal(growing.window(low, high, start),
                                      plan.planes(low, high, start))  # fmt: skip


def test_the_shared_geometry() -> None:
    plan = WindowPlan()
    assert plan.starts(832) == (0,)
    assert plan.starts(833) == (0, 2)
    assert plan.starts(1000) == (0, 168)
    assert plan.starts(2000) == (0, 704, 1168)
    counts = np.full((1000, 800), 60_000, np.uint16)
    assert plan.planes(counts, counts, 168).shape == (3, 416, 400)
    assert plan.planes(counts[:1], counts[:1], 0).shape == (3, 1, 400)


@pytest.mark.parametrize("numbers", [(832, 832, 2), (833, 128, 2), (832, 127, 2), (90, 0, 9)])
def test_plans_that_cannot_be_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError):
        WindowPlan(*numbers)


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(
        table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32)
    )  # fmt: skip


PLAN = WindowPlan(100, 40, 1)  # windows of a scan of 220 lines: 0, 60, 120


def test_detections_come_back_in_scan_coordinates() -> None:
    plan = WindowPlan(100, 40, 2)
    merged = merge(
        [(0, found((10, 5, 20, 15, 0.5, 1))), (60, found((1, 20, 3, 30, 0.9, 2)))], plan, 160, 0.6
    )
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5])
    assert merged.boxes.tolist() == [[2, 100, 6, 120], [20, 10, 40, 30]]


def test_an_object_seen_whole_twice_is_one() -> None:
    a, b = found((10, 70, 30, 90, 0.7, 0)), found((10, 10, 30, 30, 0.8, 0))
    merged = merge([(0, a), (60, b)], PLAN, 160, 0.6)
    assert len(merged) == 1
    assert merged.scores[0] == np.float32(0.8)


def test_a_cut_box_gives_way_to_the_whole_one_even_with_a_better_score() -> None:
    # Lines 80..120: window 0 ends at 100 and sees half of it, window 60 sees it whole.
    cut, whole = found((10, 80, 30, 100, 0.9, 0)), found((10, 20, 30, 60, 0.6, 0))
    merged = merge([(0, cut), (60, whole)], PLAN, 160, 0.6)
    assert merged.boxes.tolist() == [[10, 80, 30, 120]]
    assert merged.scores[0] == np.float32(0.9)  # what was seen of the object is not lost


def test_the_same_holds_at_the_upper_edge() -> None:
    whole, cut = found((10, 50, 30, 80, 0.6, 0)), found((10, 0, 30, 20, 0.9, 0))
    merged = merge([(0, whole), (60, cut)], PLAN, 160, 0.6)
    assert merged.boxes.tolist() == [[10, 50, 30, 80]]


def test_an_object_longer_than_the_overlap_becomes_one_box() -> None:
    upper, lower = found((10, 30, 30, 100, 0.7, 0)), found((12, 0, 32, 70, 0.8, 0))
    merged = merge([(0, upper), (60, lower)], PLAN, 160, 0.6)
    assert merged.boxes.tolist() == [[10, 30, 32, 130]]
    assert merged.scores[0] == np.float32(0.8)


def test_an_object_across_three_windows_becomes_one_box() -> None:
    parts = [
        (0, found((10, 30, 30, 100, 0.5, 0))),
        (60, found((10, 0, 30, 100, 0.7, 0))),
        (120, found((10, 0, 30, 80, 0.6, 0))),
    ]
    merged = merge(parts, PLAN, 220, 0.6)
    assert merged.boxes.tolist() == [[10, 30, 30, 200]]
    assert merged.scores[0] == np.float32(0.7)


def test_a_cut_box_that_the_neighbour_does_not_confirm_is_kept() -> None:
    cut = found((10, 80, 30, 100, 0.9, 0))
    other_class = found((10, 20, 30, 60, 0.6, 1))
    assert len(merge([(0, cut), (60, other_class)], PLAN, 160, 0.6)) == 2
    assert len(merge([(0, cut), (60, Detections.empty())], PLAN, 160, 0.6)) == 1


def test_boxes_at_the_ends_of_the_bag_are_not_cut_boxes() -> None:
    first, last = found((10, 0, 30, 45, 0.9, 0)), found((10, 60, 30, 100, 0.8, 0))
    merged = merge([(0, first), (60, last)], PLAN, 160, 0.6)
    assert merged.boxes.tolist() == [[10, 0, 30, 45], [10, 120, 30, 160]]


def test_neighbours_side_by_side_stay_two() -> None:
    upper, lower = found((10, 70, 30, 100, 0.7, 0)), found((60, 0, 80, 30, 0.8, 0))
    assert len(merge([(0, upper), (60, lower)], PLAN, 160, 0.6)) == 2


def test_nothing_found_is_nothing() -> None:
    assert len(merge([], PLAN, 10, 0.6)) == 0
    assert len(merge([(0, Detections.empty())], PLAN, 10, 0.6)) == 0


@settings(max_examples=400)
@given(
    top=st.integers(0, 200),
    length=st.integers(8, 40),
    lines=st.integers(210, 300),
    scores=st.lists(st.floats(0.125, 1.0, width=32), min_size=9, max_size=9),
)
def test_a_perfect_detector_s_object_comes_back_once_and_whole(top, length, lines, scores) -> None:
    """Whatever window sees how much of it, an object up to the overlap is one whole box."""
    bottom = min(top + length, lines)
    parts = []
    for k, start in enumerate(PLAN.starts(lines)):
        end = min(start + PLAN.lines, lines)
        a, b = max(top, start), min(bottom, end)
        seen = found((5, a - start, 25, b - start, scores[k], 3)) if b - a >= 4 else found()
        parts.append((start, seen))
    merged = merge(parts, PLAN, lines, 0.6, elements=30)
    if bottom - top >= 8:
        assert merged.boxes.tolist() == [[5, top, 25, bottom]]
        assert merged.scores[0] == max(p.scores[0] for _, p in parts if len(p))
