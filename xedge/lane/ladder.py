"""What screens a window when time runs short: the full model, a quicker one, or nothing.

    full model -> a lower rung -> a lower one -> not screened: NOT_CLEARED, TIMEOUT

The choice is a pure function of the time left, of what waits, and of how long each rung took
lately. It is made at the moment when the engine turns to the window, written down in the bag's
`Decision.ladder`, and may be handed in instead, so that a recorded run can be repeated.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xedge.errors import ConfigError
from xedge.lane.clock import Clock
from xedge.lane.config import FAILED, FULL, SKIPPED
from xedge.lane.events import Note, RunWindow, WindowDone, WindowFailed
from xedge.lane.publisher import Screen, screen_window
from xedge.lane.selftest import Tended, stopped_by
from xedge.types import U8, Detections, Reason

REMEMBERED = 32
"""Calls of a rung that its estimates are made of."""

PATIENCE = 8
"""One remembered call is forgotten for so many windows at which the rung was passed over: what was
slow once is tried again, after a few hundred windows at the latest."""

NO_TIME = "skipped: no time was left for it"


@dataclass(frozen=True)
class Rung:
    """A quicker way to screen a window than the full model.

    Attributes:
        name: A word, as ``first-pass``; it is written into decisions.
        screen: What finds objects in a window's planes.

    Raises:
        ConfigError: When the name is empty or that of the full model.
    """

    name: str
    screen: Screen

    def __post_init__(self) -> None:
        taken = (FULL, SKIPPED, FAILED)
        if not self.name or self.name in taken:
            raise ConfigError("a rung of the ladder needs a name of its own",
                              expected=f"a word, and none of {', '.join(taken)}",
                              found=repr(self.name))  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What a window needs, at the moment when the engine turns to it.

    Attributes:
        left_ns: Time until its bag is late.
        windows: Windows of the bag that are not answered, this one among them.
        others: True when windows of other bags wait.
    """

    left_ns: int
    windows: int = 1
    others: bool = False


class StageTimes:
    """How long each rung takes, by its last `REMEMBERED` calls.

    Args:
        rungs: Number of rungs.
    """

    def __init__(self, rungs: int) -> None:
        self._calls: list[deque[int]] = [deque(maxlen=REMEMBERED) for _ in range(rungs)]
        self._passed = [0] * rungs

    def __len__(self) -> int:
        """Number of rungs."""
        return len(self._calls)

    def took(self, rung: int, duration_ns: int) -> None:
        """Remember a call."""
        self._calls[rung].append(duration_ns)

    def passed_over(self, rung: int) -> None:
        """A rung was not taken for want of time: what is known of it grows old."""
        self._passed[rung] += 1
        if self._passed[rung] % PATIENCE == 0 and self._calls[rung]:
            self._calls[rung].popleft()

    def most_ns(self, rung: int) -> int:
        """The longest call but one, so that a single stall counts for nothing; 0 while unknown."""
        calls = sorted(self._calls[rung])
        return calls[-2:][0] if calls else 0

    def least_ns(self, rung: int) -> int:
        """The shortest call; 0 while unknown."""
        return min(self._calls[rung], default=0)


Choice = Callable[[RunWindow, Need, StageTimes], int | None]
"""Which rung screens a window, 0 for the full model; None for none."""


def by_time_left(order: RunWindow, need: Need, times: StageTimes) -> int | None:
    """The highest rung that has time for this and for the bag's other windows.

    Where none has, the lowest is tried as long as it might be in time at its quickest, or while
    nothing else waits for the engine. Time spent on a lost bag makes the next one late.
    """
    for rung in range(len(times)):
        if times.most_ns(rung) * need.windows < need.left_ns:
            return rung
    lowest = len(times) - 1
    hopeless = times.least_ns(lowest) >= need.left_ns
    return lowest if need.left_ns > 0 and not (hopeless and need.others) else None


def as_recorded(ladder: Mapping[int, Sequence[str]], names: Sequence[str]) -> Choice:
    """A choice that repeats recorded ones.

    Args:
        ladder: `Decision.ladder` of each bag, by its number; a bag that is missing gets the full
            model.
        names: `Ladder.names` of the ladder that the choice is for.

    Raises:
        ConfigError: When a rung was recorded that the ladder does not have.
    """
    index: dict[str, int | None] = {name: k for k, name in enumerate(names)}
    index |= {SKIPPED: None, FAILED: 0, "": 0}
    for bag, recorded in ladder.items():
        for name in recorded:
            if name not in index:
                raise ConfigError(
                    f"bag {bag} was screened by something that is missing here",
                    expected=", ".join(names), found=name,
                    remedy="Give the lane the models that it had",
                )  # fmt: skip

    def choose(order: RunWindow, need: Need, times: StageTimes) -> int | None:
        recorded = ladder.get(order.bag, ())
        return index[recorded[order.index]] if order.index < len(recorded) else 0

    return choose


class Ladder:
    """Screens windows by the rung that there is time for; one call at a time.

    Args:
        screen: The full model.
        fallbacks: Rungs below it, from the best to the quickest; may be none.
        clock: What calls are measured with.
        choose: The choice of the rung.

    Raises:
        ConfigError: When two rungs have one name.
    """

    def __init__(
        self,
        screen: Screen,
        fallbacks: Sequence[Rung] = (),
        *,
        clock: Clock,
        choose: Choice = by_time_left,
    ) -> None:
        self.names = (FULL, *(rung.name for rung in fallbacks))
        if len(set(self.names)) != len(self.names):
            raise ConfigError("two rungs of a ladder have one name", found=", ".join(self.names))
        self._screens = (screen, *(rung.screen for rung in fallbacks))
        self._tended = tuple(one for one in self._screens if isinstance(one, Tended))
        self._times = StageTimes(len(self.names))
        self._clock, self._choose = clock, choose

    @property
    def call_ns(self) -> int:
        """A call of the full model at its quickest; 0 while unknown."""
        return self._times.least_ns(0)

    @property
    def tended(self) -> bool:
        """True when `tend` has something to do."""
        return bool(self._tended)

    def tend(self, idle: bool) -> tuple[Note, ...]:
        """What has happened to the models; see `xedge.lane.selftest.Tended`."""
        return tuple(note for screen in self._tended for note in screen.tend(idle))

    def screen(self, order: RunWindow, need: Need) -> tuple[WindowDone | WindowFailed, int | None]:
        """The answer to an order, and how long the engine worked, ns; None when it did not."""
        rung = self._choose(order, need, self._times)
        for above in range(len(self.names) if rung is None else rung):
            self._times.passed_over(above)
        if rung is None:
            return WindowFailed(order.bag, order.index, NO_TIME, Reason.TIMEOUT), None
        screen = self._screens[rung]
        stopped = stopped_by(screen)
        began = self._clock.now_ns()
        answer = screen_window(screen, order, self.names[rung])
        spent = self._clock.now_ns() - began
        # How fast it fails, or leaves a quiet window, says nothing of the next one.
        if isinstance(answer, WindowDone) and stopped_by(screen) == stopped:
            self._times.took(rung, spent)
        return answer, spent


def on_scale_of(screen: Screen, own_threshold: float, threshold: float) -> Screen:
    """A screen whose scores mean what another model's mean: at one threshold both alarm.

    Scores s become ``s ** (log threshold / log own_threshold)``: 0 and 1 stay, their order stays,
    and ``own_threshold`` becomes ``threshold``.

    Args:
        screen: A model with thresholds of its own.
        own_threshold: The score at which it alarms.
        threshold: The score at which the lane does.

    Raises:
        ConfigError: When a threshold does not lie between 0 and 1.
    """
    if not (0 < own_threshold < 1 and 0 < threshold < 1):
        raise ConfigError("scores of two models cannot be compared",
                          expected="alarm thresholds between 0 and 1",
                          found=f"{own_threshold}, {threshold}")  # fmt: skip
    if own_threshold == threshold:
        return screen
    power = math.log(threshold) / math.log(own_threshold)
    return _TendedScaled(screen, power) if isinstance(screen, Tended) else _Scaled(screen, power)


class _Scaled:
    def __init__(self, screen: Screen, power: float) -> None:
        self._screen, self._power = screen, power

    @property
    def stopped(self) -> int:
        return stopped_by(self._screen)

    def __call__(self, planes: U8) -> Detections:
        found = self._screen(planes)
        scores = (found.scores**self._power).astype("float32")
        return Detections(found.boxes, scores, found.labels)


class _TendedScaled(_Scaled):
    def __init__(self, screen: Tended, power: float) -> None:
        super().__init__(screen, power)
        self._tended = screen

    def tend(self, idle: bool) -> tuple[Note, ...]:
        return self._tended.tend(idle)
