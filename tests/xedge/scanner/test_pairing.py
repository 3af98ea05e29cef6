"""Views brought together: rows of one place, whatever the belt does and whichever view is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.scanner.intake import wrapped
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import SLACK_LINES, Drop, Pairing, ViewPlan
from xedge.scanner.source import Source
from xedge.types import Strip

WIDTHS = (3, 5, 2, 4)
PERIOD = 2**32


def strips_of(view, offset, belt, size=32, direction=1, start=0):
    """The strips of a view: ``belt`` is where the first view looks, line by line."""
    belt = np.asarray(belt)
    for at in range(0, len(belt), size):
        raw = belt[at : at + size]
        # It reads the place, never 0, and says which view it is.
        low = np.repeat((raw - offset)[:, None] + 1000, WIDTHS[view], axis=1).astype(np.uint16)
        encoder = (direction * raw + start) % PERIOD
        captured_ns = (at + len(raw)) * 1000
        yield Strip(at + 7 * view, encoder, low, np.full_like(low, 9 + view), captured_ns)


def paired(pairing, feeds):
    """All rows of feeds that are taken by the times of their strips."""
    strips = sorted(
        ((strip.captured_ns, view, strip) for view, feed in enumerate(feeds) for strip in feed),
        key=lambda one: one[:2],
    )
    rows = [row for _, view, strip in strips for row in pairing.take(view, strip)]
    for view in range(len(feeds)):
        rows += pairing.end(view)
    for books in pairing.books:
        assert books.balanced
        assert books.held == 0
    assert (np.diff([row.captured_ns for row in rows]) >= 0).all()
    return rows


def taken_apart(rows, offsets, direction=1, start=0):
    """Where each row is, and which views are in it; what is in it is of that place."""
    last, edges = max(offsets) - min(offsets), np.cumsum((0, *WIDTHS))
    places = np.concatenate([
        direction * wrapped(row.encoder - start, PERIOD) - last for row in rows
    ])  # fmt: skip
    low = np.concatenate([row.low for row in rows])
    high = np.concatenate([row.high for row in rows])
    there = []
    for k in range(len(offsets)):
        columns = slice(edges[k], edges[k + 1])
        there.append(high[:, columns].all(axis=1))
        assert (low[there[k], columns] == places[there[k], None] + 1000).all()
        assert (high[there[k], columns] == 9 + k).all()
        assert not low[~there[k], columns].any()
    return places, there


def plans(offsets):
    return [ViewPlan(WIDTHS[k], offset) for k, offset in enumerate(offsets)]


def feeds_of(offsets, belt, **more):
    return [list(strips_of(k, o - min(offsets), belt, **more)) for k, o in enumerate(offsets)]


@settings(max_examples=20)
@given(
    offsets=st.lists(st.integers(0, 300), min_size=2, max_size=4),
    size=st.integers(8, 40),
    direction=st.sampled_from([1, -1]),
    start=st.sampled_from([0, 5000, PERIOD - 300, 250]),
)
def test_every_place_is_a_row_of_all_views_once(offsets, size, direction, start) -> None:
    feeds = feeds_of(offsets, np.arange(700), size=size, direction=direction, start=start)
    rows = paired(Pairing(plans(offsets), 1.0, direction), feeds)
    places, there = taken_apart(rows, offsets, direction, start)
    # From the first place that all have seen to the last that the last view saw; behind it, what
    # the others saw alone.
    last = max(offsets) - min(offsets)
    seen = 700 - last
    np.testing.assert_array_equal(places[:seen], np.arange(seen))
    assert all(mask[:seen].all() for mask in there)
    assert not np.logical_and.reduce(there)[seen:].any()
    counters = np.concatenate([row.first_line + np.arange(len(row)) for row in rows])
    assert (np.diff(counters[:seen]) == 1).all()


def test_strips_of_any_length_are_brought_together() -> None:
    feeds = [strips_of(0, 0, np.arange(600), 7), strips_of(1, 50, np.arange(600), 40)]
    places, there = taken_apart(paired(Pairing(plans((0, 50)), 1.0), feeds), (0, 50))
    np.testing.assert_array_equal(places[:550], np.arange(550))
    assert all(mask[:550].all() for mask in there)


def test_strips_of_any_length_and_what_is_none_come_from_a_source() -> None:
    class Long(Source):
        def __init__(self, view, size, broken=False):
            self.elements, self._args = WIDTHS[view], (view, 50 * view, np.arange(6000), size)
            self._broken = broken

        def __iter__(self):
            yield from strips_of(*self._args)
            if self._broken:
                yield "a strip"

    told = []
    pairing = Pairing(plans((0, 50)), 1.0)
    rows = list(PairedSource([Long(0, 3000), Long(1, 4000, broken=True)], pairing, told.append))
    places, there = taken_apart(rows, (0, 50))
    # Nobody knows how long the first strip of each took: until then they are out of step.
    np.testing.assert_array_equal(places[:5950], np.arange(5950))
    assert there[0][:5950].all()
    assert there[1][4200:5950].all()
    assert (np.diff([row.captured_ns for row in rows]) >= 0).all()
    assert "something else than a strip" in told[-1]


def test_a_strip_longer_than_what_is_kept_is_taken_in_parts() -> None:
    pairing = Pairing(plans((0, 0)), 1.0)
    feeds = [strips_of(0, 0, np.arange(6000), 3000), strips_of(1, 0, np.arange(6000), 3000)]
    places, _ = taken_apart(paired(pairing, feeds), (0, 0))
    np.testing.assert_array_equal(places, np.arange(6000))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_lines_that_a_view_loses_are_not_there_and_the_others_are(lost) -> None:
    offsets = (0, 40, 100)
    feeds = feeds_of(offsets, np.arange(1000))
    gone = feeds[lost].pop(15)
    feeds[lost][20] = replace(feeds[lost][20], intact=False)
    pairing = Pairing(plans(offsets), 1.0)
    places, there = taken_apart(paired(pairing, feeds), offsets)
    hurt = gone.encoder - offsets[lost]
    rest = np.setdiff1d(np.arange(800), hurt)
    if lost == 2:  # the leading view: the rows are missing, and their counters say so
        assert not np.isin(hurt, places).any()
    else:
        assert np.isin(hurt, places).all()
        assert not there[lost][np.isin(places, hurt)].any()
    assert np.isin(np.setdiff1d(rest, feeds[lost][20].encoder - offsets[lost]), places).all()
    assert pairing.books[lost].dropped[Drop.DAMAGED] == 32
    for k in {0, 1, 2} - {lost}:
        assert there[k][places < 800].all()


def test_missing_lines_of_the_leading_view_are_in_the_counter() -> None:
    feeds = feeds_of((0, 0), np.arange(320))
    del feeds[0][4]
    rows = paired(Pairing(plans((0, 0)), 1.0), feeds)
    counters = np.concatenate([row.first_line + np.arange(len(row)) for row in rows])
    assert counters[-1] - counters[0] == 319
    assert len(counters) == 288


@pytest.mark.parametrize("dies", [0, 1, 2])
def test_a_view_that_dies_is_waited_for_a_little_and_the_others_go_on(dies) -> None:
    offsets = (0, 40, 100)
    feeds = feeds_of(offsets, np.arange(1600))
    del feeds[dies][15:]
    pairing, out = Pairing(plans(offsets), 1.0), []
    for k in range(50):
        for view, feed in enumerate(feeds):
            if k < len(feed):
                out += pairing.take(view, feed[k])
    places, there = taken_apart(out, offsets)
    # Nobody waits longer than the slack and a strip, behind the place that the last one saw.
    assert places[-1] >= 1600 - 100 - SLACK_LINES - 2 * 32
    np.testing.assert_array_equal(np.unique(places), np.arange(places[-1] + 1))
    assert len(np.unique(places)) == len(places)
    last_seen = 15 * 32 - offsets[dies]
    np.testing.assert_array_equal(there[dies], places < last_seen)
    for k in {0, 1, 2} - {dies}:
        assert there[k].all()
    assert [books.lost for books in pairing.books] == [k == dies for k in range(3)]
    pairing.end(dies)
    assert [books.lost for books in pairing.books] == [k == dies for k in range(3)]
    for k in {0, 1, 2} - {dies}:
        pairing.end(k)
    assert not any(books.lost for books in pairing.books), "all have ended in good order"


@pytest.mark.parametrize("back", [0, 1])
def test_a_view_that_comes_back_is_there_again(back) -> None:
    feeds = feeds_of((0, 60), np.arange(3200))
    feeds[back] = [s for s in feeds[back] if not 640 <= s.encoder[0] < 1600]
    places, there = taken_apart(paired(Pairing(plans((0, 60)), 1.0), feeds), (0, 60))
    both = there[0] & there[1]
    assert both[places < 500].all()
    assert not there[back][(places >= 640) & (places < 1500)].any()
    assert there[1 - back][places < 3100].all()
    assert both[(places > 1800) & (places < 3100)].all()
    assert len(np.unique(places)) == len(places)


def test_a_belt_that_stops_says_so_and_goes_on_where_it_was() -> None:
    belt = np.concatenate([np.arange(320), np.full(320, 319), np.arange(320, 640)])
    feeds = feeds_of((0, 50), belt)
    rows = paired(Pairing(plans((0, 50)), 1.0), feeds)
    places, _ = taken_apart([r for r in rows if len(np.unique(r.encoder)) == len(r)], (0, 50))
    moving = places[: 640 - 50]
    np.testing.assert_array_equal(np.unique(moving), np.arange(590))
    still = [r for r in rows if len(np.unique(r.encoder)) < len(r)]
    assert sum(map(len, still)) >= 300  # the lane hears that the belt stands


def test_a_belt_that_rolls_back_shows_the_same_places_again() -> None:
    belt = np.concatenate([np.arange(400), np.arange(398, 300, -1), np.arange(302, 700)])
    rows = paired(Pairing(plans((0, 50)), 1.0), feeds_of((0, 50), belt))
    places, there = taken_apart(rows, (0, 50))
    seen = places < 600
    assert there[0][seen].all()
    assert there[1][seen].all()
    assert np.isin(np.arange(600), places).all()


@pytest.mark.parametrize(("offsets", "silent"), [((0, 50), 0), ((0, 50), 1), ((0, 0), 1)])
def test_a_belt_that_rocks_before_a_silent_view_is_not_kept_without_end(offsets, silent) -> None:
    rocking = 400 + np.arange(12_000) % 2
    belt = np.concatenate([np.arange(400), rocking, np.arange(402, 900)])
    feeds = feeds_of(offsets, belt)
    feeds[silent] = [s for s in feeds[silent] if not 384 <= s.first_line - 7 * silent < 12_400]
    pairing, held = Pairing(plans(offsets), 1.0), 0
    rows = []
    for strip, view in sorted(((s, v) for v, feed in enumerate(feeds) for s in feed),
                              key=lambda one: (one[0].captured_ns, one[1])):  # fmt: skip
        rows += pairing.take(view, strip)
        held = max(held, *(books.held for books in pairing.books))
        assert all(books.balanced for books in pairing.books)
    assert held < 3000
    _, there = taken_apart(rows, offsets)
    assert (there[0] & there[1])[-100:].all(), "the view is there again"


def test_an_encoder_that_errs_once_leaves_no_view_behind() -> None:
    feeds = feeds_of((0, 20), np.arange(960))
    feeds[0][10] = replace(feeds[0][10], encoder=feeds[0][10].encoder + 100_000)
    pairing = Pairing(plans((0, 20)), 1.0)
    places, there = taken_apart(paired(pairing, feeds), (0, 20))
    assert pairing.books[0].dropped[Drop.JUMPED] == 32
    assert there[0][(places > 400) & (places < 900)].all()
    assert places.max() < 1000


@pytest.mark.parametrize("offsets", [(0, 0), (0, 75), (40, 0)])
@pytest.mark.parametrize("errs", [0, 1])
@pytest.mark.parametrize("by", [100, 20, -20, -50, -500])
def test_lines_of_an_encoder_that_errs_are_at_no_other_place(offsets, errs, by) -> None:
    feeds = feeds_of(offsets, np.arange(960), size=16)
    feeds[errs][20] = replace(feeds[errs][20], encoder=feeds[errs][20].encoder + by)
    pairing = Pairing(plans(offsets), 1.0)
    _, there = taken_apart(paired(pairing, feeds), offsets)  # nothing is where it was not seen
    assert pairing.books[errs].dropped[Drop.JUMPED] == 16
    assert there[1 - errs][:800].all()


def test_an_encoder_that_jumps_for_good_is_believed_after_some_strips() -> None:
    belt = np.concatenate([np.arange(480), np.arange(500, 1100)])
    pairing = Pairing(plans((0, 0)), 1.0)
    places, there = taken_apart(paired(pairing, feeds_of((0, 0), belt, size=16)), (0, 0))
    assert [books.dropped for books in pairing.books] == [{Drop.JUMPED: 48}] * 2
    assert places[-1] == 1099
    assert (there[0] & there[1]).all()


def test_strips_that_cannot_be_of_a_view_are_dropped_by_cause() -> None:
    feeds = feeds_of((0, 0), np.arange(320))
    feeds[0].insert(5, feeds[0][4])
    wide = np.zeros((3, 9), np.uint16)
    feeds[1].insert(5, Strip(1, np.arange(3), wide, wide, 5000))
    pairing = Pairing(plans((0, 0)), 1.0)
    places, _ = taken_apart(paired(pairing, feeds), (0, 0))
    np.testing.assert_array_equal(places, np.arange(320))
    assert pairing.books[0].dropped == {Drop.REPEATED: 32}
    assert pairing.books[1].dropped == {Drop.WRONG_WIDTH: 3}


@pytest.mark.parametrize("offsets", [(0,), (0, 1, 2, 3, 4), (0, 20_000)])
def test_views_that_cannot_be_brought_together_are_refused(offsets) -> None:
    with pytest.raises(ConfigError, match="views"):
        Pairing([ViewPlan(3, offset) for offset in offsets], 1.0)
