"""Flat-field correction against a detector whose offset, gain and faults are known."""

import numpy as np
import pytest

from xedge.errors import CorrectionError, LineError
from xedge.scanner.flatfield import MIN_LINES, FlatField, Repair, longest_run
from xedge.types import AIR_COUNTS

ELEMENTS = 96


def detector(seed=0, lines=64):
    """Offsets, sensitivities, and the four runs they give."""
    rng = np.random.default_rng(seed)
    offset = rng.uniform(400, 600, (2, ELEMENTS))
    bright = rng.uniform(30_000, 40_000, (2, ELEMENTS))
    dark = [rng.normal(offset[e], 3, (lines, ELEMENTS)).round().astype(np.uint16) for e in (0, 1)]
    air = [
        rng.normal(offset[e] + bright[e], 60, (lines, ELEMENTS)).round().astype(np.uint16)
        for e in (0, 1)
    ]
    return offset, bright, dark, air


def test_a_known_transmission_comes_back() -> None:
    offset, bright, dark, air = detector()
    flat = FlatField.from_runs(*dark, *air)
    for transmission in (0.0, 0.25, 1.0):
        raw = (offset + transmission * bright).round().astype(np.uint16)
        low, high = flat.apply(raw[:1], raw[1:])
        # Half a count of rounding of raw, magnified by the gain of at most 2, plus the mean's
        # own noise of 60 / sqrt(64) counts (4.5 sigma), plus half a count of the result.
        tolerance = 0.5 * 2 + 4.5 * 60 / np.sqrt(64) * 2 + 4.5 * 3 / np.sqrt(64) * 2 + 0.5
        assert np.abs(low.astype(float) - transmission * AIR_COUNTS).max() < tolerance
        assert np.abs(high.astype(float) - transmission * AIR_COUNTS).max() < tolerance
        assert low.dtype == np.uint16


def test_results_do_not_depend_on_how_lines_are_packed() -> None:
    _, _, dark, air = detector()
    flat = FlatField.from_runs(*dark, *air)
    raw = np.random.default_rng(1).integers(0, 65_536, (200, ELEMENTS)).astype(np.uint16)
    whole = flat.apply(raw, raw)
    parts = [flat.apply(raw[k : k + 7], raw[k : k + 7]) for k in range(0, 200, 7)]
    for energy in (0, 1):
        np.testing.assert_array_equal(whole[energy], np.concatenate([p[energy] for p in parts]))
    assert raw.max() > 60_000  # the argument was not written to


@pytest.mark.parametrize(
    "fault", ["insensitive", "high offset", "stuck bright", "noisy", "noisy in the dark"]
)
def test_a_faulty_element_is_found_and_interpolated(fault: str) -> None:
    _, _, dark, air = detector()
    if fault == "insensitive":
        air[0][:, 10] = dark[0][:, 10]
    elif fault == "high offset":
        dark[0][:, 10] += 5_000
        air[0][:, 10] += 5_000
    elif fault == "stuck bright":
        dark[0][:, 10] = air[0][:, 10] = 65_535
    elif fault == "noisy":
        air[0][::2, 10] -= 3_000
    else:
        dark[0][::2, 10] += 200
    flat = FlatField.from_runs(*dark, *air)
    assert np.flatnonzero(flat.dead[0]).tolist() == [10]
    assert not flat.dead[1].any()
    raw = air[0].copy()
    raw[:, 10] = 7
    low, _ = flat.apply(raw, air[1])
    expected = (low[:, 9].astype(float) + low[:, 11]) / 2
    assert np.abs(low[:, 10] - expected).max() <= 1


def test_a_sound_detector_has_no_dead_elements() -> None:
    for seed in range(20):
        _, _, dark, air = detector(seed)
        assert not FlatField.from_runs(*dark, *air).dead.any()


def test_dead_elements_at_the_ends_take_their_nearest_neighbour() -> None:
    bad = np.array([True, True, False, False, True])
    lines = np.array([[1, 1, 100, 300, 1]], np.uint16)
    Repair.of(bad).apply(lines)
    assert lines.tolist() == [[100, 100, 100, 300, 300]]


def test_interpolation_over_several_elements_is_linear() -> None:
    bad = np.array([False, True, True, True, False])
    lines = np.array([[0, 9, 9, 9, 40]], np.uint16)
    Repair.of(bad).apply(lines)
    assert lines.tolist() == [[0, 10, 20, 30, 40]]


@pytest.mark.parametrize(
    ("mask", "longest"), [([], 0), ([0, 0], 0), ([1, 1, 0, 1], 2), ([0, 1, 1, 1], 3)]
)
def test_longest_run(mask: list[int], longest: int) -> None:
    assert longest_run(np.array(mask, np.bool_)) == longest


def test_unusable_runs_are_refused_with_a_remedy() -> None:
    _, _, dark, air = detector()
    with pytest.raises(CorrectionError, match="not brighter than dark"):
        FlatField.from_runs(*dark, *dark)
    with pytest.raises(CorrectionError, match="too short"):
        FlatField.from_runs(*(run[: MIN_LINES - 1] for run in (*dark, *air)))
    with pytest.raises(CorrectionError, match="cannot be used"):
        FlatField.from_runs(dark[0][:, 1:], dark[1], *air)
    with pytest.raises(CorrectionError, match="cannot be used"):
        FlatField.from_runs(dark[0].astype(np.float32), dark[1], *air)
    with pytest.raises(CorrectionError, match="saturated"):
        FlatField.from_runs(*dark, np.full_like(air[0], 65_535), air[1])
    air[1][:, 20:25] = 0
    with pytest.raises(CorrectionError, match="neighbouring elements of the high-energy"):
        FlatField.from_runs(*dark, *air)


def test_four_neighbouring_dead_elements_still_pass() -> None:
    _, _, dark, air = detector()
    air[1][:, 20:24] = 0
    assert FlatField.from_runs(*dark, *air).dead[1].sum() == 4


def test_lines_of_another_detector_are_refused() -> None:
    _, _, dark, air = detector()
    flat = FlatField.from_runs(*dark, *air)
    with pytest.raises(LineError, match="do not fit the flat field"):
        flat.apply(air[0][:, 1:], air[1][:, 1:])


def test_gain_from_saturated_air_names_the_saturation() -> None:
    raw = np.full((100, ELEMENTS), 65_535, np.uint16)
    raw[:30] = 20_000
    raw[:, 40] = 800
    flat = FlatField.from_saturated_air(raw, raw)
    assert flat.saturated_share[0] == pytest.approx(0.7 * 95 / 96)
    assert np.flatnonzero(flat.dead[0]).tolist() == [40]
    low, _ = flat.apply(raw, raw)
    assert (low[50:] == AIR_COUNTS).all()
    assert (low[:30] == round(20_000 * AIR_COUNTS / 65_535)).all()
    with pytest.raises(CorrectionError, match="no saturated air"):
        FlatField.from_saturated_air(raw[:30], raw[:30])


def test_a_flat_field_of_the_wrong_shape_is_refused() -> None:
    good = np.ones((2, 8), np.float32)
    none = np.zeros((2, 8), np.bool_)
    with pytest.raises(CorrectionError, match="differ in shape"):
        FlatField(good, good[:, 1:], none)
    with pytest.raises(CorrectionError, match="wrong shape"):
        FlatField(good[0], good[0], none[0])
    with pytest.raises(CorrectionError, match="not finite"):
        FlatField(good, good * np.float32(np.nan), none)
