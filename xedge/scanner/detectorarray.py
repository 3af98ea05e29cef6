"""One detector as a lane uses it: its tube, the correction in force, its faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from xedge.scanner.flatfield import FlatField, Mask
from xedge.scanner.follow import CorrectionNews, FollowConfig, Follower
from xedge.scanner.health import DetectorHealth, DetectorMonitor
from xedge.scanner.reference import ReferenceElements
from xedge.scanner.tube import TubeWatch
from xedge.types import F32, U16


class DetectorArray:
    """Corrects the lines of one detector, and follows it. Deterministic, without clock or I/O.

    Args:
        flat_field: The correction as it was made.
        config: How it follows.

    Raises:
        ConfigError: When the reference elements cannot be used.
    """

    def __init__(self, flat_field: FlatField, config: FollowConfig) -> None:
        self.elements = flat_field.elements
        self._config = config
        self._reference = None
        if config.reference:
            self._reference = ReferenceElements(flat_field, config.reference)
        self._tube = TubeWatch(flat_field)
        self._monitor = DetectorMonitor(flat_field)
        self._follower = Follower(flat_field, config)
        # Saturated air says nothing of the gain of single elements: there is nothing to follow.
        self._knows_air = max(flat_field.saturated_share) == 0

    @property
    def flat_field(self) -> FlatField:
        """The correction in force."""
        return self._follower.flat_field

    @property
    def fault(self) -> bool:
        """True while more neighbours fail, or read too much, than interpolation can bridge."""
        return self._monitor.fault or self._follower.fault

    def health(self) -> DetectorHealth:
        """What has been found so far."""
        seen = self._monitor.health()
        low, high = (a * b for a, b in zip(seen.air, self._follower.air, strict=True))
        return replace(seen, air=(low, high), version=self._follower.version,
                       wanted=self._follower.wanted, fault=self.fault)  # fmt: skip

    def levels(self, low: U16, high: U16) -> F32 | None:
        """What the tube gives in each raw line, as of `ReferenceElements.levels`; None if unknown.

        Read once, and handed on to everything that is asked about these lines.
        """
        return None if self._reference is None else self._reference.levels(low, high)

    def unlit(self, low: U16, high: U16, levels: F32 | None) -> Mask | None:
        """Raw lines that no X-rays or too few made, bool ``[n]``; None when all are lit."""
        unlit = self._tube.unlit(low, high, levels)
        if unlit is not None:
            self._follower.disturbed()
            if self._config.dark:
                self._follow(self._follower.dark, low, high)
        elif self._config.dark:
            self._follower.lit()
        return unlit

    def correct(self, low: U16, high: U16, levels: F32 | None) -> tuple[U16, U16]:
        """Corrected and repaired lines from raw ones, as of `DetectorMonitor.correct`."""
        return self._monitor.correct(low, high, levels)

    def seen_again(self, low: U16, high: U16, levels: F32 | None) -> U16:
        """Corrected low-energy lines of places that were scanned before; nothing is learned."""
        corrected, _ = self.flat_field.apply(low, high, levels)
        return corrected

    def idle(self, low: U16, high: U16, levels: F32 | None) -> None:
        """Learn from raw lines without a bag."""
        if self._knows_air:
            self._follow(lambda a, b: self._follower.idle(a, b, levels), low, high)

    def disturbed(self) -> None:
        """A bag is under the beam, or lines are missing: what is near is not learned from."""
        self._follower.disturbed()

    def news(self) -> list[CorrectionNews]:
        """What has become of the correction since this was last asked."""
        news, self._follower.news = self._follower.news, []
        return news

    def _follow(self, learn: Callable[[U16, U16], None], low: U16, high: U16) -> None:
        version = self._follower.version
        learn(low, high)
        if self._follower.version != version:
            self._monitor.replace(self.flat_field)
