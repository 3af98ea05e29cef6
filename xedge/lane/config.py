"""How a lane is set up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from xedge.errors import ConfigError
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.follow import FollowConfig
from xedge.scanner.intake import COUNTER_PERIOD
from xedge.scanner.windows import WindowPlan
from xedge.spec import ModelSpec

FULL = "full"
"""The name of the highest rung of every ladder: the model that a lane was given."""


SKIPPED = "skipped"
"""In the place of a rung's name: no time was left for the window."""

FAILED = "failed"
"""In the place of a rung's name: the engine failed at the window."""


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """What a lane's decisions depend on beside the model and the detector's correction.

    Attributes:
        pitch_mm: Belt from one line to the next, millimetres.
        counts_per_mm: Encoder counts per millimetre of belt.
        direction: 1, or -1 for an encoder that counts down while the belt runs forward.
        encoder_period: Counts after which the encoder starts anew; what it is for a counter of 32
            bits suits a wider one as well.
        view_offsets: Counts of belt by which each of several views sees a place after the first
            one does; empty when all see it at once.
        deadline_counts: Encoder counts from a bag's last line to the place where its decision is
            needed; the default is a metre of belt.
        bag_limit_s: Seconds from a bag's first line within which it must be decided, whatever the
            encoder says: a stuck encoder looks like a stopped belt. Time in which the belt's drive
            says that it stands does not count.
        alarm_threshold: A bag with a detection of this score or a better one is an ALARM.
        clear_by: The rungs of the ladder (`ladder.Rung`) that may clear a bag; a bag with a window
            that was screened by another one is NOT_CLEARED, TIMEOUT, unless it alarms.
        nms_iou: Overlap above which the weaker of two boxes of one class is dropped.
        windows: How scans are cut into windows; must fit the model.
        cutter: How bags are told from air.
        correction: How the detector's correction follows it; by default it does not.
        max_open_bags: Bags that may wait for their decision; more are NOT_CLEARED, OVERLOAD.
        max_queued_windows: Windows that may wait for the engine or run; a bag that would need
            more is NOT_CLEARED, OVERLOAD.
        max_queued_strips: Strips that may wait for the lane in real time; more are lost, and
            counted.

    Raises:
        ConfigError: When a number cannot be.
    """

    pitch_mm: float = 0.62
    counts_per_mm: float = 1 / 0.62
    direction: int = 1
    encoder_period: int = COUNTER_PERIOD
    view_offsets: tuple[int, ...] = ()
    deadline_counts: int = 1613
    bag_limit_s: float = 60.0
    alarm_threshold: float = 0.4
    clear_by: tuple[str, ...] = (FULL,)
    nms_iou: float = 0.6
    windows: WindowPlan = field(default_factory=WindowPlan)
    cutter: CutterConfig = field(default_factory=CutterConfig)
    correction: FollowConfig = field(default_factory=FollowConfig.off)
    max_open_bags: int = 8
    max_queued_windows: int = 16
    max_queued_strips: int = 64

    def __post_init__(self) -> None:
        for name in ("pitch_mm", "counts_per_mm", "bag_limit_s", "deadline_counts"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(
                    f"a lane's {name} cannot be used", expected="above 0", found=str(value)
                )
        for name in ("alarm_threshold", "nms_iou"):
            if not 0 < float(getattr(self, name)) <= 1:
                raise ConfigError(f"a lane's {name} cannot be used", expected="above 0, up to 1",
                                  found=str(getattr(self, name)))  # fmt: skip
        for name in ("max_open_bags", "max_queued_windows", "max_queued_strips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"a lane's {name} cannot be used", expected="1 or more")
        if self.direction not in (1, -1):
            raise ConfigError("a lane's direction cannot be used", expected="1 or -1",
                              found=str(self.direction))  # fmt: skip
        if self.encoder_period < 2 * self.cutter.max_bag_lines * self.counts_per_line:
            raise ConfigError(
                "a lane's encoder_period cannot be used",
                expected="at least twice the longest bag, in counts",
                found=str(self.encoder_period),
            )
        if FULL not in self.clear_by or not all(self.clear_by):
            raise ConfigError("a lane's clear_by cannot be used",
                              expected=f"{FULL}, and the names of other rungs",
                              found=repr(self.clear_by))  # fmt: skip

    @staticmethod
    def for_model(
        spec: ModelSpec,
        *,
        counts_per_mm: float = 1 / 0.62,
        deadline_mm: float = 1000.0,
        bag_limit_s: float = 60.0,
        cutter: CutterConfig | None = None,
        clear_by: tuple[str, ...] = (FULL,),
    ) -> LaneConfig:
        """The set-up that fits a model: its windows, thresholds and pixel size."""
        return LaneConfig(
            pitch_mm=spec.pixel_mm / spec.binning,
            counts_per_mm=counts_per_mm,
            deadline_counts=round(deadline_mm * counts_per_mm),
            bag_limit_s=bag_limit_s,
            alarm_threshold=spec.alarm_threshold,
            nms_iou=spec.nms_iou,
            windows=WindowPlan.for_model(spec),
            cutter=cutter or CutterConfig(),
            clear_by=clear_by,
        )

    @property
    def counts_per_line(self) -> float:
        """Encoder counts from one line to the next."""
        return self.counts_per_mm * self.pitch_mm

    @property
    def bag_limit_ns(self) -> int:
        """`bag_limit_s` in nanoseconds."""
        return round(self.bag_limit_s * 1e9)
