from __future__ import annotations

import numpy as np

from xedge.scanner.flatfield import FlatField
from xedge.sim.correction import RUN_LINES, flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import AIR_COUNTS


def test_it_is_the_correction_of_the_scanners_own_runs() -> None:
    scanner = ScannerModel()
    field = flat_field(scanner, 1, 2)
    runs = (*scanner.dark_run(RUN_LINES, 1), *scanner.air_run(RUN_LINES, 2))
    assert np.array_equal(field.gain, FlatField.from_runs(*runs).gain)
    low, high = field.apply(*scanner.air_run(64, 3))
    assert np.allclose([low.mean(), high.mean()], AIR_COUNTS, rtol=0.01)
