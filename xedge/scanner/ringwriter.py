"""The writer of a shared-memory ring in Python: for tests, simulators and adapters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from xedge.errors import RingError
from xedge.scanner import ring
from xedge.scanner.ring import RingHeader, RingMap, RingPeer
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip


class RingWriter:
    """Writes strips into a ring, and never waits; a context manager.

    A ring that is there already, of the same detector, is written on: a writer that was killed
    starts again, and the reader sees the lines go on. x86-64 only.

    Args:
        path: The ring's file, under ``/dev/shm`` so that it never meets a disk.
        detector: The detector and its belt.
        capacity: Lines that the ring holds, a power of two.
        crc: Give every line a CRC-32.

    Raises:
        RingError: When the ring belongs to another detector, has a writer, or cannot be made.

    >>> import numpy as np, tempfile
    >>> from xedge.scanner.ringsource import RingSource
    >>> path = Path(tempfile.mkdtemp()) / "ring"
    >>> counts = np.zeros((4, 8), np.uint16)
    >>> with RingWriter(path, StripFileHeader(8, 0.62, 1 / 0.62, 0.2)) as writer:
    ...     with RingSource(path) as source:
    ...         writer.write(Strip(7, np.arange(4), counts, counts, captured_ns=0))
    ...         writer.close()
    ...         [(strip.first_line, len(strip)) for strip in source]
    [(7, 4)]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        detector: StripFileHeader,
        *,
        capacity: int = 16_384,
        crc: bool = True,
    ) -> None:
        ring.check_processor()
        header = RingHeader(detector, capacity)
        _make(Path(path), header)
        self._ring = RingMap(path, ring.WRITER_AT)
        if self._ring.header.to_bytes() != header.to_bytes():
            found = self._ring.header
            self._ring.release()
            raise RingError(
                f"{path} is the ring of another detector or of another size",
                expected=f"{detector.elements} elements, {capacity} lines, "
                f"serial {header.serial!r}",
                found=f"{found.detector.elements} elements, {found.capacity} lines, "
                f"serial {found.serial!r}",
                remedy="Remove the file, or name another one",
            )
        self._crc = crc
        self._open = True
        self._written = self._ring.own(ring.COUNT)

    @property
    def reader(self) -> RingPeer:
        """What the reader says of itself."""
        return self._ring.peer

    def beat(self) -> None:
        """Say that the writer lives, while the detector sends nothing."""
        self._ring.beat()

    def write(self, strip: Strip) -> None:
        """Put the lines of a strip into the ring, over the oldest ones.

        Raises:
            RingError: When it is closed, or the lines are not as wide as the detector.
        """
        elements = self._ring.header.detector.elements if self._open else 0
        if strip.elements != elements:
            raise RingError("a strip cannot be written into the ring",
                            expected=f"an open ring, and lines of {elements} elements",
                            found=f"{strip.elements} elements")  # fmt: skip
        done = 0
        while done < len(strip):
            at = self._written % self._ring.header.capacity
            count = min(len(strip) - done, self._ring.header.capacity - at)
            self._put(strip, slice(done, done + count), slice(at, at + count))
            done += count
        self._ring.beat()

    def _put(self, strip: Strip, rows: slice, at: slice) -> None:
        lines = self._ring.lines[at]
        # The order of these stores is the protocol; x86-64 shows them in it.
        sequence = np.arange(self._written, self._written + len(lines), dtype=np.uint64) * 2 + 1
        lines["sequence"] = sequence
        lines["counter"] = np.arange(rows.start, rows.stop, dtype=np.int64) + strip.first_line
        lines["encoder"] = strip.encoder[rows]
        lines["captured_ns"] = strip.captured_ns
        lines["flags"] = (ring.INTACT if strip.intact else 0) | (ring.HAS_CRC if self._crc else 0)
        lines["low"] = strip.low[rows]
        lines["high"] = strip.high[rows]
        if self._crc:
            lines["crc"] = ring.line_crcs(lines)
        lines["sequence"] = sequence + 1
        self._written += len(lines)
        self._ring.put(ring.COUNT, self._written)

    def close(self) -> None:
        """Say that the belt has come to its end, and let go; safe to call twice."""
        if self._open:
            self._open = False
            self._ring.put(ring.STATE, ring.CLOSED)
            self._ring.release()

    def __enter__(self) -> RingWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make(path: Path, header: RingHeader) -> None:
    """Make the ring's file, unless it is there; a reader never sees half of it."""
    if path.exists():
        return
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with made.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, header.size)  # a full /dev/shm says so now
            file.write(header.to_bytes())
        made.chmod(0o660)
        os.link(made, path)  # fails where another writer was quicker
    except FileExistsError:
        pass
    except OSError as error:
        raise RingError(f"the ring {path} cannot be made", found=error.strerror or "",
                        expected=f"room for {header.size} bytes") from error  # fmt: skip
    finally:
        made.unlink(missing_ok=True)
