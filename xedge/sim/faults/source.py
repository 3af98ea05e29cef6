"""A source of strips with faults in it, each at a moment that a seed decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from xedge.errors import ConfigError
from xedge.sim.faults.engine import EngineFault
from xedge.sim.faults.lines import LineFault
from xedge.sim.faults.tape import Severity, Tape
from xedge.types import Strip

Fault = LineFault | EngineFault


class FaultySource:
    """Strips of another source, with a fault now and then.

    The faults are dealt from a shuffled deck, so that each comes as often as the others; a fault
    waits for a spot where enough of one bag is still to come.

    Args:
        strips: The source; sound, its counters without a gap.
        faults: What may happen; none leaves the source as it is.
        seed: Of the moments, and of what the faults draw.
        every: Strips from one fault to the next, at least and at most.
        counts_per_line: Encoder counts from one line to the next.
        severity: How long faults last.
        ahead: Strips of the bag under the beam that are still to come, where somebody knows.
        arm: Takes the faults of the engine; see `FaultyScreen.arm`.

    Attributes:
        tape: The books: what was touched, and what the ledger must say.
        struck: Faults that have happened, by name; an engine's when it was armed.

    Raises:
        ConfigError: When there are faults of an engine and nothing takes them.
    """

    def __init__(
        self,
        strips: Iterable[Strip],
        faults: Sequence[Fault],
        *,
        seed: int,
        every: tuple[int, int] = (120, 900),
        counts_per_line: float = 1.0,
        severity: Severity | None = None,
        ahead: Callable[[], int] = lambda: 2**31,
        arm: Callable[[EngineFault], None] | None = None,
    ) -> None:
        if arm is None and any(isinstance(fault, EngineFault) for fault in faults):
            raise ConfigError("faults of the engine need an engine that takes them",
                              remedy="Wrap the screen in a FaultyScreen, and hand over its arm"
                              )  # fmt: skip
        self.tape = Tape(strips, counts_per_line, severity)
        self.struck: dict[str, int] = {fault.name: 0 for fault in faults}
        self._faults, self._every = tuple(faults), every
        self._ahead, self._arm = ahead, arm
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def __iter__(self) -> Iterator[Strip]:
        deck: list[Fault] = []
        wait = self._pause()
        while True:
            if wait > 0 or not self._faults:
                strip = self.tape.take()
                if strip is None:
                    return
                wait -= 1
                yield self._counted(strip)
                continue
            if not deck:
                deck = [self._faults[k] for k in self._rng.permutation(len(self._faults))]
            fault = deck[-1]
            if self._ahead() < (fault.strips if isinstance(fault, LineFault) else 1):
                wait = 1
                continue
            deck.pop()
            self.struck[fault.name] += 1
            wait = self._pause()
            if isinstance(fault, LineFault):
                yield from map(self._counted, fault.strike(self.tape, self._rng))
            elif self._arm is not None:
                self._arm(fault)

    def _pause(self) -> int:
        return int(self._rng.integers(self._every[0], self._every[1] + 1))

    def _counted(self, strip: Strip) -> Strip:
        self.tape.expected.lines += len(strip)
        return strip
