"""The PLC's rule: when a CLEAR in the decision image counts. Everything else is not cleared.

This is the reference of `xedge.st`, which says the same in IEC 61131-3 structured text. A PLC
calls `PlcRule.see` once a scan with the image as it was read, `enter` when a bag's tail has passed
the beam, `follow` once a scan for every bag it tracks, and `answer` at the diverter. A CLEAR counts
only while all of this holds:

    image      magic, version, CRC, and the sequence at both ends
    newer      within an epoch, sequence and heartbeat went on by less than 2^15 or stand; an image
               older than the one before it is none, and for a limit after it no heartbeat counts
    alive      the heartbeat went on since power-up, the last time less than a limit ago
    state      RUNNING or DRAINING
    epoch      the bag was tracked in the epoch that the image has now
    bag        the decision's number is newer than that of every bag before it
    extent     head and tail of the decision are those of the bag, so that of two touching bags
               neither takes the other's, and one that the PLC sees as one bag takes none
    window     the encoder lies between the bag's tail and the decision's end
    forward    the belt was not moved back since the bag's head had passed the beam
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from xedge.control.image import CLEARING, PLACES, Header, Place, read_header, read_place
from xedge.control.words import U32, beats, distance, newer
from xedge.errors import ConfigError, ImageRefused
from xedge.types import Verdict

FORGOTTEN: Final = 1 << 30
"""Counts behind which a place where the belt turned cannot be reached again."""


@dataclass(frozen=True, kw_only=True)
class RuleConfig:
    """What the rule depends on.

    Attributes:
        heartbeat_limit_ms: Milliseconds without a new heartbeat after which nothing is cleared.
        extent_counts: Encoder counts by which the PLC's light barrier and the scanner may differ
            about a bag's head or tail. Must stay below half of the shortest bag.
        reverse_counts: Encoder counts that a belt may roll back when it stops.

    Raises:
        ConfigError: When one of them is negative, or the limit zero.
    """

    heartbeat_limit_ms: int = 1000
    extent_counts: int = 64
    reverse_counts: int = 16

    def __post_init__(self) -> None:
        for name, least in (("heartbeat_limit_ms", 1), ("extent_counts", 0), ("reverse_counts", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"the PLC rule's {name} cannot be used",
                                  expected=f"{least} or more",
                                  found=str(getattr(self, name)))  # fmt: skip


class Why(enum.Enum):
    """What a PLC's answer rests on."""

    DECIDED = "decided"
    NO_IMAGE = "no image was read"
    SILENT = "the lane's heartbeat stands"
    STATE = "the lane does not run"
    EPOCH = "the lane was started anew"
    NO_DECISION = "no decision fits the bag"
    WINDOW = "the encoder is outside the decision's window"
    REVERSED = "the belt was moved back"


@dataclass(frozen=True)
class Item:
    """A bag as a PLC tracks it.

    Attributes:
        head: Encoder when its head passed the beam.
        tail: Encoder when its tail did.
        epoch: The lane's epoch at that time; 0 when the lane was not heard, which fits none.
        taken: The decision that was taken over; None until there is one.
        expired: True once the encoder had left the window.
    """

    head: int
    tail: int
    epoch: int
    taken: Place | None = None
    expired: bool = False


@dataclass(frozen=True)
class Answer:
    """What a PLC does with a bag: only CLEAR lets it pass."""

    verdict: Verdict
    why: Why


class PlcRule:
    """The rule with what a PLC keeps from scan to scan; at power-up nothing is cleared.

    Args:
        config: Its limits.
    """

    def __init__(self, config: RuleConfig | None = None) -> None:
        self.config = config or RuleConfig()
        self._words: Sequence[int] = ()
        self._header: Header | None = None  # None while the last image read was not sound
        self._epoch = 0
        self._decisions = 0
        self._sequence, self._heartbeat = 0, -1  # of the last whole image; none yet
        self._back_ms: int | None = None  # when an image was older than the one before it
        self._changed_ms = 0
        self._alive = False
        self._encoder = 0
        self._furthest: int | None = None
        self._turned_at: int | None = None  # the furthest place before the belt was moved back
        self._newest = 0  # bag

    @property
    def acknowledged(self) -> int:
        """The newest bag whose decision was taken over, for the command image; 0 is none."""
        return self._newest

    @property
    def epoch(self) -> int:
        """The lane's epoch, for the command image; 0 before the first sound image."""
        return self._epoch

    @property
    def heartbeat(self) -> int:
        """The lane's heartbeat as it was read last; 0 before the first sound image."""
        return max(self._heartbeat, 0)

    @property
    def decisions(self) -> int:
        """Decisions that the lane has made by the last sound image, taken over or not."""
        return self._decisions

    @property
    def alive(self) -> bool:
        """True while the lane's heartbeat is young."""
        return self._alive

    @property
    def ready(self) -> bool:
        """True when a bag that enters now may be cleared later: alive, image sound, lane runs."""
        return self._alive and self._header is not None and self._header.state in CLEARING

    def see(self, words: Sequence[int], encoder: int, now_ms: int) -> None:
        """Take in the image as read in this scan, the belt's place and the time.

        Args:
            words: The image; whatever was read.
            encoder: i32.
            now_ms: A clock that may wrap at 2^32.
        """
        self._words, self._encoder = words, encoder
        try:
            header = read_header(words)
        except ImageRefused:
            header = None
        if self._back_ms is not None and (now_ms - self._back_ms) % U32 > (
            self.config.heartbeat_limit_ms
        ):
            self._back_ms = None
        self._header = None if header is None else self._listen(header, now_ms)
        if (now_ms - self._changed_ms) % U32 > self.config.heartbeat_limit_ms:
            self._alive = False
        self._watch_belt(encoder)

    def _listen(self, header: Header, now_ms: int) -> Header | None:
        """The header, or None when its image is older than the one before it."""
        beat = beats(
            newer(header.sequence, self._sequence), newer(header.heartbeat, max(self._heartbeat, 0))
        )
        known = header.epoch == self._epoch
        self._sequence, self._heartbeat = header.sequence, header.heartbeat
        self._decisions = header.decisions
        if not known:
            self._epoch, self._newest = header.epoch, 0
            self._alive = False  # a beat of this epoch must be seen first
        elif beat is None:
            # Whoever shows old images may show them in turn, each newer than the one before.
            self._alive, self._back_ms = False, now_ms
            return None
        elif beat and self._back_ms is None:
            self._alive, self._changed_ms = True, now_ms
        return header

    def _watch_belt(self, encoder: int) -> None:
        if self._furthest is None or distance(encoder, self._furthest) > 0:
            self._furthest = encoder
        elif distance(self._furthest, encoder) > self.config.reverse_counts:
            self._turned_at = self._furthest
        if self._turned_at is not None and distance(encoder, self._turned_at) > FORGOTTEN:
            self._turned_at = None

    def enter(self, head: int, tail: int) -> Item:
        """A bag that has passed the beam between two places of the encoder."""
        return Item(head, tail, self._epoch if self.ready else 0)

    def follow(self, item: Item) -> Item:
        """The bag with the decision that fits it, if there is one in the image now.

        What was taken over may lose its CLEAR later, but never gains one.
        """
        if item.taken is not None and distance(self._encoder, item.taken.valid_until) > 0:
            item = replace(item, expired=True)
        if self._header is None or not self._alive or self._header.epoch != item.epoch:
            return item
        found = [place for place in self._places(self._header) if self._fits(place, item)]
        if len(found) != 1:
            return item
        if item.taken is None:
            if self._newest and distance(found[0].bag, self._newest) <= 0:
                return item
            self._newest = found[0].bag
            return replace(item, taken=found[0])
        if found[0].bag == item.taken.bag and found[0].verdict is not Verdict.CLEAR:
            return replace(item, taken=found[0])
        return item

    def _places(self, header: Header) -> list[Place]:
        places = []
        for number in range(PLACES):
            try:
                place = read_place(self._words, number, header.epoch)
            except ImageRefused:
                continue
            if place is not None:
                places.append(place)
        return places

    def _fits(self, place: Place, item: Item) -> bool:
        limit = self.config.extent_counts
        return (
            abs(distance(place.head, item.head)) <= limit
            and abs(distance(place.tail, item.tail)) <= limit
        )

    def answer(self, item: Item) -> Answer:
        """What to do with a bag at the diverter, now."""
        why = self._doubt(item)
        if why is not None:
            return Answer(Verdict.NOT_CLEARED, why)
        assert item.taken is not None
        return Answer(item.taken.verdict, Why.DECIDED)

    def _doubt(self, item: Item) -> Why | None:
        """Why a decision, whatever it is, does not count; None when it does."""
        if self._header is None:
            return Why.NO_IMAGE
        if not self._alive:
            return Why.SILENT
        if self._header.state not in CLEARING:
            return Why.STATE
        if item.epoch != self._header.epoch:
            return Why.EPOCH
        if item.taken is None:
            return Why.NO_DECISION
        if self._turned_at is not None and distance(item.head, self._turned_at) <= 0:
            return Why.REVERSED
        ahead = distance(item.taken.valid_until, self._encoder)
        if item.expired or ahead < 0 or distance(self._encoder, item.tail) < 0:
            return Why.WINDOW
        return None
