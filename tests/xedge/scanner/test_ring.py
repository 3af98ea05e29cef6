"""The ring's layout, byte for byte, and what is refused when a ring is opened."""

from __future__ import annotations

import platform
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from xedge.errors import RingError, StripFileError
from xedge.scanner import ring
from xedge.scanner.ring import RingHeader, RingMap
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip

DETECTOR = StripFileHeader(8, 0.62, 1.5, 0.2, {"serial": "D-7"})


def made(folder: Path) -> Path:
    path = folder / "ring"
    counts = np.arange(24, dtype=np.uint16).reshape(3, 8)
    with RingWriter(path, DETECTOR, capacity=64) as writer:
        writer.write(Strip(70, np.array([5, 6, 7]), counts, counts + np.uint16(100), 123))
    return path


def test_every_byte_stands_where_the_page_says(tmp_path: Path) -> None:
    data = made(tmp_path).read_bytes()
    assert len(data) == 4096 + 64 * 128  # 40 + 4 * 8 bytes, in whole cache lines
    assert data[:8] == b"\x89XRING\n\x1a"
    assert struct.unpack_from("<HHIII", data, 8) == (1, 2, 8, 64, 128)
    assert struct.unpack_from("<3d", data, 24) == (0.62, 1.5, 0.2)
    assert data[48:80] == b"D-7".ljust(32, b"\0")
    assert struct.unpack_from("<I", data, 252)[0] == zlib.crc32(data[:252])
    written, _, _, _, state = struct.unpack_from("<5Q", data, 256)
    assert (written, state) == (3, 2)
    assert data[384:432] == bytes(48)  # no reader yet
    line = data[4096 + 128 : 4096 + 256]
    assert struct.unpack_from("<QqqqI", line) == (4, 71, 6, 123, 3)
    assert struct.unpack_from("<I", line, 36)[0] == zlib.crc32(line[8:36] + line[40:72])
    assert list(struct.unpack_from("<16H", line, 40)) == [*range(8, 16), *range(108, 116)]


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"\x88", "no ring"),
        (14, b"\x01", "damaged"),
        (30, b"\xff", "damaged"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, at: int, value: bytes, said: str) -> None:
    path = made(tmp_path)
    data = bytearray(path.read_bytes())
    data[at : at + 1] = value
    path.write_bytes(data)
    with pytest.raises(RingError, match=said):
        RingSource(path)


def test_another_version_a_wrong_stride_and_a_cut_ring_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    good = path.read_bytes()
    for at, value, said in ((8, b"\x02", "another version"), (20, b"\xc0", "lines that cannot be")):
        data = bytearray(good)
        data[at : at + 1] = value
        data[252:256] = struct.pack("<I", zlib.crc32(data[:252]))
        path.write_bytes(data)
        with pytest.raises(RingError, match=said):
            RingSource(path)
    path.write_bytes(good[:-1])
    with pytest.raises(RingError, match="cut short"):
        RingSource(path)
    with pytest.raises(RingError, match=r"cannot be opened.*Start its writer first"):
        RingSource(tmp_path / "none")


@pytest.mark.parametrize("capacity", [63, 100, 1 << 21])
def test_capacities_that_cannot_be(capacity: int) -> None:
    with pytest.raises(RingError, match="power of two"):
        RingHeader(DETECTOR, capacity)


def test_descriptions_that_cannot_be() -> None:
    with pytest.raises(RingError, match="at most 32 bytes"):
        RingHeader(StripFileHeader(8, 1.0, 1.0, 1.0, {"serial": "x" * 33}))
    with pytest.raises(StripFileError, match="cannot be used"):
        StripFileHeader(1, 1.0, 1.0, 1.0)


def test_a_header_comes_back() -> None:
    header = RingHeader(DETECTOR, 128)
    assert RingHeader.from_bytes(header.to_bytes(), "it") == header


def test_other_processors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(RingError, match=r"x86-64 Linux only.*aarch64"):
        RingSource(path)
    with pytest.raises(RingError, match="x86-64 Linux only"):
        RingWriter(path, DETECTOR, capacity=64)


def test_a_side_is_held_by_one(tmp_path: Path) -> None:
    path = made(tmp_path)
    first = RingMap(path, ring.READER_AT)
    with pytest.raises(RingError, match=r"has a reader already.*process \d+"):
        RingMap(path, ring.READER_AT)
    other = RingMap(path, ring.WRITER_AT)  # the other side is free
    assert first.peer.state == ring.OPEN
    assert first.peer.silent_s < 60
    other.release()
    first.release()
    RingMap(path, ring.READER_AT).release()
