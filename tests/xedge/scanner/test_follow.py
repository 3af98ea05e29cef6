"""A correction that follows: what it learns, how much at the most, and what it must not learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.scanner.follow import (
    DARK_LIMIT,
    DARK_LINES,
    DOUBTED_BLOCKS,
    FOUND_BLOCKS,
    GUARD_LINES,
    IN_FORCE,
    SETTLE_LINES,
    FollowConfig,
    Follower,
)

ELEMENTS = 64
OFFSET, CONTRAST = 900.0, 40_000.0
SMALL = FollowConfig(block_lines=64, step=2e-3)
"""Follows quickly, so that tests are short."""


def made() -> FlatField:
    shape = (2, ELEMENTS)
    gain = np.full(shape, 60_000 / CONTRAST, np.float32)
    return FlatField(np.full(shape, OFFSET, np.float32), gain, np.zeros(shape, np.bool_))


def raw(lines, share=1.0, *, noise=0.003, offset=OFFSET, seed=0):
    """Raw lines of both energies that read a share of air, ``[n, elements]`` or a number."""
    rng = np.random.default_rng(seed)
    signal = share + rng.normal(0, noise, (2, lines, ELEMENTS))
    counts = offset + CONTRAST * signal
    return counts.round().clip(0, 65_535).astype(np.uint16)


def show(follower, lines, share=1.0, **more) -> None:
    """Idle lines in strips of 32."""
    low, high = raw(lines, share, **more)
    for k in range(0, lines, 32):
        follower.idle(low[k : k + 32], high[k : k + 32], None)


def reference(follower) -> np.ndarray:
    """What the correction in force takes for air, by the one that was made."""
    return made().gain / follower.flat_field.gain


def test_air_that_drifts_is_followed_element_by_element() -> None:
    follower = Follower(made(), SMALL)
    share = 1 + 0.02 * np.sin(np.arange(ELEMENTS))
    show(follower, 6400, share)
    # Within what brings a new correction into force, and the noise of a block's mean of 16 lines,
    # 0.003 / sqrt(16) = 7.5e-4, of which a quarter is followed: 4 of its deviations.
    assert np.abs(reference(follower) - share).max() < IN_FORCE + 4 * 7.5e-4
    assert follower.version > 0
    assert follower.wanted == ""
    assert [n.fields["version"] for n in follower.news] == list(range(1, follower.version + 1))
    assert follower.news[-1].fields["sha256"] == follower.flat_field.digest
    low, high = follower.flat_field.apply(*raw(64, share, noise=0))
    assert np.abs(low / 60_000 - 1).max() < IN_FORCE + 4 * 7.5e-4
    assert np.abs(high / 60_000 - 1).max() < IN_FORCE + 4 * 7.5e-4


def test_steady_air_changes_nothing() -> None:
    follower = Follower(made(), FollowConfig())
    for seed in range(20):
        show(follower, 1280, seed=seed)
    assert follower.version == 0
    assert follower.flat_field.digest == made().digest


@settings(max_examples=40)
@given(
    share=st.floats(0.0, 1.3) | st.floats(0.95, 1.05),
    first=st.integers(0, ELEMENTS - 1),
    wide=st.integers(1, ELEMENTS),
    lines=st.integers(32, 4000),
    limit=st.floats(0.005, 0.049),
    step=st.floats(1e-5, 2e-3),
)
def test_whatever_passes_for_air_moves_the_reference_no_farther_than_said(
    share, first, wide, lines, limit, step
) -> None:
    """Matter of any transmission and width, nobody saying that it is matter."""
    config = FollowConfig(block_lines=64, limit=limit, step=step)
    follower = Follower(made(), config)
    shares = np.ones(ELEMENTS)
    shares[first : first + wide] = share
    show(follower, lines, shares, noise=0.0)
    moved = np.abs(follower._air - 1)  # followed, in force or not
    assert moved.max() <= min(limit, step * math.ceil(lines / config.block_lines)) + 1e-12
    assert np.abs(reference(follower) - 1).max() <= moved.max() + 1e-6
    if abs(share - 1) > limit + 1e-3:
        assert follower._air[:, first : first + wide] == pytest.approx(1.0)


def test_what_lies_next_to_matter_is_not_learned_from() -> None:
    """A faint rim ahead of each bag, no longer than the guard."""
    follower = Follower(made(), SMALL)
    for _ in range(60):
        show(follower, 128, noise=0.0)
        show(follower, 32, 0.98, noise=0.0)
        follower.disturbed()  # the bag
        show(follower, 32, 0.98, noise=0.0)
    # Something was learned from: else this shows nothing.
    assert follower._sound_blocks.min() > 10
    np.testing.assert_allclose(follower._air, 1.0, atol=1e-5)


def test_gaps_shorter_than_a_block_add_up() -> None:
    follower = Follower(made(), FollowConfig(block_lines=256, step=2e-3))
    for _ in range(40):
        show(follower, 192, 1.01, noise=0.0)
        follower.disturbed()
    assert reference(follower) == pytest.approx(1.01, abs=IN_FORCE)


def test_beyond_the_limit_a_new_correction_is_asked_for() -> None:
    follower = Follower(made(), SMALL)
    show(follower, 64 * (DOUBTED_BLOCKS + 3), 0.96)
    assert follower.version == 0
    assert "make a new correction" in follower.wanted
    assert [news.kind for news in follower.news] == ["recalibrate"]
    assert "96.0 %" in str(follower.news[0].fields["error"])
    show(follower, 640, 0.99)
    assert follower.wanted == ""


@pytest.mark.parametrize("fault", ["weak", "noisy", "frozen"])
def test_an_element_that_fails_is_found_and_trusted_again_when_it_is_sound(fault) -> None:
    def shown(lines, failing):
        low, high = raw(lines)
        if failing and fault == "noisy":
            low[:, 20] = low[:, 20] + np.random.default_rng(1).normal(0, 2000, lines)
        elif failing:
            low[:, 20] = OFFSET + (0.2 * (low[:, 20] - OFFSET) if fault == "weak" else CONTRAST)
        for k in range(0, lines, 32):
            follower.idle(low[k : k + 32], high[k : k + 32], None)

    follower = Follower(made(), SMALL)
    shown(64 * (FOUND_BLOCKS + 2) + GUARD_LINES, True)
    assert np.argwhere(follower.flat_field.dead).tolist() == [[0, 20]]
    assert follower.news[-1].fields["cause"] == "elements"
    assert follower.wanted == ""
    shown(64 * (FOUND_BLOCKS + 2) + GUARD_LINES, False)
    assert not follower.flat_field.dead.any()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.96, 1.04, 1.4])
def test_an_element_that_is_off_measures_on_and_a_new_correction_is_asked_for(share) -> None:
    def shown(shares):
        low, high = raw(64 * (FOUND_BLOCKS + 2) + GUARD_LINES, shares)
        for k in range(0, len(low), 32):
            follower.idle(low[k : k + 32], high[k : k + 32], None)

    follower = Follower(made(), SMALL)
    shares = np.ones(ELEMENTS)
    shares[20] = share
    shown(shares)
    assert not follower.flat_field.dead.any()
    np.testing.assert_allclose(follower._air[:, 20], 1.0)
    assert "1 of the low energy (20); 1 of the high energy (20)" in follower.wanted
    assert [news.kind for news in follower.news] == ["recalibrate"]
    shown(np.ones(ELEMENTS))
    assert follower.wanted == ""


def test_more_neighbours_than_can_be_bridged_are_not_interpolated_but_said() -> None:
    parts = (made().offset, made().gain, made().dead)
    wide = Follower(FlatField(*(np.tile(part, 4) for part in parts)), SMALL)
    shares = np.ones(4 * ELEMENTS)
    shares[30:35] = 0.2
    rng = np.random.default_rng(2)
    for _ in range(4 * FOUND_BLOCKS):
        counts = OFFSET + CONTRAST * (shares + rng.normal(0, 0.003, (2, 64, shares.size)))
        wide.idle(*counts.round().astype(np.uint16), None)
    assert not wide.flat_field.dead.any()
    assert "neighbouring" in wide.wanted


@pytest.mark.parametrize("follow", [SMALL, FollowConfig(air=False, block_lines=64)])
@pytest.mark.parametrize("board", [16, 32])
def test_a_board_at_twice_the_gain_is_a_fault_until_it_is_sound(board, follow) -> None:
    """Of 640 elements 20 may be odd: with more than that nothing else is learned from a block."""
    parts = (made().offset, made().gain, made().dead)
    wide = Follower(FlatField(*(np.tile(part, 10) for part in parts)), follow)
    rng = np.random.default_rng(2)

    def shown(blocks, gain):
        for _ in range(blocks):
            signal = 1 + rng.normal(0, 0.003, (2, 64, 10 * ELEMENTS))
            signal[:, :, 200 : 200 + board] *= gain
            wide.idle(*(OFFSET + CONTRAST * signal).clip(0, 65_535).astype(np.uint16), None)
        return wide.fault

    assert not shown(4 * FOUND_BLOCKS, 0.9)  # too little is no fault: it may be matter
    assert not shown(4 * FOUND_BLOCKS, 1.0)
    assert shown(FOUND_BLOCKS + 2, 2.0)
    assert f"{board} elements, 200 to {199 + board}, read up to" in wide.wanted
    assert "recalibrate" in [one.kind for one in wide.news]
    assert not shown(FOUND_BLOCKS + 2, 1.0)
    assert "read up to" not in wide.wanted


def dark(follower, lines, offset, **more) -> None:
    low, high = raw(lines, 0.0, noise=2e-4, offset=offset, **more)
    for k in range(0, lines, 32):
        follower.dark(low[k : k + 32], high[k : k + 32])


ENOUGH = SETTLE_LINES + DARK_LINES + 32


def test_an_offset_that_moved_is_taken_anew_while_the_tube_is_off() -> None:
    follower = Follower(made(), FollowConfig())
    dark(follower, SETTLE_LINES + DARK_LINES - 32, OFFSET + 60)
    assert follower.version == 0
    follower.lit()  # on and off again: too short, both times
    dark(follower, SETTLE_LINES + DARK_LINES - 32, OFFSET + 60)
    assert follower.version == 0
    follower.lit()
    dark(follower, ENOUGH, OFFSET + 60)
    # Noise of 8 counts over 256 lines, 5 deviations, and the rounding of the counts.
    assert follower.flat_field.offset == pytest.approx(OFFSET + 60, abs=8 / 16 * 5 + 0.5)
    assert follower.news[-1].fields["cause"] == "dark"
    np.testing.assert_array_equal(follower.flat_field.gain, made().gain)


def test_a_line_that_is_repeated_counts_once() -> None:
    """Rows of several views show one line again and again while the belt stands."""
    follower = Follower(made(), FollowConfig())
    lines = raw(DARK_LINES + 32, 0.0, noise=2e-4, offset=OFFSET + 60)
    settled = [raw(SETTLE_LINES, 0.0, noise=2e-4, offset=OFFSET + 60)[k] for k in (0, 1)]
    follower.dark(*settled)
    for k in range(DARK_LINES - 1):
        follower.dark(*(np.repeat(energy[k : k + 1], 16, axis=0) for energy in lines))
    assert follower.version == 0
    assert follower._dark_lines == DARK_LINES - 1
    # One element of one energy makes a line another one.
    other = [energy[DARK_LINES - 2 : DARK_LINES - 1].copy() for energy in lines]
    other[1][0, 5] += 1
    follower.dark(*other)
    assert follower.news[-1].fields["cause"] == "dark"
    assert follower.flat_field.offset == pytest.approx(OFFSET + 60, abs=8 / 16 * 5 + 0.5)


def test_a_dark_that_is_far_off_is_refused_and_said() -> None:
    follower = Follower(made(), FollowConfig())
    dark(follower, ENOUGH, OFFSET + 2 * DARK_LIMIT * CONTRAST)
    assert follower.version == 0
    assert "dark" in follower.wanted
    show(follower, 640)  # sound air says nothing of the dark
    assert "dark" in follower.wanted
    follower.lit()
    dark(follower, ENOUGH, OFFSET + 2 * DARK_LIMIT * CONTRAST)
    assert [news.kind for news in follower.news] == ["recalibrate"], "said once"
    follower.lit()
    dark(follower, ENOUGH, OFFSET)
    assert follower.wanted == ""


def test_lines_with_rays_in_them_are_no_dark() -> None:
    follower = Follower(made(), FollowConfig())
    low, high = raw(32, 0.0, offset=OFFSET + 60)
    low[5, 30] = OFFSET + 0.1 * CONTRAST
    for _ in range(100):
        follower.dark(low, high)
    assert follower.version == 0


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0.05}, {"limit": 0.0}, {"step": 0.0}, {"step": 0.01}, {"block_lines": 8},
     {"reference": ((1, 2, 3),)}, {"limit": math.nan}],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FollowConfig(**wrong)
