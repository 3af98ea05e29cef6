"""Strip files (``.xstrip``): recorded detector lines, with nothing left to guess.

docs/strip-file.md says what every byte means: a header, then records, the last of kind END, dark
and air runs before the strips. The two CRCs of a record are apart on purpose: with a good record
header and a bad payload, the reader still knows which lines were lost and goes on behind them.
CRC-32 is the one of zlib and PNG. It finds every burst of up to 32 bits; it is no protection
against intent.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from xedge.errors import LineError, StripFileError
from xedge.scanner.flatfield import FlatField
from xedge.types import I64, U16, Strip

MAGIC = b"\x89XSTRIP\n"
VERSION = 1
_HEAD = struct.Struct("<8sHHIdddI")
_RECORD = struct.Struct("<4sHHIIqqQ")
_CRC = struct.Struct("<I")
_MARK = b"XREC"
_STRIP, _DARK, _AIR, _END = 1, 2, 3, 4
_RUNS = {"dark": _DARK, "air": _AIR}
_INTACT = 1
MAX_ELEMENTS = 65_536
MAX_LINES = 65_536
MAX_METADATA = 1 << 20


SIMULATOR: Final = "xedge.sim"
"""What the metadata of a file call its source when the simulator made it."""


@dataclass(frozen=True)
class StripFileHeader:
    """What a strip file says of the detector and the belt.

    Attributes:
        elements: Detector elements in a line.
        pitch_mm: Pitch of the elements at the belt, millimetres.
        counts_per_mm: Encoder counts per millimetre of belt.
        speed_m_s: Nominal belt speed, metres per second.
        metadata: Anything else, a JSON object.

    Raises:
        StripFileError: When a number cannot be, or the metadata is no JSON object.
    """

    elements: int
    pitch_mm: float
    counts_per_mm: float
    speed_m_s: float
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.pitch_mm, self.counts_per_mm, self.speed_m_s)
        usable = all(math.isfinite(x) and x > 0 for x in numbers)
        if not isinstance(self.metadata, dict):
            raise StripFileError("the metadata is no JSON object")
        if not usable or not 2 <= self.elements <= MAX_ELEMENTS:
            raise StripFileError(
                "the description of the detector cannot be used",
                expected=f"2..{MAX_ELEMENTS} elements; pitch, counts per mm and speed above 0",
                found=f"{self.elements} elements, {numbers}",
            )

    @property
    def simulated(self) -> bool:
        """True when the simulator made the lines, and no machine."""
        return self.metadata.get("source") == SIMULATOR

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, its CRC included."""
        try:
            text = json.dumps(self.metadata, sort_keys=True, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise StripFileError("the metadata is no JSON object", found=str(error)) from error
        if len(text) > MAX_METADATA:
            raise StripFileError("the metadata is too long", found=f"{len(text)} bytes")
        body = _HEAD.pack(MAGIC, VERSION, 2, self.elements, self.pitch_mm, self.counts_per_mm,
                          self.speed_m_s, len(text)) + text  # fmt: skip
        return body + _CRC.pack(zlib.crc32(body))


class StripWriter:
    """Writes a strip file; a context manager.

    The file grows under the name ``PATH.part`` and takes its own name when it is complete, so a
    file of that name always has its end. When the block is left by an error, what was written
    stays as ``PATH.part``, readable up to its last whole record.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "belt.xstrip"
    >>> counts = np.zeros((4, 8), np.uint16)
    >>> with StripWriter(path, StripFileHeader(8, 0.62, 1 / 0.62, 0.2)) as writer:
    ...     writer.write(Strip(0, np.arange(4), counts, counts, captured_ns=0))
    >>> with StripReader(path) as reader:
    ...     [len(strip) for strip in reader]
    [4]
    """

    def __init__(self, path: str | os.PathLike[str], header: StripFileHeader) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._header = header
        self._records = self._lines = self._strips = 0
        self._runs: set[str] = set()
        # Without a buffer: what was written survives the end of the process.
        self._file: io.FileIO | None = self._part.open("wb", buffering=0)
        self.size = 0  # bytes written
        self._write(header.to_bytes())

    def __enter__(self) -> StripWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._file is not None:
            self._file.close()
            self._file = None

    def write_run(self, name: str, low: U16, high: U16) -> None:
        """Store a ``"dark"`` or ``"air"`` run, before the first strip.

        Raises:
            StripFileError: Under another name, a second time, or after a strip.
        """
        if name not in _RUNS or name in self._runs or self._strips:
            raise StripFileError(
                "a run cannot be stored",
                expected="dark or air, each once, before the first strip",
                found=f"{name!r} after {self._strips} strips and {len(self._runs)} runs",
            )
        self._runs.add(name)
        self._put(_RUNS[name], Strip(0, np.zeros(len(low), np.int64), low, high, 0))

    def write(self, strip: Strip) -> None:
        """Append a strip.

        Raises:
            LineError: When its lines are not as wide as the header says.
        """
        self._put(_STRIP, strip)
        self._strips += 1
        self._lines += len(strip)

    def close(self) -> None:
        """Write the end, flush to the disk and give the file its name; safe to call twice."""
        if self._file is None:
            return
        self._record(_END, 0, 0, self._lines, 0)
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._part.replace(self._path)

    def _put(self, kind: int, strip: Strip) -> None:
        if strip.elements != self._header.elements or len(strip) > MAX_LINES:
            raise LineError(
                "a strip does not fit the file",
                expected=f"{self._header.elements} elements, at most {MAX_LINES} lines",
                found=f"{strip.elements} elements, {len(strip)} lines",
            )
        flags = _INTACT if strip.intact else 0
        # Handed on as they are: a lane's journal writes 66 MB/s.
        arrays = ((strip.encoder, "<i8"), (strip.low, "<u2"), (strip.high, "<u2"))
        parts = [np.ascontiguousarray(array, kind).data.cast("B") for array, kind in arrays]
        self._record(kind, flags, len(strip), strip.first_line, strip.captured_ns, *parts)

    def _record(
        self, kind: int, flags: int, lines: int, first_line: int, captured_ns: int,
        *payload: memoryview,
    ) -> None:  # fmt: skip
        size = sum(map(len, payload))
        head = _RECORD.pack(_MARK, kind, flags, self._records, lines, first_line, captured_ns, size)
        self._write(head + _CRC.pack(zlib.crc32(head)))
        crc = 0
        for part in payload:
            self._write(part)
            crc = zlib.crc32(part, crc)
        self._write(_CRC.pack(crc))
        self._records += 1

    def _write(self, data: bytes | memoryview) -> None:
        if self._file is None:
            raise StripFileError("the strip file is closed", remedy="Write before closing it")
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self.size += len(data)


class StripReader:
    """Reads a strip file; a context manager and an iterable of strips, good for one pass.

    A strip whose payload has a bad CRC comes with ``intact=False``: its lines are to be counted,
    not used. Damage behind which the reader cannot know what follows is a `StripFileError`.

    Args:
        path: The file.
        truncated_ok: Take a file whose end is missing (a ``.part``, say): iteration then stops
            at the last whole record and `truncated` is set, instead of raising.

    Raises:
        StripFileError: When the header or a run is not sound. While iterating: on a damaged
            record header, a missing end, or anything behind the end.
    """

    def __init__(self, path: str | os.PathLike[str], *, truncated_ok: bool = False) -> None:
        self._path = Path(path)
        self._truncated_ok = truncated_ok
        self.truncated = False
        self._records = self._lines = 0
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise StripFileError(
                f"{self._path} cannot be opened",
                found=error.strerror or str(error),
                remedy="Check the path",
            ) from error
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            self.header = self._read_header()
            self.runs = self._read_runs()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> StripReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return self.header.elements

    def flat_field(self) -> FlatField:
        """The correction from the dark and air runs of the file.

        Raises:
            StripFileError: When a run is missing.
            CorrectionError: When the runs give no usable correction.
        """
        if missing := [name for name in _RUNS if name not in self.runs]:
            raise StripFileError(
                f"{self._path} holds no {' and no '.join(missing)} run",
                remedy="Record it with its runs, or give a correction from elsewhere",
            )
        return FlatField.from_runs(*self.runs["dark"], *self.runs["air"])

    def __iter__(self) -> Iterator[Strip]:
        while (record := self._next()) is not None:
            kind, strip = record
            if kind != _STRIP:
                raise self._broken("a dark or air run behind the strips")
            yield strip

    def _broken(
        self, what: str, remedy: str = "Record it again, or read its copy"
    ) -> StripFileError:
        return StripFileError(
            f"{self._path} cannot be read", found=f"{what} at byte {self._file.tell()}",
            remedy=remedy,
        )  # fmt: skip

    def _read_header(self) -> StripFileHeader:
        fixed = self._file.read(_HEAD.size)
        if len(fixed) < _HEAD.size or not fixed.startswith(MAGIC):
            raise StripFileError(
                f"{self._path} is no strip file",
                expected=f"a file that starts with {MAGIC!r}",
                found=repr(fixed[:8]),
            )
        _, version, energies, elements, pitch, counts, speed, size = _HEAD.unpack(fixed)
        if size > MAX_METADATA:
            raise self._broken(f"a header with {size} bytes of metadata")
        text = self._file.read(size)
        crc = self._file.read(_CRC.size)
        if crc != _CRC.pack(zlib.crc32(fixed + text)):
            raise self._broken("a header with a bad CRC")
        if version != VERSION or energies != 2:
            raise StripFileError(
                f"{self._path} is of another version",
                expected=f"version {VERSION} with 2 energies",
                found=f"version {version} with {energies}",
                remedy="Read it with the version of xedge that wrote it",
            )
        try:
            metadata = json.loads(text)
        except (ValueError, RecursionError) as error:  # the latter: nested without end
            raise self._broken("metadata that is no JSON") from error
        return StripFileHeader(elements, pitch, counts, speed, metadata)

    def _read_runs(self) -> dict[str, tuple[U16, U16]]:
        runs: dict[str, tuple[U16, U16]] = {}
        names = {kind: name for name, kind in _RUNS.items()}
        while True:
            here, number = self._file.tell(), self._records
            record = self._next()
            if record is None or record[0] == _STRIP:
                # Not a run: leave it to the iteration.
                self._file.seek(here)
                self._records, self._lines, self.truncated = number, 0, False
                return runs
            kind, strip = record
            if not strip.intact:
                raise self._broken(f"a {names[kind]} run with a bad CRC")
            runs[names[kind]] = (strip.low, strip.high)

    def _next(self) -> tuple[int, Strip] | None:
        """Kind and content of the next record; None behind the last one."""
        head = self._file.read(_RECORD.size + _CRC.size)
        if len(head) < _RECORD.size + _CRC.size:
            self._end_missing()
            return None
        fixed = head[: _RECORD.size]
        mark, kind, flags, number, lines, first_line, captured_ns, size = _RECORD.unpack(fixed)
        sound = head[_RECORD.size :] == _CRC.pack(zlib.crc32(fixed))
        if not sound or mark != _MARK or number != self._records or flags & ~_INTACT:
            raise self._broken("a damaged record header")
        if kind == _END:
            self._check_end(first_line, size)
            return None
        expected = lines * (8 + 4 * self.header.elements)
        if kind not in (_STRIP, _DARK, _AIR) or not 1 <= lines <= MAX_LINES or size != expected:
            raise self._broken(f"a record of kind {kind} with {lines} lines in {size} bytes")
        if self._file.tell() + size + _CRC.size > self._size:
            self._end_missing()
            return None
        payload = self._file.read(size)
        crc = self._file.read(_CRC.size)
        self._records += 1
        self._lines += lines if kind == _STRIP else 0
        intact = bool(flags & _INTACT) and crc == _CRC.pack(zlib.crc32(payload))
        encoder, low, high = self._arrays(payload, lines)
        return kind, Strip(first_line, encoder, low, high, captured_ns, intact)

    def _arrays(self, payload: bytes, lines: int) -> tuple[I64, U16, U16]:
        cells, shape = lines * self.header.elements, (lines, self.header.elements)
        encoder = np.frombuffer(payload, "<i8", lines).astype(np.int64, copy=False)
        low = np.frombuffer(payload, "<u2", cells, 8 * lines).astype(np.uint16, copy=False)
        high = np.frombuffer(payload, "<u2", cells, 8 * lines + 2 * cells)
        return encoder, low.reshape(shape), high.astype(np.uint16, copy=False).reshape(shape)

    def _check_end(self, lines: int, size: int) -> None:
        crc = self._file.read(_CRC.size)
        if len(crc) < _CRC.size:
            self._end_missing()
            return
        if size or crc != _CRC.pack(zlib.crc32(b"")):
            raise self._broken("a damaged end")
        if lines != self._lines:
            raise self._broken(f"{self._lines} lines where the end says {lines}")
        if self._file.read(1):
            raise self._broken("something behind the end")

    def _end_missing(self) -> None:
        if not self._truncated_ok:
            raise self._broken(
                f"no end after {self._records} whole records ({self._lines} lines)",
                "Read it with truncated_ok=True (`--truncated-ok`) to take the whole records",
            )
        self.truncated = True
