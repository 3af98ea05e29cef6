"""The command image: what a PLC tells a lane, the same words on every bus.

19 words (38 bytes), written in one block. Zero memory is a PLC that has said nothing. ::

    word    0  magic           0x5850, "XP"
            1  version         1
            2  sequence        counts the writes; the same number again in the last word
            3  heartbeat       counts the beats, wraps
            4  run             0 the lane shall stand, 1 it shall run
            5  direction       `Direction` of the belt
          6-7  encoder         i32, where the belt is
          8-9  epoch           u32, the lane's epoch that acknowledgement and override are meant for
        10-11  acknowledged    u32, every bag up to this number is taken over; 0 is none
        12-13  override        u32, the bag of which an operator decided; 0 is none
           14  its decision    `Verdict`
           15  operator        a number that names the person, or 0
        16-17  CRC             of words 0 to 15
           18  sequence        written last

A PLC without a CRC library uses the function in `xedge.st`. A command image that is damaged or
torn is as good as none: its sender's heartbeat was not heard.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from xedge.control.words import U16, U32, crc, signed, split, to_bytes, to_words, unsigned, wrap
from xedge.errors import ImageRefused
from xedge.types import Verdict

MAGIC: Final = 0x5850
VERSION: Final = 1
COMMAND_WORDS: Final = 19
COMMAND_BYTES: Final = 2 * COMMAND_WORDS
SILENT: Final = bytes(COMMAND_BYTES)
"""What a PLC that has said nothing has written."""


class Direction(enum.IntEnum):
    """Where the belt moves."""

    STANDING = 0
    FORWARD = 1
    REVERSE = 2


@dataclass(frozen=True)
class Commands:
    """What a PLC asks of a lane.

    Attributes:
        sequence: Counts the writes.
        heartbeat: Counts the beats.
        run: True when the lane shall run.
        direction: Of the belt.
        encoder: Where the belt is.
        epoch: The lane's epoch that `acknowledged` and `override_bag` are meant for.
        acknowledged: Every bag up to this one is taken over; 0 is none.
        override_bag: The bag of which an operator decided; 0 is none.
        override: What the operator decided.
        operator: Who that was, or 0.

    Raises:
        ImageRefused: When a number does not fit its words.
    """

    sequence: int = 0
    heartbeat: int = 0
    run: bool = False
    direction: Direction = Direction.STANDING
    encoder: int = 0
    epoch: int = 0
    acknowledged: int = 0
    override_bag: int = 0
    override: Verdict = Verdict.NOT_CLEARED
    operator: int = 0

    def __post_init__(self) -> None:
        for name, limit in (
            ("sequence", U16), ("heartbeat", U16), ("operator", U16),
            ("epoch", U32), ("acknowledged", U32), ("override_bag", U32),
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0 <= value < limit:
                raise ImageRefused(f"{name} does not fit the command image",
                                   expected=f"0 to {limit - 1}", found=str(value))  # fmt: skip
        if wrap(self.encoder) != self.encoder:
            raise ImageRefused("encoder does not fit the command image",
                               expected="32 bits, signed", found=str(self.encoder),
                               remedy="Use wrap()")  # fmt: skip

    def encode(self) -> bytes:
        """The image as `COMMAND_BYTES` bytes, to be written in one block."""
        body = (
            MAGIC, VERSION, self.sequence, self.heartbeat, int(self.run), int(self.direction),
            *split(self.encoder), *split(self.epoch), *split(self.acknowledged),
            *split(self.override_bag), int(self.override), self.operator,
        )  # fmt: skip
        return to_bytes((*body, *crc(body), self.sequence))


def decode_commands(data: bytes) -> Commands | None:
    """What a PLC asks; None when it has said nothing yet and its memory is zero.

    Raises:
        ImageRefused: On another length, magic or version, a bad CRC, a value that does not exist,
            or a write that was torn.
    """
    if len(data) != COMMAND_BYTES:
        raise ImageRefused("this is no command image", expected=f"{COMMAND_BYTES} bytes",
                           found=str(len(data)))  # fmt: skip
    if data == SILENT:
        return None
    words = to_words(data)
    if words[0] != MAGIC or words[1] != VERSION:
        raise ImageRefused(
            "this is no command image", expected=f"{MAGIC:#06x} and version {VERSION}",
            found=f"{words[0]:#06x} and {words[1]}",
            remedy="Check its address, and the PLC's program",
        )  # fmt: skip
    if words[16:18] != crc(words[:16]):
        raise ImageRefused("a command image is damaged: its CRC does not fit")
    if words[2] != words[18]:
        raise ImageRefused("a command image was read while it was written",
                           expected=str(words[2]), found=str(words[18]))  # fmt: skip
    try:
        run, direction, override = (False, True)[words[4]], Direction(words[5]), Verdict(words[14])
    except (IndexError, ValueError) as error:
        raise ImageRefused(f"a command does not exist: {error}") from None
    return Commands(
        words[2], words[3], run, direction, signed(*words[6:8]), unsigned(*words[8:10]),
        unsigned(*words[10:12]), unsigned(*words[12:14]), override, words[15],
    )  # fmt: skip
