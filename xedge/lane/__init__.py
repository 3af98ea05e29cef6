"""The streaming runtime of belts: exactly one decision a bag, every line accounted for."""

from xedge.lane.config import LaneConfig
from xedge.lane.journal import Journal, read_journal
from xedge.lane.ladder import Rung
from xedge.lane.report import LaneReport
from xedge.lane.runner import Belt, run_lane, run_lanes

__all__ = [
    "Belt",
    "Journal",
    "LaneConfig",
    "LaneReport",
    "Rung",
    "read_journal",
    "run_lane",
    "run_lanes",
]
