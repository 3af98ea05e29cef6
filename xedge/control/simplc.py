"""A simulated PLC with a light barrier and a diverter, behind a real bus, for laptops and tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xedge.control.bus import PlcPort
from xedge.control.commands import Commands, Direction
from xedge.control.rule import Item, PlcRule, RuleConfig, Why
from xedge.control.words import U16, to_words, wrap
from xedge.errors import BusError, ConfigError, ImageRefused
from xedge.types import Verdict


@dataclass(frozen=True)
class Diverted:
    """What became of one bag at the diverter.

    Attributes:
        number: Which bag it was on the belt, from 1, as the light barrier counts.
        bag: The lane's number of it; 0 when no decision was taken over.
        head: Encoder when its head passed the beam.
        tail: Encoder when its tail did.
        passed: True when it was let through; otherwise it was diverted.
        verdict: What the PLC's rule answered.
        why: What that rests on.
    """

    number: int
    bag: int
    head: int
    tail: int
    passed: bool
    verdict: Verdict
    why: Why


class SimPlc:
    """A PLC that is scanned from outside: `scan` is one of its cycles.

    Args:
        port: Its end of the bus; not connected or closed here.
        bags: Encoder at head and tail of each bag that will pass the light barrier, in order.
        diverter_counts: Encoder counts from the beam to the diverter; more than the longest bag.
        rule: Limits of its rule.

    Attributes:
        failures: Calls of the bus that failed.
        trouble: What keeps the bus from working, in words; empty while it works.

    Raises:
        ConfigError: When a bag is as long as the way to the diverter.
    """

    def __init__(
        self,
        port: PlcPort,
        bags: Sequence[tuple[int, int]],
        diverter_counts: int,
        rule: RuleConfig | None = None,
    ) -> None:
        longest = max((tail - head for head, tail in bags), default=0)
        if longest >= diverter_counts:
            raise ConfigError("the diverter is too close to the beam",
                              expected="a way longer than the longest bag",
                              found=f"{diverter_counts} counts, a bag of {longest}",
                              remedy="Set the diverter farther away")  # fmt: skip
        self._port, self._diverter_counts = port, diverter_counts
        self._coming = deque(enumerate(bags, 1))
        self._tracked: deque[tuple[int, int, int, Item]] = deque()
        self._beat = 0
        self.rule = PlcRule(rule)
        self.run = True
        self.direction = Direction.FORWARD
        self.failures = 0
        self.trouble = ""

    @property
    def done(self) -> bool:
        """True when every bag has passed the diverter."""
        return not self._coming and not self._tracked

    @property
    def tracked(self) -> int:
        """Bags between the beam and the diverter."""
        return len(self._tracked)

    def scan(self, encoder: int, now_ms: int) -> list[Diverted]:
        """One cycle: read, follow, divert, command. What has come to the diverter is returned.

        A bus that fails is read as no image at all, and connected again.

        Args:
            encoder: Where the belt is, not wrapped.
            now_ms: The PLC's clock.
        """
        try:
            words: Sequence[int] = to_words(self._port.read())
            self.trouble = ""
        except (BusError, ImageRefused) as error:
            words = ()
            self._mend(error)
        self.rule.see(words, wrap(encoder), now_ms)
        while self._coming and self._coming[0][1][1] <= encoder:
            number, (head, tail) = self._coming.popleft()
            self._tracked.append((number, head, tail, self.rule.enter(wrap(head), wrap(tail))))
        self._tracked = deque((*bag[:3], self.rule.follow(bag[3])) for bag in self._tracked)
        gone = []
        while self._tracked and self._tracked[0][1] + self._diverter_counts <= encoder:
            number, head, tail, item = self._tracked.popleft()
            answer = self.rule.answer(item)
            passed = answer.verdict is Verdict.CLEAR
            gone.append(Diverted(number, item.taken.bag if item.taken else 0, head, tail, passed,
                                 answer.verdict, answer.why))  # fmt: skip
        self._command(encoder)
        return gone

    def _command(self, encoder: int) -> None:
        self._beat = (self._beat + 1) % U16
        commands = Commands(
            self._beat, self._beat, self.run, self.direction, wrap(encoder), self.rule.epoch,
            self.rule.acknowledged,
        )  # fmt: skip
        try:
            self._port.write(commands.encode())
        except BusError as error:
            self._mend(error)

    def _mend(self, error: Exception) -> None:
        self.failures += 1
        self._port.close()
        try:
            self._port.connect()
        except BusError as again:
            error = again
        self.trouble = str(error)


@dataclass
class BeltClock:
    """Where a belt is that runs at constant speed since it was started.

    Attributes:
        counts_per_s: Its speed.
        now_s: The time, in seconds.
        started_s: When it was started; None while it stands at its first line.
    """

    counts_per_s: float
    now_s: Callable[[], float]
    started_s: float | None = None

    def start(self) -> None:
        """Let it run, unless it does already."""
        if self.started_s is None:
            self.started_s = self.now_s()

    @property
    def encoder(self) -> int:
        """Counts since the start."""
        if self.started_s is None:
            return 0
        return int((self.now_s() - self.started_s) * self.counts_per_s)
