"""The flat field of a simulated scanner, from runs that it makes itself."""

from __future__ import annotations

from xedge.scanner.flatfield import FlatField
from xedge.sim.physics import ScannerModel

RUN_LINES = 256
"""Lines of the dark and of the air run behind a flat field, a second of a slow belt."""


def flat_field(scanner: ScannerModel, dark_seed: int, air_seed: int) -> FlatField:
    """The correction of a simulated scanner, from a dark and an air run of `RUN_LINES` lines.

    Args:
        scanner: The scanner; its fixed pattern has a seed of its own.
        dark_seed: Seed of the noise of the dark run.
        air_seed: Seed of the noise of the air run.
    """
    return FlatField.from_runs(
        *scanner.dark_run(RUN_LINES, dark_seed), *scanner.air_run(RUN_LINES, air_seed)
    )
