"""What a bundle states of quiet windows: how low the first pass must score for nothing to be lost.

A statement holds for the detections of a score and above. There may be several: one for whoever
wants every detection that the model reports, one for whoever asks for alarms alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xedge.errors import BundleError


@dataclass(frozen=True)
class Quiet:
    """One statement.

    Attributes:
        keeps: Score of the detections that are kept: no window with one of it or more stops.
        below: A window whose largest first-pass class score lies below stops after that pass.
    """

    keeps: float
    below: float

    def __post_init__(self) -> None:
        if not (0.0 < self.keeps <= 1.0 and 0.0 < self.below <= 1.0):
            raise BundleError(
                "what a bundle says of quiet windows cannot be used",
                expected="scores above 0, up to 1",
                found=f"keeps {self.keeps}, below {self.below}",
            )


def below_for(stated: Iterable[Quiet], least: float | None) -> float | None:
    """Score below which a window may stop; None where every window must be refined.

    Args:
        stated: What the bundle states.
        least: Score of the least detection that is wanted; None for somebody who wants all.
    """
    fits = [one.below for one in stated if least is not None and one.keeps <= least]
    return max(fits, default=None)
