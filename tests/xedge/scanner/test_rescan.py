"""What a belt that comes again shows, held against what it showed before."""

from itertools import pairwise

import numpy as np
import pytest

from xedge.scanner.rescan import COLUMNS, REMEMBERED_LINES, TOLERANCE, ScannedPlaces
from xedge.types import AIR_COUNTS

ELEMENTS = 100


def lines(n, level=AIR_COUNTS):
    return np.full((n, ELEMENTS), level, np.uint16)


def belt_with_a_bar() -> ScannedPlaces:
    """Air, and a bar across the belt at places 100..109."""
    seen = ScannedPlaces(ELEMENTS, 2.0)
    low = lines(100)
    low[50:55] = 20_000
    seen.remember(np.arange(0, 200, 2), low)
    return seen


def test_what_looks_the_same_agrees_at_any_phase_and_in_any_order() -> None:
    seen = belt_with_a_bar()
    places = np.arange(149, 60, -1)
    low = lines(len(places))
    low[(places >= 100) & (places < 110)] = 20_000
    differs, darker = seen.compare(places, low)
    assert not differs.any()
    assert not darker.any()
    # Between two lines, half of each was under the beam.
    differs, _ = seen.compare(np.array([99]), lines(1, 40_000))
    assert not differs.any()


def test_more_and_less_matter_differ_and_a_narrow_thing_is_seen() -> None:
    seen = belt_with_a_bar()
    differs, darker = seen.compare(np.array([104, 150]), lines(2))
    assert (differs.tolist(), darker.tolist()) == ([True, False], [False, False])
    thing = lines(1)
    thing[0, 50:54] = 50_000
    differs, darker = seen.compare(np.array([150]), thing)
    assert differs.all()
    assert darker.all()


@pytest.mark.parametrize("elements", [20, 32, 96, 100])
def test_a_column_s_mean_is_rounded_down_however_wide_it_is(elements: int) -> None:
    low = np.random.default_rng(elements).integers(0, 65536, (7, elements)).astype(np.uint16)
    columns = min(COLUMNS, elements)
    edges = np.linspace(0, elements, columns + 1).astype(int)
    wanted = np.array([[int(line[a:b].sum()) // (b - a) for a, b in pairwise(edges)]
                       for line in low.astype(int)])  # fmt: skip
    for off, agrees in ((0, True), (1, False)):  # any mean that is lower by more shows
        seen = ScannedPlaces(elements, 1.0)
        seen.remember(np.arange(0, 70, 10), low)
        again = np.repeat(wanted - TOLERANCE - off, np.diff(edges), axis=1).clip(0)
        keep = (wanted > TOLERANCE + 1).all(axis=1)
        differs, _ = seen.compare(np.arange(0, 70, 10)[keep], again[keep].astype(np.uint16))
        assert (not differs.any()) if agrees else differs.all()


def test_noise_within_the_tolerance_agrees() -> None:
    seen = belt_with_a_bar()
    for level, agrees in ((-TOLERANCE, True), (-TOLERANCE - 1, False), (TOLERANCE, True),
                          (5_500, False)):  # fmt: skip
        differs, _ = seen.compare(np.array([20]), lines(1, AIR_COUNTS + level))
        assert differs.any() != agrees


def test_places_that_were_never_seen_count_as_air() -> None:
    seen = belt_with_a_bar()
    differs, darker = seen.compare(np.array([-500, -500]), np.stack([lines(1)[0], lines(1, 9)[0]]))
    assert differs.tolist() == darker.tolist() == [False, True]


def test_memory_is_bounded_and_keeps_what_came_last() -> None:
    seen = ScannedPlaces(ELEMENTS, 1.0)
    for first in range(0, 4 * REMEMBERED_LINES, 1000):
        seen.remember(np.arange(first, first + 1000), lines(1000, 30_000))
    last = 4 * REMEMBERED_LINES + 231
    assert last + 1 == first + 1000
    differs, _ = seen.compare(np.array([last, last - REMEMBERED_LINES + 1]), lines(2, 30_000))
    assert not differs.any()
    assert len(seen._places) == 2 * REMEMBERED_LINES
