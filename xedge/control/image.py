"""The decision image: what a lane tells a PLC, the same words on every bus.

97 words (194 bytes), written in one block. Zero memory is no image, and clears nothing. ::

    word    0  magic           0x5845, "XE"
            1  version         1
            2  sequence        counts the writes; the same number again in the last word
            3  heartbeat       changes at every beat, wraps
            4  state           `LaneState`; only RUNNING and DRAINING let a CLEAR count
          5-6  epoch           u32, drawn anew at every start of the lane, never 0
          7-8  decisions       u32, decisions made in this epoch, wraps
            9  PLC's heartbeat the last one that was heard, echoed
        10-11  CRC             of words 0 to 9
    12 + 12 n  decision n of 7, in no order; a free place is all zero
           +0  bag             u32, from 1; wraps from 4294967295 to 1
           +2  head            i32, encoder at the bag's first line
           +4  tail            i32, encoder at its last line
           +6  decision        `Verdict`: 0 NOT_CLEARED, 1 CLEAR, 2 ALARM
           +7  reason          `Reason`
           +8  valid until     i32, encoder at which a CLEAR ends
          +10  CRC             of the epoch's two words and words +0 to +9
           96  sequence        written last: differs from word 2 when a write was torn

A decision stays until the PLC acknowledges its bag, or until seven newer ones have pushed it out.
Its CRC holds the epoch, so that no decision outlives a restart, whatever is in the header. Seven
places, because then the image fits one message of every bus: a Modbus write takes 123 words, an S7
controller of the smallest PDU (240 bytes) about 102.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from xedge.control.words import U16, U32, crc, signed, split, to_bytes, to_words, unsigned, wrap
from xedge.errors import ImageRefused
from xedge.types import Decision, Reason, Verdict

MAGIC: Final = 0x5845
VERSION: Final = 1
PLACES: Final = 7
HEADER_WORDS: Final = 12
PLACE_WORDS: Final = 12
IMAGE_WORDS: Final = HEADER_WORDS + PLACES * PLACE_WORDS + 1
IMAGE_BYTES: Final = 2 * IMAGE_WORDS


class LaneState(enum.IntEnum):
    """What the lane is doing. Zero is DOWN: zeroed memory is a lane that is not there."""

    DOWN = 0
    STARTING = 1
    RUNNING = 2
    DRAINING = 3
    STOPPED = 4
    CONTROL_LOST = 5
    FAULT = 6


CLEARING: Final = frozenset({LaneState.RUNNING, LaneState.DRAINING})
"""The states in which a CLEAR counts."""


def bag_number(bag: int) -> int:
    """A lane's bag number as the image has it: 1 to 4294967295, then 1 again.

    >>> bag_number(2**32 - 1), bag_number(2**32)
    (4294967295, 1)
    """
    return (bag - 1) % (U32 - 1) + 1


@dataclass(frozen=True)
class Place:
    """One decision in the image.

    Attributes:
        bag: Number of the bag, see `bag_number`.
        head: Encoder at the bag's first line, see `words.wrap`.
        tail: Encoder at its last line.
        valid_until: Encoder at which a CLEAR ends.
        verdict: The decision.
        reason: Why the bag is not cleared.

    Raises:
        ImageRefused: When a number does not fit its words.
    """

    bag: int
    head: int
    tail: int
    valid_until: int
    verdict: Verdict = Verdict.NOT_CLEARED
    reason: Reason = Reason.NONE

    def __post_init__(self) -> None:
        if not 1 <= self.bag < U32:
            raise ImageRefused("a bag's number does not fit the image", expected="1 to 2^32 - 1",
                               found=str(self.bag), remedy="Use bag_number()")  # fmt: skip
        for name in ("head", "tail", "valid_until"):
            value = getattr(self, name)
            if wrap(value) != value:
                raise ImageRefused(f"a bag's {name} does not fit the image",
                                   expected="32 bits, signed", found=str(value),
                                   remedy="Use wrap()")  # fmt: skip

    @staticmethod
    def of(decision: Decision, valid_counts: int) -> Place:
        """A lane's decision, a CLEAR valid for ``valid_counts`` of the encoder behind its tail."""
        return Place(
            bag_number(decision.bag),
            wrap(decision.encoder_head),
            wrap(decision.encoder_tail),
            wrap(decision.encoder_tail + valid_counts),
            decision.verdict,
            decision.reason,
        )

    def words(self, epoch: int) -> tuple[int, ...]:
        """The 12 words of this place in an image of ``epoch``."""
        body = (
            *split(self.bag),
            *split(self.head),
            *split(self.tail),
            int(self.verdict),
            int(self.reason),
            *split(self.valid_until),
        )
        return (*body, *crc((*split(epoch), *body)))


@dataclass(frozen=True)
class Header:
    """The first words of an image.

    Attributes:
        sequence: Counts the writes.
        heartbeat: Changes at every beat.
        state: What the lane is doing.
        epoch: Which start of the lane this is.
        decisions: Decisions made since.
        plc_heartbeat: The PLC's last heartbeat that was heard.

    Raises:
        ImageRefused: When a number does not fit its words.
    """

    sequence: int
    heartbeat: int
    state: LaneState
    epoch: int
    decisions: int = 0
    plc_heartbeat: int = 0

    def __post_init__(self) -> None:
        for name, least, limit in (
            ("sequence", 0, U16), ("heartbeat", 0, U16), ("plc_heartbeat", 0, U16),
            ("epoch", 1, U32), ("decisions", 0, U32),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value < limit:
                raise ImageRefused(
                    f"{name} does not fit the image",
                    expected=f"{least} to {limit - 1}",
                    found=str(value),
                )

    def words(self) -> tuple[int, ...]:
        """The 12 words of the header."""
        body = (MAGIC, VERSION, self.sequence, self.heartbeat, int(self.state),
                *split(self.epoch), *split(self.decisions), self.plc_heartbeat)  # fmt: skip
        return (*body, *crc(body))


def encode(header: Header, places: Sequence[Place | None]) -> bytes:
    """The image as `IMAGE_BYTES` bytes, to be written in one block.

    Args:
        header: Its first words.
        places: At most `PLACES` decisions; None leaves a place free.

    Raises:
        ImageRefused: When there are too many decisions.
    """
    if len(places) > PLACES:
        raise ImageRefused("an image cannot hold so many decisions", expected=f"{PLACES} or fewer",
                           found=str(len(places)))  # fmt: skip
    words = list(header.words())
    for place in places:
        words.extend(place.words(header.epoch) if place else (0,) * PLACE_WORDS)
    words.extend([0] * (IMAGE_WORDS - 1 - len(words)))
    return to_bytes([*words, header.sequence])


def read_header(words: Sequence[int]) -> Header:
    """The header of an image that is whole.

    Raises:
        ImageRefused: On another length, magic or version, a bad CRC, an unknown state, or two
            sequence numbers that differ because a write was torn.
    """
    if len(words) != IMAGE_WORDS:
        raise ImageRefused("this is no decision image", expected=f"{IMAGE_WORDS} words",
                           found=str(len(words)))  # fmt: skip
    if words[0] != MAGIC or words[1] != VERSION:
        raise ImageRefused(
            "this is no decision image", expected=f"{MAGIC:#06x} and version {VERSION}",
            found=f"{words[0]:#06x} and {words[1]}",
            remedy="Check the address of the image, and that the lane runs",
        )  # fmt: skip
    if tuple(words[10:12]) != crc(words[:10]):
        raise ImageRefused("the header of a decision image is damaged: its CRC does not fit")
    if words[2] != words[-1]:
        raise ImageRefused("a decision image was read while it was written", expected=str(words[2]),
                           found=str(words[-1]), remedy="Read it again")  # fmt: skip
    try:
        state = LaneState(words[4])
    except ValueError:
        raise ImageRefused("the state in a decision image is unknown", expected="0 to 6",
                           found=str(words[4])) from None  # fmt: skip
    epoch, decisions = unsigned(words[5], words[6]), unsigned(words[7], words[8])
    return Header(words[2], words[3], state, epoch, decisions, words[9])


def read_place(words: Sequence[int], number: int, epoch: int) -> Place | None:
    """Decision ``number`` of an image, from 0; None where the place is free.

    Raises:
        ImageRefused: On a bad CRC, which a decision of another epoch has too, or on a decision or
            reason that does not exist.
    """
    start = HEADER_WORDS + number * PLACE_WORDS
    body, found = tuple(words[start : start + 10]), tuple(words[start + 10 : start + PLACE_WORDS])
    if not any(body) and not any(found):
        return None
    if found != crc((*split(epoch), *body)):
        raise ImageRefused(f"decision {number} of an image is damaged, or of another start of the"
                           " lane: its CRC does not fit")  # fmt: skip
    try:
        verdict, reason = Verdict(body[6]), Reason(body[7])
    except ValueError as error:
        raise ImageRefused(f"decision {number} of an image is unknown: {error}") from None
    return Place(
        unsigned(*body[0:2]), signed(*body[2:4]), signed(*body[4:6]), signed(*body[8:10]),
        verdict, reason,
    )  # fmt: skip


def decode(data: bytes) -> tuple[Header, tuple[Place | None, ...]]:
    """Header and places of an image of which everything is sound.

    Raises:
        ImageRefused: See `read_header` and `read_place`.
    """
    words = to_words(data)
    header = read_header(words)
    return header, tuple(read_place(words, number, header.epoch) for number in range(PLACES))
