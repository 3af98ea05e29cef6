"""The tables against the libraries they were made with, and the three-material basis."""

import numpy as np
import pytest

from xedge.errors import ConfigError
from xedge.sim import make_tables
from xedge.sim.materials import BASIS, grey, per_mm, tables


def test_attenuation_is_that_of_xraylib() -> None:
    pytest.importorskip("xraylib")
    table = tables()
    for name, (fractions, density) in make_tables.RECIPES.items():
        fresh = density * make_tables.mass_attenuation(fractions, table.energies_kev)
        # Only the rounding of two summations may lie between them.
        np.testing.assert_allclose(table.linear_per_cm[table.index(name)], fresh, rtol=1e-9)


def test_detector_response_is_that_of_xraylib() -> None:
    pytest.importorskip("xraylib")
    table = tables()
    fresh = make_tables.detector_response(table.energies_kev)
    np.testing.assert_allclose(table.response, fresh, rtol=1e-9)


def test_spectra_are_shares_below_the_tube_voltage() -> None:
    table = tables()
    assert sorted(table.spectra) == list(make_tables.KILOVOLTS)
    for kv, shares in table.spectra.items():
        assert shares.sum() == pytest.approx(1.0, abs=1e-12)
        assert (shares >= 0).all()
        assert (shares[table.energies_kev > kv] == 0).all()
    mean = {kv: float(s @ table.energies_kev) for kv, s in table.spectra.items()}
    assert mean[140] < mean[150] < mean[160]


def test_the_low_detector_sees_lower_energies_than_the_high_one() -> None:
    table = tables()
    weights = table.spectra[160] * table.response[:, 0] * table.energies_kev
    low, high = (weights @ table.energies_kev) / weights.sum(axis=1)
    # The same sandwich computed elsewhere, with all absorbed energy kept: 64 and 99 keV.
    assert low == pytest.approx(64, abs=1)
    assert high == pytest.approx(99, abs=1)
    # Fluorescence of gadolinium, above 50 keV, takes energy out of the thin low layer.
    ours = table.spectra[160] * table.response[:, 0] * table.response[:, 1]
    assert (ours @ table.energies_kev / ours.sum(axis=1))[0] < low


def test_three_materials_stand_for_all_to_one_percent() -> None:
    table = tables()
    again = table.coefficients @ table.basis_per_cm
    worst = np.abs(again / table.linear_per_cm - 1).max(axis=1)
    assert dict(zip(table.names, worst > 0.01, strict=True)) == dict.fromkeys(table.names, False)
    for k, name in enumerate(BASIS):
        unit = np.zeros(3)
        unit[k] = 0.1
        np.testing.assert_allclose(per_mm(name), unit, atol=1e-12)


def test_grey_is_attenuation_at_eighty_kev() -> None:
    pytest.importorskip("xraylib")
    table = tables()
    nearest = float(table.energies_kev[np.argmin(np.abs(table.energies_kev - 80.0))])
    basis_cm = np.array(per_mm("glass"), np.float32).reshape(3, 1, 1) * 10
    fractions, density = make_tables.RECIPES["glass"]
    expected = density * make_tables.mass_attenuation(fractions, np.array([nearest]))[0]
    assert float(grey(basis_cm)[0, 0]) == pytest.approx(expected, rel=0.01)


def test_an_unknown_material_is_named() -> None:
    with pytest.raises(ConfigError, match="found vibranium"):
        tables().index("vibranium")
