"""What is said of a bag, and why: the only place where CLEAR is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from xedge.lane.bag import Bag
from xedge.lane.config import FAILED, LaneConfig
from xedge.scanner import windows
from xedge.scanner.intake import Refusal
from xedge.types import Decision, Detections, Reason, Verdict

WORST_FIRST = (
    Reason.TIMEOUT,
    Reason.USER_INTERRUPT,
    Reason.OVERLOAD,
    Reason.ENGINE_FAILED,
    Reason.DETECTOR_FAULT,
    Reason.BELT_REVERSED,
    Reason.BAD_LINES,
    Reason.INCOMPLETE_SCAN,
    Reason.OVERSIZE_BAG,
    Reason.CLIPPED_BAG,
)
"""Of several reasons, the first in this order is the decision's `reason`."""

HOLE_REASON = {
    Refusal.WRONG_WIDTH: Reason.BAD_LINES,
    Refusal.DAMAGED: Reason.BAD_LINES,
    Refusal.REPEATED: Reason.BAD_LINES,
    Refusal.REVERSED: Reason.BAD_LINES,
    Refusal.TUBE_OFF: Reason.DETECTOR_FAULT,
    Refusal.QUEUE_FULL: Reason.OVERLOAD,
}
"""What refused lines say of the bag they belong to; a belt that stands, or runs back and comes
again, harms none."""


def decide(
    bag: Bag, config: LaneConfig, columns: Sequence[slice], *, late: bool, now_ns: int
) -> Decision:
    """The decision about a bag, made of what its windows have answered by now.

    Args:
        bag: The bag.
        config: The set-up of its lane.
        columns: The elements of each view in a line.
        late: True when its deadline has passed.
        now_ns: The time, on the lane's clock.
    """
    views = [_found(bag, config, k, columns) for k in range(len(columns))]
    found = views[0] if len(views) == 1 else Detections.concatenate(views)
    ladder = tuple(bag.rungs.get(k, "") for k in range(bag.windows))
    reasons = set(bag.reasons)
    if late or not set(bag.rungs.values()) <= {FAILED, *config.clear_by}:
        reasons.add(Reason.TIMEOUT)
    verdict = _verdict(found, reasons, config.alarm_threshold, late)
    reason = next((r for r in WORST_FIRST if r in reasons), Reason.NONE)
    return Decision(
        bag=bag.number,
        verdict=verdict,
        reason=reason if verdict is Verdict.NOT_CLEARED else Reason.NONE,
        encoder_head=config.direction * bag.head_encoder,
        encoder_tail=config.direction * bag.tail_encoder,
        detections=found,
        latency_ns=max(0, now_ns - bag.tail_ns),
        late=late,
        reasons=frozenset(reasons),
        ladder=ladder,
    )


def _found(bag: Bag, config: LaneConfig, view: int, columns: Sequence[slice]) -> Detections:
    """What one view shows, in elements of all views and lines of the scan."""
    found = windows.merge(
        [(bag.starts[k], bag.parts[k]) for k in sorted(bag.parts) if k % len(columns) == view],
        config.windows,
        max(1, bag.lines),
        config.nms_iou,
        columns[view].stop - columns[view].start,
    )
    if not view:
        return found
    boxes = found.boxes.copy()
    boxes[:, ::2] += np.float32(columns[view].start)
    return Detections(boxes, found.scores, found.labels)


def _verdict(
    found: Detections, reasons: Collection[Reason], alarm_threshold: float, late: bool
) -> Verdict:
    if late:
        return Verdict.NOT_CLEARED
    if len(found) and float(found.scores[0]) >= alarm_threshold:
        return Verdict.ALARM
    return Verdict.NOT_CLEARED if reasons else Verdict.CLEAR
