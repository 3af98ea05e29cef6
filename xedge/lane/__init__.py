"""The streaming runtime of one belt: exactly one decision a bag, every line accounted for."""

from xedge.lane.config import LaneConfig
from xedge.lane.journal import Journal, read_journal
from xedge.lane.report import LaneReport
from xedge.lane.runner import run_lane

__all__ = ["Journal", "LaneConfig", "LaneReport", "read_journal", "run_lane"]
