"""The detector's health: what is found, what is repaired, and what must be left alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from xedge.scanner.flatfield import FlatField
from xedge.scanner.health import MATTER_SHARE, SHADOW, DetectorHealth, DetectorMonitor
from xedge.types import AIR_COUNTS

ELEMENTS = 64


def plain_flat_field(dead=()):
    mask = np.zeros((2, ELEMENTS), np.bool_)
    mask[:, list(dead)] = True
    return FlatField(np.zeros((2, ELEMENTS), np.float32), np.ones((2, ELEMENTS), np.float32), mask)


def air(lines):
    return np.full((lines, ELEMENTS), AIR_COUNTS, np.uint16)


def feed(monitor, low, high, size=16):
    parts = [
        monitor.correct(low[k : k + size], high[k : k + size]) for k in range(0, len(low), size)
    ]
    return tuple(np.concatenate([p[e] for p in parts]) for e in (0, 1))


def test_an_element_that_fails_on_idle_lines_is_repaired_in_the_bag_behind() -> None:
    low, high = air(100), air(100)
    low[40:, 10:50] = 30_000
    low[5:80, 20] = 500
    monitor = DetectorMonitor(plain_flat_field())
    repaired, untouched = feed(monitor, low, high)
    assert (repaired[16:80, 20] == repaired[16:80, 19]).all()
    np.testing.assert_array_equal(untouched, high)
    health = monitor.health()
    assert list(health.intermittent[0]) == [20]
    assert health.intermittent[1] == {}
    assert 64 <= health.intermittent[0][20] <= 75
    assert any("element 20 failed during the scan" in s for s in health.sentences())


def test_a_blade_seen_edge_on_is_not_repaired() -> None:
    """One element wide and dark for many lines, but only inside a bag: that is matter."""
    low, high = air(120), air(120)
    low[30:100, 10:50] = 40_000
    low[40:90, 20] = 2_500
    high[40:90, 20] = 3_000
    given = low.copy(), high.copy()
    monitor = DetectorMonitor(plain_flat_field())
    out = feed(monitor, low, high)
    np.testing.assert_array_equal(out[0], given[0])
    np.testing.assert_array_equal(out[1], given[1])
    assert monitor.health().intermittent == ({}, {})


def test_a_recovered_element_is_trusted_again() -> None:
    low, high = air(400), air(400)
    low[:40, 20] = 500
    low[300:360, 10:50] = 40_000
    low[310:350, 20] = 2_500  # behind many sound idle lines, this is matter
    monitor = DetectorMonitor(plain_flat_field())
    out, _ = feed(monitor, low, high)
    assert (out[310:350, 20] == 2_500).all()
    assert monitor.health().intermittent[0][20] <= 40


def test_single_dead_samples_are_repaired_and_counted() -> None:
    low, high = air(60), air(60)
    low[:, 10:50] = 40_000
    for row, column in ((3, 30), (15, 20), (16, 40), (31, 12), (59, 25)):
        low[row, column] = 100
    monitor = DetectorMonitor(plain_flat_field())
    out, _ = feed(monitor, low, high)
    assert (out[:, 10:50] == 40_000).all()
    assert monitor.health().glitches == (5, 0)


def test_a_thin_wire_at_an_angle_is_left_alone() -> None:
    low, high = air(60), air(60)
    for row in range(60):
        low[row, 2 + row] = 9_000
    monitor = DetectorMonitor(plain_flat_field())
    given = low.copy()
    out, _ = feed(monitor, low, high)
    # Its two ends have a neighbour on one side only, and are alone no more than the rest.
    np.testing.assert_array_equal(out, given)


def test_a_wire_that_begins_in_the_last_line_of_a_strip_is_left_alone() -> None:
    low, high = air(32), air(32)
    low[:, 10:50], high[:, 10:50] = 50_000, 54_000
    low[15:, 20], high[15:, 20] = 22_000, 38_000
    given = low.copy()
    out, _ = feed(DetectorMonitor(plain_flat_field()), low, high)
    np.testing.assert_array_equal(out, given)


def test_noise_in_deep_shadow_is_left_alone() -> None:
    rng = np.random.default_rng(3)
    low = rng.poisson(6, (200, ELEMENTS)).astype(np.uint16) * 100
    monitor = DetectorMonitor(plain_flat_field())
    out, _ = feed(monitor, low, air(200))
    np.testing.assert_array_equal(out, low)


def test_noisy_air_and_matter_are_left_alone() -> None:
    rng = np.random.default_rng(4)
    low = rng.normal(AIR_COUNTS, 400, (300, ELEMENTS)).clip(0, 65_535).astype(np.uint16)
    low[100:250, 8:60] = rng.normal(9_000, 300, (150, 52)).astype(np.uint16)
    monitor = DetectorMonitor(plain_flat_field())
    out, _ = feed(monitor, low, low)
    np.testing.assert_array_equal(out, low)
    assert monitor.health().sentences() == ()


def test_a_failing_element_between_dead_ones_is_a_fault_of_the_detector() -> None:
    low, high = air(40), air(40)
    low[8:, 22] = 300
    monitor = DetectorMonitor(plain_flat_field(dead=(20, 21, 23, 24)))
    assert not monitor.fault
    feed(monitor, low, high)
    assert monitor.fault
    assert any("neighbouring elements fail" in s for s in monitor.health().sentences())


@pytest.mark.parametrize("failing", [(20, 21), (20, 21, 22), (20, 22), (20, 21, 22, 23)])
def test_neighbours_that_fail_together_are_repaired_in_the_bag_behind(failing) -> None:
    low, high = air(200), air(200)
    low[100:, 10:50] = 30_000
    low[5:, list(failing)] = 500
    monitor = DetectorMonitor(plain_flat_field())
    repaired, _ = feed(monitor, low, high)
    assert (repaired[100:, 10:50] == 30_000).all()
    assert tuple(monitor.health().intermittent[0]) == failing
    assert not monitor.fault


def test_a_thin_wire_that_stands_out_of_a_bag_is_no_run_of_failing_elements() -> None:
    low, high = air(300), air(300)
    low[90:150, 8:60] = 40_000
    low[30:150, 20:23] = 9_000
    given = low.copy()
    out, _ = feed(DetectorMonitor(plain_flat_field()), low, high)
    np.testing.assert_array_equal(out, given)


@pytest.mark.parametrize("width", [5, 20])
def test_more_neighbours_than_can_be_bridged_are_a_fault(width) -> None:
    elements, shape = 800, (2, 800)
    flat = FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip
    monitor = DetectorMonitor(flat)
    lines = np.full((50, elements), AIR_COUNTS, np.uint16)
    shadow = lines.copy()
    shadow[:, 300 : 300 + width] = 400
    for _ in range(20):  # 1000 lines, the longest bag: an umbrella may lie along the belt
        monitor.correct(shadow.copy(), shadow.copy())
    monitor.correct(lines.copy(), lines.copy())
    assert not monitor.fault
    for _ in range(24):
        assert not monitor.fault
        monitor.correct(shadow.copy(), shadow.copy())
    assert monitor.fault
    for _ in range(2):
        monitor.correct(lines.copy(), lines.copy())
    assert not monitor.fault


def test_a_dead_element_s_full_scale_is_not_called_saturation() -> None:
    low, high = air(10), air(10)
    low[:, 20] = 65_535
    high[:5, 30] = 65_535
    monitor = DetectorMonitor(plain_flat_field(dead=(20,)))
    feed(monitor, low, high)
    assert monitor.health().saturated_share == (0.0, pytest.approx(5 / 630))


def test_health_of_a_sound_detector_says_nothing() -> None:
    assert DetectorHealth(8).sentences() == ()


def lab_pair(folder: Path, name: str):
    record = loadmat(folder / "dual-energy-lab" / f"basis_{name}.mat")
    return tuple(
        np.round(65_535 * np.exp(record[key])).clip(0, 65_535).astype(np.uint16).T.copy()
        for key in ("data_low", "data_high")
    )


@pytest.mark.parametrize("name", ["apple", "apple_polyethyleno", "chiken"])
def test_the_real_detector_s_failing_element_and_dead_samples_are_found(
    real_data: Path, name: str
) -> None:
    """Element 180 is dark for up to half of the scan. The oracle knows where to look."""
    low, high = lab_pair(real_data, name)
    flat = FlatField.from_saturated_air(low, high)
    monitor = DetectorMonitor(flat)
    repaired = feed(monitor, low, high, size=32)
    health = monitor.health()
    assert set(health.intermittent[0]) == {180}
    assert set(health.intermittent[1]) <= {180}
    for energy, raw in enumerate((low, high)):
        beside = np.minimum(raw[:, 179], raw[:, 181])
        failing = int(np.count_nonzero(raw[:, 180] < 0.5 * beside))
        # Single samples of the dashed end may be counted as glitches instead.
        found = health.intermittent[energy].get(180, 0)
        assert failing - 10 <= found <= failing + 10
        after = repaired[energy]
        left = after[:, 180] < 0.5 * np.minimum(after[:, 179], after[:, 181])
        assert left.sum() == 0
        assert health.saturated_share[energy] == pytest.approx(np.mean(raw == 65_535))
    assert health.glitches[0] >= 10
    said = " / ".join(health.sentences())
    assert "saturated" in said
    assert "no dark and air runs" in said


def test_air_that_drifts_is_said_and_bags_are_not_taken_for_it() -> None:
    monitor = DetectorMonitor(plain_flat_field())
    rng = np.random.default_rng(5)

    def strip(share, matter=False):
        low, high = rng.normal(share * AIR_COUNTS, 200, (2, 32, ELEMENTS)).astype(np.uint16)
        if matter:
            low[:, 4:-4] //= 2
            high[:, 4:-4] //= 2
        return low, high

    assert monitor.health().air == (1.0, 1.0)
    for _ in range(40):
        monitor.correct(*strip(1.0))
        monitor.correct(*strip(1.0, matter=True))
    # The median of a line is off by 1.25 sigma / sqrt(elements) at the most by a factor of 5.
    assert monitor.health().air == pytest.approx((1.0, 1.0), abs=5e-3)
    assert monitor.health().sentences() == ()
    for _ in range(200):
        monitor.correct(*strip(0.95))
    health = monitor.health()
    assert health.air == pytest.approx((0.95, 0.95), abs=5e-3)
    assert sum("make a new one" in sentence for sentence in health.sentences()) == 2
    assert "low energy: air reads 95" in health.sentences()[0]


def glitches_by_hand(lines, before, other_last):
    """The rule, sample by sample: rows and columns of what is dark against all eight around it."""
    n, width = lines.shape
    found = []
    for row, column in np.ndindex(n, width):
        above = lines[row - 1] if row else before
        below = lines[row + 1] if row < n - 1 else above
        above = below if above is None else above
        if above is None:
            continue
        around = [
            line[c]
            for c in (column - 1, column + 1)
            if 0 <= c < width
            for line in (above, lines[row], below)
        ] + [above[column], below[column]]
        dark = lines[row, column] < min(around) // 2 and min(around) > SHADOW
        if row == n - 1:
            inner = 0 < column < width - 1
            dark &= inner and other_last[column] > np.float32(MATTER_SHARE) * min(
                other_last[column - 1], other_last[column + 1]
            )
        if dark:
            found.append((row, column))
    return found


@given(st.data())
@settings(max_examples=120)
def test_glitches_are_those_of_the_rule_however_lines_are_packed(data) -> None:
    width, seed = 6, data.draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    monitor = DetectorMonitor(FlatField(np.zeros((2, width), np.float32),
                              np.ones((2, width), np.float32),
                              np.zeros((2, width), np.bool_)))  # fmt: skip
    levels = np.array([0, 900, 1900, 2100, 4300, 9000, 20_000, 45_000, 60_000], np.uint16)
    before = [None, None]
    total = [0, 0]
    # Too few lines for an element to be called faulty.
    for size in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)):
        dark = rng.random((2, size, width)) < 0.15
        raw = np.where(dark, rng.choice(levels, dark.shape), rng.choice(levels[3:]))
        raw = raw.astype(np.uint16)
        out = monitor.correct(raw[0], raw[1])
        wanted = raw.copy()
        for k in (0, 1):
            found = glitches_by_hand(raw[k].astype(int), before[k], wanted[1 - k][-1].astype(int))
            for row, column in found:
                left, right = abs(column - 1), width - 1 - abs(width - 2 - column)
                beside = int(raw[k, row, left]) + int(raw[k, row, right])
                wanted[k, row, column] = (beside + 1) // 2
            total[k] += len(found)
            before[k] = raw[k, -1].astype(int)
            np.testing.assert_array_equal(out[k], wanted[k])
    assert monitor.health().glitches == tuple(total)
