r"""The shared-memory ring: its layout, and a mapping of one that both sides work on.

One process of the scanner's vendor writes detector lines into a file that it shares in memory
(on Linux under ``/dev/shm``), one lane reads them. The writer never waits: what the reader does
not take in time is overwritten, and the reader counts it. docs/ring.md is the same for writers in
other languages, with the order of stores that the reader relies on. All numbers are little-endian.

Header, 4096 bytes::

    offset  size  field
    0       8     magic  89 58 52 49 4E 47 0A 1A  ("\x89XRING\n\x1a")
    8       2     version, 1                                              uint16
    10      2     energies, 2                                             uint16
    12      4     elements in a line                                      uint32
    16      4     capacity: lines that the ring holds, a power of two     uint32
    20      4     stride: bytes from line to line, a multiple of 64       uint32
    24      8     pitch of the elements at the belt, mm                   float64
    32      8     encoder counts per mm of belt                           float64
    40      8     nominal belt speed, m/s                                 float64
    48      32    serial number of the detector, UTF-8, filled with NUL
    252     4     CRC-32 of the 252 bytes before                          uint32
    256     40    the writer's: written, epoch, pid, beat, state          uint64 each
    384     48    the reader's: read, epoch, pid, beat, state, lost       uint64 each

A line, at ``4096 + (n % capacity) * stride`` for line ``n`` of the ring, from 0::

    0       8     sequence: 2n+1 while line n is being written, 2n+2 once it stands    uint64
    8       8     line counter of the detector                                         int64
    16      8     encoder counts                                                       int64
    24      8     CLOCK_MONOTONIC at which the line was read out, ns                   int64
    32      4     flags: bit 0 the line is intact, bit 1 the CRC is set                uint32
    36      4     CRC-32 of bytes 8 to 35 and of the counts                            uint32
    40            low counts, uint16 [elements]; high counts, the same
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import platform
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.errors import RingError
from xedge.scanner.stripfile import MAX_ELEMENTS, StripFileHeader

MAGIC: Final = b"\x89XRING\n\x1a"
VERSION: Final = 1
HEADER_BYTES: Final = 4096
INTACT: Final = 1
HAS_CRC: Final = 2
CAPACITIES: Final = (64, 1 << 20)

WRITER_AT: Final = 256
READER_AT: Final = 384
COUNT, EPOCH, PID, BEAT, STATE, LOST = range(6)
"""Words of a side's block, in their order; `LOST` is the reader's alone."""

NEVER, OPEN, CLOSED = range(3)
"""States of a side: it was never there, it is there or died, it left in good order."""

_HEAD: Final = struct.Struct("<8sHHIIIddd32s")
_CRC: Final = struct.Struct("<I")
_CRC_AT: Final = 252
_LINE_HEAD: Final = 40
_FLOCK: Final = struct.Struct("hh4xqqi4x")  # struct flock of x86-64 Linux


def line_stride(elements: int) -> int:
    """Bytes from one line of a ring to the next: whole cache lines.

    >>> line_stride(800)
    3264
    """
    return -(-(_LINE_HEAD + 4 * elements) // 64) * 64


@dataclass(frozen=True)
class RingHeader:
    """What does not change in a ring.

    Attributes:
        detector: The detector and its belt; ``metadata["serial"]`` is its serial number.
        capacity: Lines that the ring holds, a power of two: a second or more of them.

    Raises:
        RingError: When the capacity or the serial number cannot be.
    """

    detector: StripFileHeader
    capacity: int = 16_384

    def __post_init__(self) -> None:
        least, most = CAPACITIES
        if not least <= self.capacity <= most or self.capacity & (self.capacity - 1):
            raise RingError("the ring's capacity cannot be used", found=str(self.capacity),
                            expected=f"a power of two, {least} to {most} lines")  # fmt: skip
        if len(self.serial.encode()) > 32:
            raise RingError("the detector's serial number is too long", found=repr(self.serial),
                            expected="at most 32 bytes of UTF-8")  # fmt: skip

    @property
    def serial(self) -> str:
        """Serial number of the detector, empty when nobody gave it."""
        return str(self.detector.metadata.get("serial", ""))

    @property
    def size(self) -> int:
        """Size of the whole ring."""
        return HEADER_BYTES + self.capacity * line_stride(self.detector.elements)

    def to_bytes(self) -> bytes:
        """The constant part of the header as it stands in the ring, 256 bytes."""
        d = self.detector
        body = _HEAD.pack(MAGIC, VERSION, 2, d.elements, self.capacity, line_stride(d.elements),
                          d.pitch_mm, d.counts_per_mm, d.speed_m_s,
                          self.serial.encode())  # fmt: skip
        body = body.ljust(_CRC_AT, b"\0")
        return body + _CRC.pack(zlib.crc32(body))

    @staticmethod
    def from_bytes(data: bytes, name: str) -> RingHeader:
        """The header out of the first 256 bytes of the ring called ``name``.

        Raises:
            RingError: When they are no header of this version, or damaged.
        """
        if len(data) < WRITER_AT or not data.startswith(MAGIC):
            raise RingError(f"{name} is no ring", found=repr(data[:8]),
                            expected=f"a file that starts with {MAGIC!r}")  # fmt: skip
        (_, version, energies, elements, capacity, stride, pitch, counts, speed,
         serial) = _HEAD.unpack_from(data)  # fmt: skip
        if data[_CRC_AT:WRITER_AT] != _CRC.pack(zlib.crc32(data[:_CRC_AT])):
            raise RingError(f"the header of {name} is damaged", found="a bad CRC",
                            remedy="Remove the file and start the writer anew")  # fmt: skip
        if (version, energies) != (VERSION, 2):
            raise RingError(f"{name} is of another version",
                            expected=f"version {VERSION} with 2 energies",
                            found=f"version {version} with {energies}",
                            remedy="Use the reader and the writer of one release")  # fmt: skip
        if not 2 <= elements <= MAX_ELEMENTS or stride != line_stride(elements):
            raise RingError(f"{name} has lines that cannot be",
                            expected=f"2..{MAX_ELEMENTS} elements, {line_stride(elements)} bytes",
                            found=f"{elements} elements, {stride} bytes")  # fmt: skip
        number = serial.rstrip(b"\0").decode("utf-8", "replace")
        detector = StripFileHeader(elements, pitch, counts, speed, {"serial": number})
        return RingHeader(detector, capacity)


@dataclass(frozen=True)
class RingPeer:
    """What the other side says of itself.

    Attributes:
        pid: Its process.
        epoch: When it opened the ring, CLOCK_REALTIME, ns: another number is another process.
        beat_ns: Its last sign of life, CLOCK_MONOTONIC.
        state: `NEVER`, `OPEN` or `CLOSED`.
    """

    pid: int
    epoch: int
    beat_ns: int
    state: int

    @property
    def silent_s(self) -> float:
        """Seconds since its last sign of life."""
        return (time.monotonic_ns() - self.beat_ns) / 1e9


class RingMap:
    """A ring in memory, as one of its two sides holds it.

    Args:
        path: Its file.
        side: `WRITER_AT` or `READER_AT`, the block that is this side's own.

    Raises:
        RingError: When it is missing, damaged, or another process is this side; on a processor
            whose stores may be seen out of order.
    """

    def __init__(self, path: str | os.PathLike[str], side: int) -> None:
        check_processor()
        self.path = Path(path)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise RingError(f"the ring {self.path} cannot be opened", found=error.strerror or "",
                            remedy="Start its writer first, which makes it") from error  # fmt: skip
        try:
            self.header = RingHeader.from_bytes(os.pread(self._fd, WRITER_AT, 0), str(self.path))
            size = os.fstat(self._fd).st_size
            if size != self.header.size:
                raise RingError(f"{self.path} is cut short", expected=f"{self.header.size} bytes",
                                found=str(size), remedy="Remove it")  # fmt: skip
            self._map = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        self.words = memoryview(self._map)[:HEADER_BYTES].cast("Q")
        self.lines = np.frombuffer(self._map, _line_type(self.header), self.header.capacity,
                                   HEADER_BYTES)  # fmt: skip
        self._own = side // 8
        self._peer = (WRITER_AT + READER_AT - side) // 8
        try:
            self._lock(side)
        except BaseException:
            self.release()
            raise
        self.put(EPOCH, time.time_ns())
        self.put(PID, os.getpid())
        self.beat()
        self.put(STATE, OPEN)

    @property
    def peer(self) -> RingPeer:
        """The other side."""
        words, at = self.words, self._peer
        return RingPeer(words[at + PID], words[at + EPOCH], words[at + BEAT], words[at + STATE])

    def own(self, word: int) -> int:
        """A word of this side's block."""
        return self.words[self._own + word]

    def theirs(self, word: int) -> int:
        """A word of the other side's block."""
        return self.words[self._peer + word]

    def put(self, word: int, value: int) -> None:
        """Set a word of this side's block, in one store."""
        self.words[self._own + word] = value

    def beat(self) -> None:
        """Say that this side lives."""
        self.put(BEAT, time.monotonic_ns())

    def release(self) -> None:
        """Let go of the ring, and of its lock; once."""
        del self.lines
        self.words.release()
        self._map.close()
        os.close(self._fd)

    def _lock(self, side: int) -> None:
        """Be the only one on this side; the kernel frees it when the process dies."""
        flock = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, side, 1, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, flock)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            name = "writer" if side == WRITER_AT else "reader"
            raise RingError(f"the ring {self.path} has a {name} already",
                            found=f"process {self.own(PID)}",
                            remedy="End it first: a ring has one of each") from error  # fmt: skip


def check_processor() -> None:
    """Nothing, on a processor that shows stores in their order.

    Raises:
        RingError: On any other than x86-64 with Linux: Python has no memory barriers.
    """
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        raise RingError("Python works on rings on x86-64 Linux only",
                        found=f"{platform.machine()} {platform.system()}",
                        remedy="Write the ring from C there, and read it from C")  # fmt: skip


def _line_type(header: RingHeader) -> np.dtype[Any]:
    elements = header.detector.elements
    fields: dict[str, tuple[npt.DTypeLike, int]] = {
        "sequence": ("<u8", 0), "counter": ("<i8", 8), "encoder": ("<i8", 16),
        "captured_ns": ("<i8", 24), "flags": ("<u4", 32), "crc": ("<u4", 36),
        "low": (("<u2", (elements,)), _LINE_HEAD),
        "high": (("<u2", (elements,)), _LINE_HEAD + 2 * elements),
    }  # fmt: skip
    return np.dtype({
        "names": list(fields), "formats": [f for f, _ in fields.values()],
        "offsets": [at for _, at in fields.values()], "itemsize": line_stride(elements),
    })  # fmt: skip


def line_crcs(lines: npt.NDArray[np.void]) -> list[int]:
    """CRC-32 of each line as it stands in a ring, or in a copy of it."""
    end = _LINE_HEAD + 2 * lines.dtype["low"].itemsize
    return [zlib.crc32(data[_LINE_HEAD:end], zlib.crc32(data[8:36]))
            for data in (line.tobytes() for line in lines)]  # fmt: skip
