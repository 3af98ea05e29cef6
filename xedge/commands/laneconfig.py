"""How a lane is set up: by its file, by its model, and by what its source needs."""

from __future__ import annotations

from dataclasses import replace

from xedge.bundle import Bundle
from xedge.commands.lanefile import LaneFile
from xedge.commands.sources import Feed
from xedge.errors import ConfigError
from xedge.lane.config import LaneConfig
from xedge.scanner.sidebyside import SideBySide
from xedge.spec import ModelSpec


def pitch_mm(spec: ModelSpec) -> float:
    """Belt from one line to the next that a model was made for."""
    return spec.pixel_mm / spec.binning


def lane_config(file: LaneFile, feed: Feed, model: Bundle) -> LaneConfig:
    """The set-up of the lane of a file.

    Raises:
        ConfigError: When something in it cannot be used with this model, or this detector.
    """
    config = LaneConfig.for_model(
        model.spec,
        counts_per_mm=feed.counts_per_mm,
        deadline_mm=file.lane.deadline_mm,
        bag_limit_s=file.lane.bag_limit_s,
    )
    changes = {"correction": file.correction, **feed.changes}
    config = replace(config, clear_by=file.ladder.clearing, **changes)
    SideBySide(feed.flat_field, config.correction)  # raises, when there are no such elements
    threshold, least = file.lane.alarm_threshold, model.spec.score_threshold
    if threshold is None:
        return config
    if threshold < least:  # detections below are dropped before the lane sees them
        raise ConfigError("alarm_threshold lies below the model's score threshold",
                          expected=f"{least} or more", found=str(threshold))  # fmt: skip
    return replace(config, alarm_threshold=threshold)
