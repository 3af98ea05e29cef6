"""Registration against a belt whose every place has a number, seen by two lines in turn."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.errors import ConfigError, LineError
from xedge.scanner.registration import MOST_LAG, Registered, measured_lag
from xedge.types import Strip

ELEMENTS = 4


def strips(places, lag: int, *, size: int = 5, counts: int = 3, skip=()) -> list[Strip]:
    """What two lines see of a belt: the low one place ``p``, the high one ``p - lag``."""
    places = np.asarray(places)
    low = np.repeat((places + 1000).astype(np.uint16)[:, None], ELEMENTS, axis=1)
    high = np.repeat((places - lag + 1000).astype(np.uint16)[:, None], ELEMENTS, axis=1)
    cut = [slice(k, k + size) for k in range(0, len(places), size)]
    return [
        Strip(s.start, places[s] * counts, low[s], high[s], s.start)
        for n, s in enumerate(cut)
        if n not in skip
    ]


def pairs(registered: Registered) -> list[tuple[int, int, int]]:
    """Counter, place seen in low, place seen in high, of every intact line."""
    return [
        (strip.first_line + k, int(strip.low[k, 0]) - 1000, int(strip.high[k, 0]) - 1000)
        for strip in registered
        if strip.intact
        for k in range(len(strip))
    ]


@pytest.mark.parametrize("lag", [-3, -1, 1, 2, 7])
@pytest.mark.parametrize("forward", [True, False])
def test_both_energies_of_a_line_are_of_one_place_whichever_way_the_belt_runs(lag, forward) -> None:
    places = np.arange(40) if forward else np.arange(40)[::-1]
    registered = Registered(strips(places, lag), lag, 3.0)
    out = pairs(registered)
    assert [counter for counter, _, _ in out] == list(range(abs(lag), 40))
    assert all(low == high for _, low, high in out)
    assert registered.unpaired == abs(lag)


def test_without_registration_they_are_not() -> None:
    assert all(low != high for _, low, high in pairs(Registered(strips(range(9), 2), 0, 3.0)))


def test_a_belt_that_stands_shifts_nothing_and_fills_no_memory() -> None:
    places = [*range(20), *[19] * 5000, *range(20, 40)]
    registered = Registered(strips(places, 3), 3, 3.0)
    out = pairs(registered)
    assert len(out) == len(places) - 3
    moving = [(low, high) for counter, low, high in out if counter < 20 or counter >= 5020]
    assert all(low == high for low, high in moving)
    assert len(registered._seen.encoder) < 100


def test_lines_behind_a_hole_have_no_partner_and_come_as_damaged() -> None:
    registered = Registered(strips(range(40), 2, skip=(3,)), 2, 3.0)
    out = list(registered)
    damaged = [(s.first_line, len(s)) for s in out if not s.intact]
    assert damaged == [(20, 2)]
    assert registered.unpaired == 2 + 2
    assert sum(map(len, out)) == 40 - 5 - 2


def test_at_a_turn_what_was_seen_in_one_energy_alone_is_damaged() -> None:
    places = [*range(20), *range(18, 5, -1)]
    registered = Registered(strips(places, 2), 2, 3.0)
    out = pairs(registered)
    assert all(low == high for _, low, high in out)
    # Going back, the low line sees last; the high one never came as far as place 18.
    assert sorted(set(range(2, len(places))) - {c for c, _, _ in out}) == [20]


def test_damaged_strips_and_those_of_another_width_pass() -> None:
    first, *rest = strips(range(20), 2)
    bad = Strip(5, rest[0].encoder, rest[0].low, rest[0].high, 5, intact=False)
    wide = np.zeros((5, ELEMENTS + 1), np.uint16)
    other = Strip(10, rest[1].encoder, wide, wide, 10)
    out = list(Registered([first, bad, other, rest[2]], 2, 3.0))
    assert [s.elements for s in out] == [4, 4, 5, 4, 4]
    assert [s.intact for s in out] == [True, False, True, False, True]


def test_numbers_that_cannot_be() -> None:
    for lag, counts in ((MOST_LAG + 1, 1.0), (1, 0.0)):
        with pytest.raises(ConfigError, match="lag_lines"):
            Registered([], lag, counts)


@pytest.mark.parametrize("lag", [-5, 0, 3])
def test_the_lag_is_measured_from_a_scan(lag: int) -> None:
    rng = np.random.default_rng(3)
    belt = np.full((200, 24), 60_000.0)
    for k in range(20, 160, 20):
        belt[k : k + 9, rng.integers(0, 12) :] *= 0.6
    low = rng.normal(belt, 200).clip(0, 65_535).astype(np.uint16)
    high = np.roll(rng.normal(60_000 * (belt / 60_000) ** 0.5, 200), lag, axis=0).astype(np.uint16)
    assert measured_lag(low, high) == lag


def test_air_has_no_lag() -> None:
    rng = np.random.default_rng(3)
    low, high = rng.normal(60_000, 200, (2, 100, 24)).astype(np.uint16)
    with pytest.raises(LineError, match="nothing in common"):
        measured_lag(low, high)
    with pytest.raises(LineError, match="64 lines"):
        measured_lag(low[:10], high[:10])
