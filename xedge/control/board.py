"""What a lane shows a PLC, and what it hears from it: a state machine without threads or I/O.

A decision enters as the lane made it, and can only become worse: a CLEAR is withheld while the PLC
is silent (CONTROL_LOST), has stopped the lane (USER_INTERRUPT) or moves the belt back
(BELT_REVERSED), one that is shown already is withdrawn when the PLC falls silent, starts anew,
stops the lane, moves the belt back, or an operator says otherwise, and none ever comes back.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from xedge.control.commands import Commands, Direction, decode_commands
from xedge.control.image import CLEARING, PLACES, Header, LaneState, Place, encode
from xedge.control.words import U16, U32, beats, distance, newer
from xedge.errors import ConfigError, ImageRefused
from xedge.types import Decision, Reason, Verdict

LEAST_COUNTS: Final = 1
MOST_COUNTS: Final = 1 << 30
"""A window of the encoder beyond which a wrapped counter could be taken for a fresh one."""

SEVERITY: Final = (Verdict.CLEAR, Verdict.NOT_CLEARED, Verdict.ALARM)
"""Verdicts, each worse than the one before it."""


@dataclass(frozen=True, kw_only=True)
class BoardConfig:
    """How a lane deals with its PLC.

    Attributes:
        valid_counts: Encoder counts behind a bag's tail for which its CLEAR is valid: to the place
            of the diverter, and the longest bag more.
        beat_s: Seconds from one heartbeat of the lane to the next.
        plc_limit_s: Seconds without a new heartbeat of the PLC after which nothing is cleared.
        reverse_counts: Encoder counts that the PLC's belt may roll back when it stops.
        plc_beats: False for a PLC that writes no command image: it is then never taken for silent,
            and nothing is ever acknowledged.

    Raises:
        ConfigError: When a number cannot be.
    """

    valid_counts: int
    beat_s: float = 0.2
    plc_limit_s: float = 1.0
    reverse_counts: int = 16
    plc_beats: bool = True

    def __post_init__(self) -> None:
        if not LEAST_COUNTS <= self.valid_counts <= MOST_COUNTS:
            raise ConfigError("valid_counts cannot be used", found=str(self.valid_counts),
                              expected=f"{LEAST_COUNTS} to {MOST_COUNTS}")  # fmt: skip
        if not 0 <= self.reverse_counts <= MOST_COUNTS:
            raise ConfigError("reverse_counts cannot be used", found=str(self.reverse_counts),
                              expected=f"0 to {MOST_COUNTS}")  # fmt: skip
        self._require_seconds("beat_s", "plc_limit_s")

    def _require_seconds(self, *names: str) -> None:
        for name in names:
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} cannot be used", expected="above 0", found=str(value))


@dataclass(frozen=True)
class PlcEvent:
    """Something that happened between a lane and its PLC, for the journal.

    Attributes:
        kind: ``plc-heard``, ``plc-lost``, ``plc-restarted``, ``plc-run``, ``plc-stop``,
            ``belt-direction``, ``belt-reversed``, ``operator-override``, ``clear-withheld``,
            ``clear-withdrawn``, ``decision-acknowledged``, ``decision-pushed-out``; and of the link
            ``bus-up``, ``bus-down``.
        fields: What there is to say of it.
    """

    kind: str
    fields: Mapping[str, int | float | str] = field(default_factory=dict)


def new_epoch() -> int:
    """A number for this start of the lane, 1 to 4294967295, drawn so that clocks do not matter."""
    return secrets.randbelow(U32 - 1) + 1


class Board:
    """The places of one PLC's image.

    Args:
        config: How to deal with the PLC.
        epoch: See `new_epoch`.
    """

    def __init__(self, config: BoardConfig, epoch: int) -> None:
        self.config, self.epoch = config, epoch
        self._limit_ns = round(config.plc_limit_s * 1e9)
        self._state = LaneState.STARTING
        self._shown = LaneState.STARTING
        self._places: list[Place | None] = [None] * PLACES
        self._decisions = 0
        self._last: Place | None = None  # the one whose window ends last
        self._sequence = self._heartbeat = 0
        self._beat_ns: int | None = None
        self._dirty = True
        self._commands: Commands | None = None
        self._heard_ns: int | None = None  # when the PLC's heartbeat went on last
        self._back_ns: int | None = None  # when a command image was older than the one before it
        self._alive = False
        self._furthest: int | None = None  # of the PLC's encoder
        self._turned_at: int | None = None  # the furthest place before the belt was moved back
        self.pushed_out = self.withdrawn = self.withheld = self.damaged_commands = 0

    @property
    def plc_alive(self) -> bool:
        """True while the PLC's heartbeat is young, or none is expected."""
        return self._alive or not self.config.plc_beats

    @property
    def plc_runs(self) -> bool:
        """True while the PLC is alive and lets the lane run, or is not expected to say so."""
        says = self._commands is not None and self._commands.run
        return self.plc_alive and (says or not self.config.plc_beats)

    @property
    def commands(self) -> Commands | None:
        """The last sound command image; None before the first, and when it became zero again."""
        return self._commands

    @property
    def unacknowledged(self) -> int:
        """Decisions that the PLC has not taken over yet."""
        return sum(place is not None for place in self._places)

    @property
    def state(self) -> LaneState:
        """The state that the image shows."""
        if self._state not in CLEARING:
            return self._state
        if not self.plc_alive:
            return LaneState.CONTROL_LOST
        return self._state if self.plc_runs else LaneState.STOPPED

    @property
    def drained(self) -> bool:
        """True when the PLC has taken everything over, and the last bag has left its window.

        That of any verdict: behind the farewell a bag is not cleared, and no longer an ALARM.
        """
        if self.unacknowledged:
            return False
        if self._last is None or self._commands is None or not self.plc_alive:
            return True
        return distance(self._commands.encoder, self._last.valid_until) > 0

    def set_state(self, state: LaneState) -> None:
        """The lane's own state has changed."""
        self._state = state

    def take(
        self, decision: Decision, now_ns: int, *, earlier: bool = False
    ) -> list[PlcEvent]:  # fmt: skip
        """Show a decision; the oldest one makes room for it when no place is free.

        Args:
            decision: The decision.
            now_ns: The time.
            earlier: True when it was made before the lane's last start. The encoder may have begun
                anew since, and where that bag lay another one may come: it clears nothing.
        """
        events = self.tick(now_ns)
        place = Place.of(decision, self.config.valid_counts)
        said = self._commands
        if said is not None and said.epoch == self.epoch and said.override_bag == place.bag:
            place, event = _overrule(place, said)
            events.append(event)
        if place.verdict is Verdict.CLEAR and (
            reason := Reason.CONTROL_LOST if earlier else self._why_withhold(place)
        ):
            self.withheld += 1
            place = replace(place, verdict=Verdict.NOT_CLEARED, reason=reason)
            events.append(PlcEvent("clear-withheld", {"bag": place.bag, "reason": reason.name}))
        ahead = self._last is None or distance(place.valid_until, self._last.valid_until) > 0
        if ahead and not earlier:  # whose encoder may have counted from another place
            self._last = place
        if None in self._places:
            number = self._places.index(None)
        else:
            number = min(range(PLACES), key=lambda n: self._age_key(n, place.bag))
            old = self._places[number]
            assert old is not None
            self.pushed_out += 1
            events.append(PlcEvent("decision-pushed-out", {"bag": old.bag}))
        self._places[number] = place
        self._decisions = (self._decisions + (not earlier)) % U32
        self._dirty = True
        return events

    def _age_key(self, number: int, newest: int) -> int:
        place = self._places[number]
        assert place is not None
        return distance(place.bag, newest)

    def _why_withhold(self, place: Place) -> Reason:
        if not self.plc_alive:
            return Reason.CONTROL_LOST
        if self._commands is not None and self._commands.direction is Direction.REVERSE:
            return Reason.BELT_REVERSED
        if self._turned_at is not None and distance(place.head, self._turned_at) <= 0:
            return Reason.BELT_REVERSED
        return Reason.USER_INTERRUPT if self.state is LaneState.STOPPED else Reason.NONE

    def heard(self, data: bytes, now_ns: int) -> list[PlcEvent]:
        """Take in the command image as it was read; a damaged one is counted and left alone."""
        events = self.tick(now_ns)  # a bus that was slow hides no silence
        try:
            commands = decode_commands(data)
        except ImageRefused:
            self.damaged_commands += 1
            return events
        before, self._commands = self._commands, commands
        if commands is None:
            return events if before is None else events + self._restarted("memory", lost=True)
        # The first one may be what a dead PLC left behind: only a newer one is a beat.
        if before is not None:
            events += self._listen(commands, before, now_ns)
        return events + self._watch_belt(commands.encoder) + self._obey(commands, before)

    def _watch_belt(self, encoder: int) -> list[PlcEvent]:
        """Believe the encoder too: whoever moves a belt back by hand tells no direction."""
        if self._furthest is None or distance(encoder, self._furthest) > 0:
            self._furthest = encoder
            if self._turned_at is not None and distance(encoder, self._turned_at) > MOST_COUNTS:
                self._turned_at = None
        elif (
            distance(self._furthest, encoder) > self.config.reverse_counts
            and self._turned_at != self._furthest
        ):
            self._turned_at = self._furthest
            return [
                PlcEvent("belt-reversed", {"encoder": encoder, "furthest": self._furthest}),
                *self._withdraw(Reason.BELT_REVERSED),
            ]
        return []

    def _listen(self, commands: Commands, before: Commands, now_ns: int) -> list[PlcEvent]:
        beat = beats(
            newer(commands.sequence, before.sequence), newer(commands.heartbeat, before.heartbeat)
        )
        if beat is None:
            self._back_ns = now_ns
            return self._restarted("sequence", lost=True)
        events: list[PlcEvent] = []
        if before.epoch == self.epoch != commands.epoch:
            events += self._restarted("epoch")
        elif abs(distance(commands.encoder, before.encoder)) > self.config.valid_counts:
            events += self._restarted("encoder")
            self._furthest = self._turned_at = None  # it counts from another place
        if self._back_ns is not None and now_ns - self._back_ns > self._limit_ns:
            self._back_ns = None
        if beat and self._back_ns is None:
            self._heard_ns, self._dirty = now_ns, True
            if not self._alive:
                self._alive = True
                events.append(PlcEvent("plc-heard"))
        return events

    def _restarted(self, seen: str, *, lost: bool = False) -> list[PlcEvent]:
        """The PLC has forgotten which bags it tracked, and must not find their CLEARs."""
        events = [PlcEvent("plc-restarted", {"seen": seen})]
        if lost and self._alive:
            self._alive, self._dirty = False, True
            events.append(PlcEvent("plc-lost"))
        return events + self._withdraw(Reason.CONTROL_LOST)

    def tick(self, now_ns: int) -> list[PlcEvent]:
        """Time has passed."""
        if not self._alive:
            return []
        if self._heard_ns is not None and now_ns - self._heard_ns <= self._limit_ns:
            return []
        self._alive, self._dirty = False, True
        events = [PlcEvent("plc-lost")]
        return events + (self._withdraw(Reason.CONTROL_LOST) if self.config.plc_beats else [])

    def _obey(self, commands: Commands, before: Commands | None) -> list[PlcEvent]:
        events: list[PlcEvent] = []
        if before is None or commands.run != before.run:
            events.append(PlcEvent("plc-run" if commands.run else "plc-stop"))
            self._dirty = True
        if not commands.run and self.config.plc_beats:
            events += self._withdraw(Reason.USER_INTERRUPT)
        if before is None or commands.direction != before.direction:
            events.append(PlcEvent("belt-direction", {"direction": commands.direction.name}))
        if commands.direction is Direction.REVERSE:
            events += self._withdraw(Reason.BELT_REVERSED)
        if commands.epoch == self.epoch:
            events += self._acknowledge(commands.acknowledged)
            said = (commands.override_bag, commands.override, commands.operator)
            if said[0] and (
                before is None
                or before.epoch != self.epoch
                or said != (before.override_bag, before.override, before.operator)
            ):
                events += self._override(commands)
        return events

    def _acknowledge(self, bag: int) -> list[PlcEvent]:
        events: list[PlcEvent] = []
        for number, place in enumerate(self._places):
            if bag and place is not None and distance(bag, place.bag) >= 0:
                self._places[number] = None
                self._dirty = True
                events.append(PlcEvent("decision-acknowledged", {"bag": place.bag}))
        return events

    def _override(self, commands: Commands) -> list[PlcEvent]:
        for number, place in enumerate(self._places):
            if place is not None and place.bag == commands.override_bag:
                self._places[number], event = _overrule(place, commands)
                self._dirty = True
                return [event]
        # Its decision may be on its way still: `take` looks whether these words stand by then.
        return [_override_event(commands, "bag-not-shown")]

    def _withdraw(self, reason: Reason) -> list[PlcEvent]:
        events = []
        for number, place in enumerate(self._places):
            if place is not None and place.verdict is Verdict.CLEAR:
                self._places[number] = replace(place, verdict=Verdict.NOT_CLEARED, reason=reason)
                self.withdrawn += 1
                self._dirty = True
                events.append(
                    PlcEvent("clear-withdrawn", {"bag": place.bag, "reason": reason.name})
                )
        return events

    def image(self, now_ns: int, *, anew: bool = False) -> bytes | None:
        """The image to write now; None when neither it has changed nor a heartbeat is due.

        Args:
            now_ns: The time.
            anew: True when the PLC may have lost what was written before.
        """
        beat = self._beat_ns is None or now_ns - self._beat_ns >= round(self.config.beat_s * 1e9)
        state = self.state
        if not (beat or anew or self._dirty or state is not self._shown):
            return None
        if beat:
            self._heartbeat, self._beat_ns = (self._heartbeat + 1) % U16, now_ns
        self._sequence = (self._sequence + 1) % U16
        self._dirty, self._shown = False, state
        header = Header(
            self._sequence, self._heartbeat, state, self.epoch, self._decisions,
            self._commands.heartbeat if self._commands else 0,
        )  # fmt: skip
        return encode(header, self._places)

    def farewell(self) -> bytes:
        """The last image: the lane is down, and no decision stands."""
        self._sequence = (self._sequence + 1) % U16
        return encode(
            Header(self._sequence, self._heartbeat, LaneState.DOWN, self.epoch, self._decisions), ()
        )


def _overrule(place: Place, commands: Commands) -> tuple[Place, PlcEvent]:
    """A decision after an operator's: never better. To let a bag pass is the PLC's own affair."""
    if SEVERITY.index(commands.override) <= SEVERITY.index(place.verdict):
        return place, _override_event(commands, "none")
    worse = replace(place, verdict=commands.override, reason=Reason.USER_INTERRUPT)
    return worse, _override_event(commands, "applied")


def _override_event(commands: Commands, effect: str) -> PlcEvent:
    return PlcEvent("operator-override", {"bag": commands.override_bag,
                                          "verdict": commands.override.name,
                                          "operator": commands.operator,
                                          "effect": effect})  # fmt: skip
