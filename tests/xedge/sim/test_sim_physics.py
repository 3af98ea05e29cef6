"""The scanner model: the fast path against the direct sum, noise, fixed pattern, bad input."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError, LineError
from xedge.sim.materials import tables
from xedge.sim.physics import ScannerModel

SCANNER = ScannerModel()
QUIET = ScannerModel(
    scatter=0, glare=0, crosstalk_sigma=0, read_noise=0, gain_spread=0, dead_share=0
)
MATERIALS = tables().names


def direct(materials: dict[str, float], kv: int = 160) -> tuple[float, float]:
    """Transmission of a stack in centimetres, summed over energies in double precision."""
    table = tables()
    line = sum(cm * table.linear_per_cm[table.index(name)] for name, cm in materials.items())
    weights = table.spectra[kv] * table.response[:, 0] * table.response[:, 1]
    low, high = (weights * np.exp(-line)).sum(axis=1) / weights.sum(axis=1)
    return float(low), float(high)


def fast(materials: dict[str, float], kv: int = 160) -> tuple[float, float]:
    table = tables()
    coefficients = sum(cm * table.coefficients[table.index(m)] for m, cm in materials.items())
    basis = np.asarray(coefficients, np.float32).reshape(3, 1, 1)
    low, high, _, _ = ScannerModel(kv=kv).transmission(basis)
    return float(low[0, 0]), float(high[0, 0])


stack = st.dictionaries(st.sampled_from(MATERIALS), st.floats(0.001, 4.0), min_size=1, max_size=5)


@given(stack=stack, kv=st.sampled_from((140, 150, 160)))
@settings(max_examples=60, deadline=None)
def test_the_fast_path_is_the_polychromatic_sum(stack: dict[str, float], kv: int) -> None:
    for quick, slow in zip(fast(stack, kv), direct(stack, kv), strict=True):
        # Attenuation is off by at most 1 % a material (its basis fit), so is the line integral.
        line = -np.log(slow)
        assert abs(np.log(max(quick, 1e-30)) + line) <= 0.01 * line + 1e-5 or slow < 1e-12


@pytest.mark.parametrize(
    ("material", "cm", "reference"),
    [
        ("polyethylene", 5.0, 1.16),
        ("water", 5.0, 1.25),
        ("aluminium", 1.0, 1.69),
        ("steel", 0.1, 2.55),
    ],
)
def test_a_detector_that_keeps_all_energy_is_the_reference_sandwich(
    material: str, cm: float, reference: float
) -> None:
    """Same tube, filter and scintillators, computed elsewhere and given to two decimals."""
    table = tables()
    weights = table.spectra[160] * table.response[:, 0] * table.energies_kev
    line = cm * table.linear_per_cm[table.index(material)]
    low, high = (weights * np.exp(-line)).sum(axis=1) / weights.sum(axis=1)
    # Half of the last decimal is 0.4 %; bins of 5 keV and the target's angle take the rest.
    assert np.log(low) / np.log(high) == pytest.approx(reference, rel=0.015)


def test_order_of_materials_at_matched_attenuation() -> None:
    ratios = []
    for material, cm in (
        ("polyethylene", 5.0),
        ("water", 4.3),
        ("aluminium", 1.05),
        ("steel", 0.093),
    ):
        low, high = direct({material: cm})
        assert 0.9 < -np.log(low) < 1.1
        ratios.append(np.log(low) / np.log(high))
    assert all(a + 0.05 < b for a, b in itertools.pairwise(ratios)), ratios


@given(material=st.sampled_from(MATERIALS), cm=st.floats(0.05, 3.0))
@settings(max_examples=40, deadline=None)
def test_beams_harden(material: str, cm: float) -> None:
    for energy in (0, 1):
        lines = [-np.log(max(direct({material: k * cm})[energy], 1e-300)) for k in (0, 1, 2)]
        first, second = lines[1] - lines[0], lines[2] - lines[1]
        assert 0 < second <= first * (1 + 1e-9)


def test_noise_has_the_variance_of_an_energy_integrating_detector() -> None:
    scanner = replace(QUIET, elements=64, offset_counts=0.0)
    table = tables()
    steel = np.asarray(table.coefficients[table.index("steel")], np.float32)
    for cm in (0.0, 0.2, 0.8):
        basis = np.broadcast_to((steel * np.float32(cm))[:, None, None], (3, 600, 64)).copy()
        signal = scanner.transmission(basis)[:2]
        pattern = scanner.expose(basis, 5)
        weights = table.spectra[160] * scanner.photons * table.response[:, 0]
        kev = table.response[:, 1]
        through = np.exp(-cm * table.linear_per_cm[table.index("steel")])
        for energy in (0, 1):
            counts = pattern[energy].astype(np.float64)
            mean = (weights[energy] * through * kev[energy]).sum()
            variance = (weights[energy] * through * kev[energy] ** 2).sum()
            # Element by element, since the heel effect scales them; rounding adds 1/12.
            per_element = (counts.var(axis=0, ddof=1) - 1 / 12) / counts.mean(axis=0) ** 2
            # 600 x 64 samples: the estimate's own error is sqrt(2 / 38400) = 0.7 %; five of
            # them, and 2 % for the basis fit of steel at this depth.
            assert per_element.mean() == pytest.approx(variance / mean**2, rel=0.055)
            assert counts.mean() > 0
            assert 0 < signal[energy].mean() <= 1


def test_an_energy_integrating_detector_is_noisier_than_a_counter() -> None:
    absorbed = tables().spectra[160] * SCANNER.photons * tables().response[:, 0]
    counted = absorbed.sum(axis=1)
    for quanta, photons in zip(SCANNER.quanta_in_air(), counted, strict=True):
        assert 0.5 * photons < quanta < photons


def test_deep_shadow_is_poisson_and_not_below_zero() -> None:
    scanner = replace(QUIET, elements=64, offset_counts=0.0)
    table = tables()
    steel = np.asarray(table.coefficients[table.index("steel")], np.float32) * np.float32(6.0)
    basis = np.broadcast_to(steel[:, None, None], (3, 200, 64)).copy()
    _, high = scanner.expose(basis, 3)
    assert high.min() == 0
    assert np.unique(high).size > 1


def test_dark_and_air_runs_share_the_fixed_pattern_of_exposures() -> None:
    dark_low, dark_high = SCANNER.dark_run(200, 1)
    again_low, _ = SCANNER.dark_run(200, 2)
    air_low, air_high = SCANNER.air_run(200, 3)
    assert not np.array_equal(dark_low, again_low)
    # Means of 200 lines of noise 6: 0.42 counts each; six standard errors of a difference.
    assert np.abs(dark_low.mean(axis=0) - again_low.mean(axis=0)).max() < 6 * 0.42 * 2**0.5
    dead = air_low.std(axis=0) == 0
    assert 0 < dead.sum() <= 0.02 * SCANNER.elements
    assert (dark_low.std(axis=0) == 0).tolist() == dead.tolist()
    live = ~dead
    assert (air_low[:, live].mean(axis=0) > dark_low[:, live].mean(axis=0) + 10_000).all()
    assert air_high.max() < 65535 or (air_high == 65535).mean(axis=0).max() == 1.0
    assert dark_high.dtype == np.uint16


def test_flat_field_of_an_object_is_the_same_across_the_detector() -> None:
    """Offset and gain corrected by hand, a plate of water looks alike at every live element."""
    scanner = replace(SCANNER, scatter=0.0, glare=0.0)
    water = np.asarray(tables().coefficients[tables().index("water")], np.float32) * 3
    basis = np.broadcast_to(water[:, None, None], (3, 400, scanner.elements)).copy()
    low, _ = scanner.expose(basis, 9)
    dark, air = scanner.dark_run(400, 1)[0].mean(axis=0), scanner.air_run(400, 2)[0].mean(axis=0)
    live = air - dark > 1000
    share = (low.mean(axis=0) - dark)[live] / (air - dark)[live]
    expected = direct({"water": 3.0})[0]
    # Per element: relative noise 1/sqrt(96,000 quanta) in air, less light behind water, over
    # 400 lines: below 0.04 %, six of them; and 1 % of ln 2 for the basis fit of water.
    assert np.abs(share / share.mean() - 1).max() < 6 * 0.0004
    assert share.mean() == pytest.approx(expected, rel=0.01)


def test_seeds_give_bits() -> None:
    basis = np.random.default_rng(0).random((3, 40, 800), np.float32)
    a, b, c = SCANNER.expose(basis, 4), SCANNER.expose(basis, 4), SCANNER.expose(basis, 5)
    assert np.array_equal(a, b)
    assert not np.array_equal(a[0], c[0])
    other = replace(SCANNER, seed=1).dark_run(8, 0)[0].astype(int) - SCANNER.dark_run(8, 0)[0]
    assert np.abs(other).max() > 20


def test_the_maps_are_left_as_they_were() -> None:
    basis = np.random.default_rng(0).random((3, 16, 800), np.float32)
    copy = basis.copy()
    SCANNER.expose(basis, 1)
    assert np.array_equal(basis, copy)


@pytest.mark.parametrize(
    "bad",
    [
        {"kv": 120},
        {"elements": 4},
        {"photons": 0.0},
        {"pitch_mm": -1.0},
        {"scatter": 1.5},
        {"read_noise": -1.0},
    ],
)
def test_scanners_that_cannot_be(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        replace(SCANNER, **bad)


@pytest.mark.parametrize("shape", [(3, 10, 799), (2, 10, 800), (10, 800)])
def test_maps_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(LineError, match=r"\[3, lines, 800\]"):
        SCANNER.expose(np.zeros(shape, np.float32), 0)
