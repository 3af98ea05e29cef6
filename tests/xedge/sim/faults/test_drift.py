"""A detector that drifts: how far, how fast, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.sim.faults.drift import Drift, DriftingSource
from xedge.types import AIR_COUNTS, Strip

ELEMENTS = 32
DARK, AIR = 900.0, 40_000.0


def correction() -> FlatField:
    shape = (2, ELEMENTS)
    return FlatField(np.full(shape, DARK, np.float32),
                     np.full(shape, AIR_COUNTS / AIR, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def shown(drift: Drift, share: float, lines: int = 200) -> np.ndarray:
    """What the correction as made shows of lines that let a share through, both energies."""
    counts = np.full((10, ELEMENTS), DARK + AIR * share).round().astype(np.uint16)
    strips = [Strip(k, np.arange(k, k + 10), counts, counts, k) for k in range(0, lines, 10)]
    source = DriftingSource(strips, correction(), drift)
    drifted = list(source)
    assert source.lines == lines
    assert [s.first_line for s in drifted] == [s.first_line for s in strips]
    return np.stack([
        np.concatenate([(getattr(s, name) - DARK) / AIR for s in drifted])
        for name in ("low", "high")
    ])  # fmt: skip


def test_gain_and_dark_drift_by_what_is_said_and_stay() -> None:
    drift = Drift(lines=100, gain=(-0.02, 0.01), dark=(0.003, -0.001), spread=0.0)
    for share in (0.0, 0.5, 1.0):
        low, high = shown(drift, share)
        part = np.minimum(np.arange(200) / 100, 1.0)[:, None]
        # Counts are whole: half a one is 1.3e-5 of air, and twice as it came from one.
        np.testing.assert_allclose(low, share + (0.003 - 0.02 * share) * part + 0 * low, atol=3e-5)
        np.testing.assert_allclose(high, share + (0.01 * share - 0.001) * part + 0 * low, atol=3e-5)


def test_elements_drift_by_different_amounts() -> None:
    (low, _) = shown(Drift(lines=100, gain=(-0.02, 0.0), spread=0.5), 1.0)
    assert low[-1].min() == pytest.approx(0.98, abs=5e-4)
    assert low[-1].max() == pytest.approx(0.99, abs=5e-4)


@pytest.mark.parametrize("wrong", [{"lines": 0}, {"lines": 5, "gain": (-1.0, 0.0)},
                                   {"lines": 5, "spread": 1.5}])  # fmt: skip
def test_a_drift_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="cannot drift"):
        Drift(**wrong)
