"""Bags cut by air: against a plain line-by-line model, for any belt and any packing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.scanner.cutter import BagCutter, CutterConfig
from xedge.scanner.pieces import BagBegun, BagEnded, BagLines, GapLines, Lines
from xedge.types import AIR_COUNTS, Reason

ELEMENTS = 12
CONFIG = CutterConfig(
    min_elements=2, begin_lines=2, min_gap_lines=6, margin_lines=3, max_bag_lines=40, edge_lines=2
)


def lines(marks: str, first=0, edge=False) -> Lines:
    """A line a character: ``.`` air, ``#`` matter, ``-`` between the two levels."""
    low = np.full((len(marks), ELEMENTS), AIR_COUNTS, np.uint16)
    for row, mark in enumerate(marks):
        if mark != ".":
            level = 0.5 if mark == "#" else 0.94
            low[row, 0 if edge else 4 : 8] = level * AIR_COUNTS
    count = np.arange(first, first + len(marks), dtype=np.int64)
    return Lines(low, low.copy(), count * 2, count, count * 1000)


def cut(marks: str, size=5, config=CONFIG, edge=False):
    cutter = BagCutter(config)
    pieces = []
    for k in range(0, len(marks), size):
        pieces += cutter.feed(lines(marks[k : k + size], k, edge))
    return [*pieces, *cutter.finish()]


def summary(pieces):
    """(bag, its first line, its lines, reasons, tail line) of each bag; lines in gaps."""
    bags, gap, now, begun = [], 0, [], None
    for piece in pieces:
        if isinstance(piece, GapLines):
            gap += piece.lines
        elif isinstance(piece, BagBegun):
            begun, now = piece.bag, []
        elif isinstance(piece, BagLines):
            assert piece.bag == begun
            now.append(piece.lines)
        else:
            assert isinstance(piece, BagEnded)
            assert piece.bag == begun
            scan = Lines.concatenate(now)
            assert (np.diff(scan.counter) > 0).all()
            assert piece.tail_encoder * 500 == piece.tail_ns
            bags.append(
                (piece.bag, int(scan.counter[0]), len(scan), piece.reasons, piece.tail_ns // 1000)
            )
            begun = None
    assert begun is None
    return bags, gap


AIR = "." * 12


def test_two_bags_with_their_margins() -> None:
    bags, gap = summary(cut(AIR + "#" * 10 + AIR + "#" * 5 + AIR))
    assert bags == [(1, 9, 16, frozenset(), 21), (2, 31, 11, frozenset(), 38)]
    assert gap == 3 * 12 + 15 - 27


def test_a_gap_shorter_than_the_limit_does_not_cut() -> None:
    bags, _ = summary(cut(AIR + "####" + "." * 5 + "####" + AIR))
    assert [b[2] for b in bags] == [3 + 13 + 3]


@pytest.mark.parametrize(
    ("between", "bags", "short_gaps"),
    [("", 1, 0), (".", 1, 0), ("..", 1, 1), (".....", 1, 1), ("......", 2, 0), ("..#..", 1, 2),
     ("--..--", 1, 1)],
)  # fmt: skip
def test_bags_that_touch_are_one_and_short_gaps_are_counted(between, bags, short_gaps) -> None:
    """Two bags with more or less air between them; the limit is six lines."""
    pieces = cut(AIR + "####" + between + "####" + AIR)
    ended = [piece for piece in pieces if isinstance(piece, BagEnded)]
    assert len(ended) == bags
    assert [piece.short_gaps for piece in ended] == [short_gaps] * bags
    assert [piece.reasons for piece in ended] == [frozenset()] * bags


def test_on_a_belt_without_gaps_parts_are_sound_bags_that_go_on() -> None:
    config = dataclasses.replace(CONFIG, continuous=True)
    pieces = cut(AIR + "#" * 100 + AIR + "###" + AIR, config=config)
    ended = [piece for piece in pieces if isinstance(piece, BagEnded)]
    assert [piece.cut for piece in ended] == [True, True, False, False]
    assert [piece.reasons for piece in ended] == [frozenset()] * 4
    flagged, gap = summary(cut(AIR + "#" * 100 + AIR + "###" + AIR))
    bags, same_gap = summary(pieces)
    assert [b[:3] + b[4:] for b in bags] == [b[:3] + b[4:] for b in flagged]
    assert gap == same_gap


def test_hysteresis_faint_matter_holds_a_bag_but_begins_none() -> None:
    bags, gap = summary(cut(AIR + "-" * 20 + AIR))
    assert bags == []
    assert gap == 44
    bags, _ = summary(cut(AIR + "##" + "-" * 20 + AIR))
    assert [(b[2], b[4]) for b in bags] == [(28, 33)]


def test_a_single_line_of_matter_is_no_bag() -> None:
    assert summary(cut(AIR + "#" + AIR))[0] == []


def test_few_dark_elements_are_no_matter() -> None:
    some = lines("." * 40)
    some.low[:, 6] = 0
    cutter = BagCutter(CONFIG)
    assert summary([*cutter.feed(some), *cutter.finish()]) == ([], 40)


def test_an_oversize_bag_is_cut_and_every_part_flagged() -> None:
    bags, _ = summary(cut(AIR + "#" * 100 + AIR + "###" + AIR))
    assert [b[3] for b in bags] == [frozenset({Reason.OVERSIZE_BAG})] * 3 + [frozenset()]
    assert [b[2] for b in bags] == [40, 40, 100 + 6 - 80, 9]
    assert bags[1][1] == bags[0][1] + 40


def test_matter_at_the_array_s_edge_is_a_clipped_bag() -> None:
    bags, _ = summary(cut(AIR + "#" * 10 + AIR, edge=True))
    assert [b[3] for b in bags] == [frozenset({Reason.CLIPPED_BAG})]


def test_a_source_that_ends_in_a_bag_leaves_it_incomplete() -> None:
    bags, _ = summary(cut(AIR + "####" + "."))
    assert [b[3] for b in bags] == [frozenset({Reason.INCOMPLETE_SCAN})]
    bags, _ = summary(cut(AIR + "####" + "..."))
    assert [b[3] for b in bags] == [frozenset()]


def test_a_bag_under_the_beam_at_the_start_is_incomplete() -> None:
    bags, _ = summary(cut("####" + AIR + "####" + AIR))
    assert [b[3] for b in bags] == [frozenset({Reason.INCOMPLETE_SCAN}), frozenset()]


def with_hole(before: str, hole: int, after: str):
    cutter = BagCutter(CONFIG)
    pieces = [*cutter.feed(lines(before)), *cutter.hole(hole, Reason.BAD_LINES)]
    pieces += cutter.feed(lines(after, len(before) + hole))
    return summary([*pieces, *cutter.finish()])[0]


def test_a_hole_in_a_bag_flags_it() -> None:
    bags = with_hole(AIR + "#####", 5, "#####" + AIR)
    assert [(b[2], b[3]) for b in bags] == [(16, frozenset({Reason.BAD_LINES}))]


def test_a_hole_as_long_as_a_gap_ends_the_bag_and_flags_what_follows() -> None:
    bags = with_hole(AIR + "#####", 6, "#####" + AIR + "####" + AIR)
    flagged = frozenset({Reason.BAD_LINES})
    assert [b[3] for b in bags] == [flagged, flagged, frozenset()]


def test_a_hole_right_in_front_of_a_bag_flags_it_but_not_a_later_one() -> None:
    assert [b[3] for b in with_hole(AIR, 4, ".###" + AIR)] == [frozenset({Reason.BAD_LINES})]
    assert [b[3] for b in with_hole(AIR, 4, AIR + "###" + AIR)] == [frozenset()]


def test_flag_marks_the_open_bag_only() -> None:
    cutter = BagCutter(CONFIG)
    cutter.flag(Reason.BAD_LINES)
    pieces = list(cutter.feed(lines(AIR + "###")))
    assert cutter.open_bag == 1
    cutter.flag(Reason.BAD_LINES)
    pieces += cutter.feed(lines(AIR + "###" + AIR, 15))
    assert cutter.open_bag is None
    assert [b[3] for b in summary([*pieces, *cutter.finish()])[0]] == [
        frozenset({Reason.BAD_LINES}),
        frozenset(),
    ]


def model(marks: str):
    """Bags by the words of the docstring, line by line, without any cleverness."""
    bags, at, free = [], 0, 0
    while at < len(marks):
        if marks[at : at + 2] != "##":
            at += 1
            continue
        first, last, air = max(free, at - 3), at + 1, 0
        end = at + 2
        while end < len(marks) and air < 6:
            air = air + 1 if marks[end] == "." else 0
            last = end if not air else last
            end += 1
        bags.append((first, last, min(last + 3, end - 1)))
        at, free = end, max(min(last + 3, end - 1) + 1, end - 3)
    return bags


BELTS = st.lists(
    st.tuples(st.sampled_from(".#-"), st.integers(1, 9)), max_size=14
).map(lambda runs: "." * 6 + "".join(mark * n for mark, n in runs))  # fmt: skip
LONG = CutterConfig(
    min_elements=2, begin_lines=2, min_gap_lines=6, margin_lines=3, max_bag_lines=999
)


@settings(max_examples=300)
@given(belt=BELTS, size=st.integers(1, 30))
def test_any_belt_is_cut_like_the_plain_model(belt: str, size: int) -> None:
    bags, gap = summary(cut(belt, size, LONG))
    assert [(first, tail, first + n - 1) for _, first, n, _, tail in bags] == model(belt)
    assert gap + sum(b[2] for b in bags) == len(belt)


@settings(max_examples=200)
@given(belt=BELTS, sizes=st.lists(st.integers(1, 12), min_size=1), edge=st.booleans())
def test_packing_into_strips_changes_nothing(belt: str, sizes: list[int], edge: bool) -> None:
    cutter, pieces, at, k = BagCutter(CONFIG), [], 0, 0
    while at < len(belt):
        size = sizes[k % len(sizes)]
        pieces += cutter.feed(lines(belt[at : at + size], at, edge))
        fed = at = min(at + size, len(belt))
        k += 1
        settled = sum(p.lines if isinstance(p, GapLines) else len(p.lines) if isinstance(
            p, BagLines) else 0 for p in pieces)  # fmt: skip
        assert settled + cutter.held_lines == fed
        assert cutter.held_lines <= max(CONFIG.margin_lines + 1, CONFIG.min_gap_lines)
    assert summary([*pieces, *cutter.finish()]) == summary(cut(belt, 1000, edge=edge))


@pytest.mark.parametrize(
    "change",
    [
        {"begin_level": 0.97},
        {"end_level": 1.0},
        {"min_elements": 0},
        {"margin_lines": 25},
        {"max_bag_lines": 26},
    ],
)
def test_configurations_that_cannot_be_are_refused(change) -> None:
    with pytest.raises(ConfigError):
        CutterConfig(**change)
