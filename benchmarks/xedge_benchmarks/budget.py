"""How long a measurement may take, and what its record says when that was too short for all of it.

What is cut short ends between two rounds, queries or points: everything that was measured by then
stands in the record, which says how far it came.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Budget:
    """Seconds from now on; none set no end.

    Attributes:
        seconds: That may pass; None for as long as it takes.
        began: When they began, by the monotonic clock.
        whole: Seconds that they are a part of; None where they are a whole.
    """

    seconds: float | None = None
    began: float = field(default_factory=time.monotonic)
    whole: float | None = None

    def over(self) -> bool:
        """Whether they have passed."""
        return self.left <= 0

    @property
    def left(self) -> float:
        """Seconds that are left; infinitely many where there is no end."""
        if self.seconds is None:
            return math.inf
        return max(0.0, self.seconds - (time.monotonic() - self.began))

    def part(self, of: int) -> Budget:
        """A fair share of what is left, from now on, where so many things are still to be done."""
        if self.seconds is None:
            return self
        return Budget(self.left / of, whole=self.whole or self.seconds)

    @property
    def no_time(self) -> str:
        """Why something was not begun at all."""
        return f"no time was left of {self.whole or self.seconds:g} s"

    def stopped(self, what: str, done: int, wanted: int) -> tuple[str, ...]:
        """The note of a record that has less of something than was asked for; none otherwise.

        >>> Budget(30).stopped("rounds", 12, 20), Budget(30).stopped("rounds", 20, 20)
        (('stopped after 12 of 20 rounds: 30 s had passed',), ())
        """
        if done >= wanted or self.seconds is None:
            return ()
        share = f", its share of {self.whole:g}," if self.whole else ""
        return (f"stopped after {done} of {wanted} {what}: {self.seconds:.3g} s{share} had passed",)
