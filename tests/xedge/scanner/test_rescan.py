"""What a belt that comes again shows, held against what it showed before."""

import numpy as np

from xedge.scanner.rescan import REMEMBERED_LINES, TOLERANCE, ScannedPlaces
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
