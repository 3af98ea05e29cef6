"""The physics against a real step wedge: 250 steps of aluminium and lucite, dual energy.

The wedge was measured with a flat panel in a laboratory, with a tube setting that is not
known, so absolute attenuation cannot be compared. Two things can. First, whether *some*
non-negative spectrum makes the sum that the simulator computes, with its own attenuation
tables, give the measured counts: fitted on every other step, it must predict the steps left
out to about what the wedge repeats itself, and wrong materials must not. Second, what every
polychromatic beam does: more matter always takes more, each further step takes less, and
aluminium has a higher ratio of low to high than lucite.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from xedge.sim.materials import tables
from xedge.sim.physics import ScannerModel

F64 = npt.NDArray[np.float64]

HIGH, LOW = "fff086", "fff087"
SATURATED = 64_000
DATA = Path(os.environ.get("XEDGE_DATA", "")) / "dual-energy-lab" / "data_for_making_fits.mat"

pytestmark = pytest.mark.skipif(
    "XEDGE_DATA" not in os.environ or not DATA.is_file(),
    reason="needs dual-energy-lab in the folder that XEDGE_DATA names",
)


@pytest.fixture(scope="module")
def wedge() -> dict[str, F64]:
    scipy_io = pytest.importorskip("scipy.io")
    raw = scipy_io.loadmat(DATA)
    return {
        "aluminium": raw["vector_al"][:, 0],
        "lucite": raw["vector_lu"][:, 0],
        **{name: raw[name][:, 2] for name in (HIGH, LOW, "fff088", "fff089", "fff090")},
    }


def steps(wedge: dict[str, F64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number of the step in aluminium (0.16 cm each) and in lucite (0.8 cm each)."""
    a = np.rint(wedge["aluminium"] / 0.16).astype(np.int64)
    b = np.rint(wedge["lucite"] / 0.8).astype(np.int64)
    return a, b


def repeatability(wedge: dict[str, F64], setting: str) -> float:
    """Standard deviation of the log of the count between places of equal thickness."""
    a, b = steps(wedge)
    place = a * 100 + b
    logs = np.log(wedge[setting])
    usable = wedge[setting] < SATURATED
    squares, freedom = 0.0, 0
    for key in np.unique(place[usable]):
        group = logs[usable & (place == key)]
        squares += float(((group - group.mean()) ** 2).sum())
        freedom += group.size - 1
    return float(np.sqrt(squares / freedom))


def prediction_error(
    wedge: dict[str, F64], setting: str, wrong: dict[str, float] | None = None
) -> float:
    """Root mean square of the log error on the steps a spectrum was not fitted to."""
    nnls = pytest.importorskip("scipy.optimize").nnls
    table, wrong = tables(), wrong or {}
    line = sum(
        np.outer(wedge[name] * wrong.get(name, 1.0), table.linear_per_cm[table.index(name)])
        for name in ("aluminium", "lucite")
    )
    usable = wedge[setting] < SATURATED
    through, counts = np.exp(-line)[usable], wedge[setting][usable]
    a, b = steps(wedge)
    fitted = ((a + b) % 2 == 0)[usable]
    spectrum, _ = nnls(through[fitted] / counts[fitted, None], np.ones(fitted.sum()))
    errors = np.log(through[~fitted] @ spectrum / counts[~fitted])
    return float(np.sqrt((errors**2).mean()))


@pytest.mark.parametrize("setting", [HIGH, LOW, "fff088", "fff089", "fff090"])
def test_a_spectrum_exists_under_which_our_tables_give_the_wedge(
    wedge: dict[str, F64], setting: str, record_property: Callable[[str, object], None]
) -> None:
    error, noise = prediction_error(wedge, setting), repeatability(wedge, setting)
    record_property(f"{setting}: held-out error, repeatability", (error, noise))
    # Counts span a factor of 70. Twice what the wedge itself repeats to leaves the scatter
    # in the laboratory, which the sum has no term for, as large as the repeatability times 1.7.
    assert error < 2 * noise


@pytest.mark.parametrize("setting", [HIGH, LOW])
@pytest.mark.parametrize("wrong", [{"lucite": 1.2}, {"lucite": 0.8}, {"aluminium": 1.5}])
def test_tables_that_are_wrong_do_not(
    wedge: dict[str, F64], setting: str, wrong: dict[str, float]
) -> None:
    assert prediction_error(wedge, setting, wrong) > 2 * repeatability(wedge, setting)


def measured(wedge: dict[str, F64], setting: str) -> F64:
    """Line integrals ``[13, 11]`` over aluminium and lucite steps, NaN where saturated."""
    a, b = steps(wedge)
    grid = np.full((13, 11), np.nan)
    for i in range(13):
        for j in range(11):
            here = wedge[setting][(a == i) & (b == j)]
            if here.size and here.mean() < SATURATED:
                grid[i, j] = -np.log(here.mean() / 65535)
    return grid


def simulated() -> tuple[F64, F64]:
    """The same grid from the simulator, low and high."""
    table = tables()
    aluminium, lucite = np.meshgrid(np.arange(13) * 0.16, np.arange(11) * 0.8, indexing="ij")
    coefficients = table.coefficients
    basis = (
        coefficients[table.index("aluminium")][:, None, None] * aluminium
        + coefficients[table.index("lucite")][:, None, None] * lucite
    )
    low, high, _, _ = ScannerModel().transmission(basis.astype(np.float32))
    return -np.log(low.astype(np.float64)), -np.log(high.astype(np.float64))


def test_monotonic_and_concave_as_measured(wedge: dict[str, F64]) -> None:
    tolerance = {LOW: 0.08, HIGH: 0.04}
    for grid, slack in (
        (measured(wedge, LOW), tolerance[LOW]),
        (measured(wedge, HIGH), tolerance[HIGH]),
        *((grid, 0.0) for grid in simulated()),
    ):
        for axis in (0, 1):
            rise = np.diff(grid, axis=axis)
            assert (rise[np.isfinite(rise)] > 0).all()
        # Beam hardening: five steps of aluminium take less behind 1.12 cm of it than at once,
        # and behind 8 cm of lucite less than behind 3.2 cm. Slack: three standard errors of a
        # difference of places (repeatability 2.6 % and 1.3 %).
        assert (grid[12, 4:] - grid[7, 4:] < grid[5, 4:] - grid[0, 4:] + slack).all()
        early = grid[5, 4] - grid[0, 4]
        assert grid[5, 9] - grid[0, 9] < early + slack


def slopes(low: F64, high: F64) -> tuple[float, float]:
    """Ratio of low to high of aluminium and of lucite, as slopes where neither saturates."""
    aluminium = (low[5, 3:] - low[0, 3:]) / (high[5, 3:] - high[0, 3:])
    lucite = (low[:4, 8] - low[:4, 3]) / (high[:4, 8] - high[:4, 3])
    return float(aluminium.mean()), float(lucite.mean())


def test_aluminium_stands_above_lucite_as_measured(
    wedge: dict[str, F64], record_property: Callable[[str, object], None]
) -> None:
    laboratory = slopes(measured(wedge, LOW), measured(wedge, HIGH))
    ours = slopes(*simulated())
    record_property("low/high of aluminium and lucite, laboratory", laboratory)
    record_property("low/high of aluminium and lucite, simulator", ours)
    assert laboratory[0] > 1.3 * laboratory[1]
    assert ours[0] > 1.3 * ours[1]
