"""What happens to a lane, and what it asks for: the whole vocabulary of its core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xedge.lane.config import FULL, LaneConfig
from xedge.scanner.intake import Refusal
from xedge.types import U8, Decision, Detections, Reason, Scan, Strip

NEVER_NS = 2**63
"""A moment later than all."""


@dataclass(frozen=True, eq=False)
class StripArrived:
    """The detector gave a strip."""

    strip: Strip


@dataclass(frozen=True)
class LinesLost:
    """Lines came in and were lost before the core saw them."""

    lines: int
    cause: Refusal


@dataclass(frozen=True, eq=False)
class WindowDone:
    """The engine has screened a window; boxes are in pixels of its planes.

    Attributes:
        bag: Number of the bag.
        index: Number of the window in the bag.
        detections: What was found.
        rung: What screened it: `FULL`, or the name of a `ladder.Rung` below.
    """

    bag: int
    index: int
    detections: Detections
    rung: str = FULL


@dataclass(frozen=True)
class WindowFailed:
    """A window was not screened.

    Attributes:
        bag: Number of the bag.
        index: Number of the window in the bag.
        error: Why, in words.
        reason: ENGINE_FAILED, or TIMEOUT when no time was left for it.
    """

    bag: int
    index: int
    error: str
    reason: Reason = Reason.ENGINE_FAILED


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class BeltRunning:
    """The belt's drive says whether it runs; without it, only strips tell that a belt stands."""

    running: bool


@dataclass(frozen=True)
class SourceEnded:
    """No more strips will come; ``error`` says why when that was not planned."""

    error: str = ""


@dataclass(frozen=True)
class Interrupted:
    """A person stops the lane: every open bag is decided now, and no window answered any more."""


@dataclass(frozen=True)
class Retuned:
    """A person sets the alarm threshold anew; bags not decided yet are decided by it.

    Raises:
        ConfigError: When it is not above 0 and up to 1.
    """

    alarm_threshold: float

    def __post_init__(self) -> None:
        LaneConfig(alarm_threshold=self.alarm_threshold)  # checks it


Event = (
    StripArrived
    | LinesLost
    | WindowDone
    | WindowFailed
    | Tick
    | BeltRunning
    | SourceEnded
    | Interrupted
    | Retuned
)


@dataclass(frozen=True, eq=False)
class RunWindow:
    """Screen these planes; answer with one `WindowDone` or `WindowFailed`.

    Attributes:
        bag: Number of the bag.
        index: Number of the window in the bag, from 0.
        start: First line of the window in the scan.
        planes: uint8 ``[3, h, w]``.
        due_ns: When the bag will be late, at the earliest, on the lane's clock; `Due` corrects it.
    """

    bag: int
    index: int
    start: int
    planes: U8
    due_ns: int = NEVER_NS


@dataclass(frozen=True)
class Due:
    """The windows of this bag are due at another moment than was said: the belt's pace changed."""

    bag: int
    due_ns: int


@dataclass(frozen=True)
class Cancel:
    """The windows of this bag need not be screened any more; each is answered all the same."""

    bag: int


@dataclass(frozen=True, eq=False)
class Emit:
    """Publish a decision: the only one there will ever be for its bag.

    Attributes:
        decision: The decision.
        scan: The corrected lines it is about; None when the lane was too full to keep them.
    """

    decision: Decision
    scan: Scan | None


@dataclass(frozen=True)
class Note:
    """A record for the journal."""

    kind: str
    fields: Mapping[str, int | float | str]


Order = RunWindow | Due | Cancel
"""What concerns the engine."""

Action = Order | Emit | Note
