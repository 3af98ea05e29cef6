"""Faults that ship with the simulator: of lines, encoder, tube and clock, and of the engine.

Each has a name and says what must come of it; `source.FaultySource` and `engine.FaultyScreen`
put them around a lane's source and its engine, at moments that a seed decides.
"""

from xedge.sim.faults.drift import Drift, DriftingSource
from xedge.sim.faults.engine import ENGINE_FAULTS, EngineFault, FaultyScreen
from xedge.sim.faults.lines import LINE_FAULTS, LineFault
from xedge.sim.faults.source import Fault, FaultySource
from xedge.sim.faults.tape import Expected, Severity, Tape, Touch

__all__ = [
    "ENGINE_FAULTS",
    "LINE_FAULTS",
    "Drift",
    "DriftingSource",
    "EngineFault",
    "Expected",
    "Fault",
    "FaultyScreen",
    "FaultySource",
    "LineFault",
    "Severity",
    "Tape",
    "Touch",
]
