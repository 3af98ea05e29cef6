"""16-bit words: the unit in which every PLC and every bus can hold an image.

An image is an array of 16-bit words. A 32-bit value is two of them, the high word first. On a bus
of bytes each word goes high byte first; Modbus registers and an S7 data block are that already, a
PLC that stores words low byte first receives an ``ARRAY OF WORD``. A CRC is CRC-32 (IEEE 802.3,
zlib's) over the words as bytes, high byte first.

Counters wrap, and are compared by their signed distance, which is right for up to 2^31 - 1 steps.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from xedge.errors import ImageRefused

Words = tuple[int, ...]

U16 = 1 << 16
U32 = 1 << 32
NEWER = (1 << 15) - 1
"""Steps by which a 16-bit counter may go on between two looks; more is a step back."""


def to_words(data: bytes) -> Words:
    """The 16-bit words of bytes that came off a bus.

    Raises:
        ImageRefused: When a byte is left over.
    """
    if len(data) % 2:
        raise ImageRefused("an image has an odd number of bytes", found=str(len(data)))
    return struct.unpack(f">{len(data) // 2}H", data)


def to_bytes(words: Sequence[int]) -> bytes:
    """Words as the bytes of a bus, the high byte of each first.

    >>> to_bytes([0x5845, 1]).hex()
    '58450001'
    """
    return struct.pack(f">{len(words)}H", *words)


def split(value: int) -> tuple[int, int]:
    """The high and the low word of a 32-bit value, signed or not; what is above wraps.

    >>> split(-2)
    (65535, 65534)
    """
    return value >> 16 & 0xFFFF, value & 0xFFFF


def unsigned(high: int, low: int) -> int:
    """An unsigned 32-bit value from its words."""
    return high << 16 | low


def signed(high: int, low: int) -> int:
    """A signed 32-bit value from its words."""
    return wrap(high << 16 | low)


def wrap(value: int) -> int:
    """A counter of any size as the signed 32-bit number that a PLC counts.

    >>> wrap(2**31), wrap(-(2**31) - 1)
    (-2147483648, 2147483647)
    """
    return (value + (1 << 31)) % U32 - (1 << 31)


def distance(later: int, earlier: int) -> int:
    """Signed steps from ``earlier`` to ``later`` on a 32-bit counter that may have wrapped.

    >>> distance(wrap(2**31 + 4), 2**31 - 6)
    10
    """
    return wrap(later - earlier)


def newer(count: int, before: int) -> int:
    """Steps from ``before`` to ``count`` on a 16-bit counter; -1 when it went back or too far.

    >>> newer(3, 65535), newer(4, 4), newer(4, 5)
    (4, 0, -1)
    """
    steps = (count - before) % U16
    return steps if steps <= NEWER else -1


def beats(sequence: int, heartbeat: int) -> bool | None:
    """True for an image with a new heartbeat, False for one without; None when it is older.

    Args:
        sequence: Steps of its sequence since the image before, see `newer`.
        heartbeat: Steps of its heartbeat.
    """
    if sequence < 0 or heartbeat < 0 or (heartbeat and not sequence):
        return None
    return heartbeat > 0


def crc(words: Sequence[int]) -> tuple[int, int]:
    """High and low word of the CRC-32 of words; never zero for words that are all zero."""
    return split(zlib.crc32(to_bytes(words)))
