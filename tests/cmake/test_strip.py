"""The reader of strip files in C (`xedge/strip.h`) says of damaged files what Python's says."""

from __future__ import annotations

import ctypes as c
import itertools
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import StripFileError
from xedge.scanner.stripfile import StripFileHeader, StripReader, StripWriter
from xedge.types import Strip

# What C says in `problem`, and what is found in the message of Python.
FAULTS: Final = {
    "this is no strip file": "is no strip file",
    "the metadata is too long": "bytes of metadata",
    "the header is cut short": "a header with a bad CRC",
    "the header has a bad CRC": "a header with a bad CRC",
    "the file is of another version": "is of another version",
    "the detector's numbers cannot be": "the description of the detector cannot be used",
    "the header of a record is damaged": "a damaged record header",
    "a record cannot be": "a record of kind",
    "the end is damaged": "a damaged end",
    "the end counts other lines": "lines where the end says",
    "something stands behind the end": "something behind the end",
    "a dark or air run behind the strips": "a dark or air run behind the strips",
    "a dark or air run has a bad CRC": "run with a bad CRC",
}
METADATA: Final = ("metadata that is no JSON", "the metadata is no JSON object")
END, LINES = 0, 1
BROKEN, CUT = -1, -2

Told = tuple[list[tuple[Any, ...]], str]
"""Strips, each with all that is in it, what the file says of the detector where it could be opened,
and how it ends: "end", "cut", or Python's fault.
"""


class File(c.Structure):
    _fields_ = (
        ("elements", c.c_uint32), ("pitch_mm", c.c_double), ("counts_per_mm", c.c_double),
        ("speed_m_s", c.c_double), ("metadata", c.c_void_p), ("metadata_size", c.c_uint32),
        ("problem", c.c_char_p), ("bytes", c.c_void_p), ("size", c.c_size_t), ("at", c.c_size_t),
        ("records", c.c_uint32), ("lines", c.c_int64), ("strips", c.c_int), ("last", c.c_int),
        ("map", c.c_void_p), ("crc", c.c_uint32 * 2048),
    )  # fmt: skip


class Record(c.Structure):
    _fields_ = (
        ("kind", c.c_int), ("intact", c.c_int), ("lines", c.c_uint32), ("first_line", c.c_int64),
        ("captured_ns", c.c_int64), ("payload", c.c_void_p),
    )  # fmt: skip


def told_by_c(headers: c.CDLL, data: bytes) -> Told:
    file, record, strips = File(), Record(), []
    kind = headers.xedge_strip_parse(c.byref(file), data, c.c_size_t(len(data)))
    while kind >= 0 and (kind := headers.xedge_strip_next(c.byref(file), c.byref(record))) > 0:
        assert record.kind == kind
        if kind == LINES:
            strips.append((record.first_line, record.captured_ns, bool(record.intact),
                           *lines_of(headers, file, record)))  # fmt: skip
    assert headers.xedge_strip_next(c.byref(file), c.byref(record)) == kind, "it says so again"
    assert (file.problem is None) == (kind == END)
    ending = {END: "end", CUT: "cut"}.get(kind) or FAULTS[file.problem.decode()]
    if strips or kind != BROKEN:
        assert c.string_at(file.metadata, file.metadata_size) == data[44 : 44 + file.metadata_size]
        strips.append((file.elements, file.pitch_mm, file.counts_per_mm, file.speed_m_s))
    return strips, ending


def lines_of(headers: c.CDLL, file: File, record: Record) -> tuple[list[int], bytes, bytes]:
    """Encoder, low and high counts of a record, line by line."""
    encoders, low, high = [], b"", b""
    encoder = c.c_int64()
    one, other = (c.create_string_buffer(2 * file.elements) for _ in "lh")
    for index in range(record.lines):
        headers.xedge_strip_line(
            c.byref(file), c.byref(record), index, c.byref(encoder), one, other
        )
        encoders.append(encoder.value)
        low, high = low + one.raw, high + other.raw
    return encoders, low, high


def told_by_python(data: bytes) -> Told:
    strips: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "belt.xstrip"
        path.write_bytes(data)
        try:
            with StripReader(path, truncated_ok=True) as reader:
                for strip in reader:
                    arrays = (strip.encoder.tolist(), strip.low.tobytes(), strip.high.tobytes())
                    strips.append((strip.first_line, strip.captured_ns, strip.intact, *arrays))
                ending = "cut" if reader.truncated else "end"
        except StripFileError as error:
            ending = next(text for text in {*FAULTS.values(), *METADATA} if text in str(error))
        if strips or ending in ("cut", "end"):
            head = reader.header
            strips.append((head.elements, head.pitch_mm, head.counts_per_mm, head.speed_m_s))
        return strips, ending


def whole(elements: int, runs: Sequence[str], strips: Sequence[int], metadata: Any) -> bytes:
    """A small file; the second strip says that it is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "belt.xstrip"
        with StripWriter(path, StripFileHeader(elements, 0.62, 1.5, 0.2, metadata)) as writer:
            for name in runs:
                run = np.full((2, elements), 700, np.uint16)
                writer.write_run(name, run, run + 1)
            line = 5
            for number, lines in enumerate(strips):
                counts = np.arange(lines * elements, dtype=np.uint16).reshape(lines, elements)
                encoder = np.arange(lines, dtype=np.int64) - 1
                writer.write(Strip(line, encoder, counts, counts + 9, number, intact=number != 1))
                line += lines
        return path.read_bytes()


FILES: Final = st.builds(
    whole,
    elements=st.integers(2, 4),
    runs=st.sampled_from([(), ("dark",), ("dark", "air")]),
    strips=st.lists(st.integers(1, 3), max_size=3),
    metadata=st.sampled_from([{}, {"kv": 160}]),
)


def summed(data: bytearray, which: int) -> None:
    """Made right as far as the sizes lead: the header's CRC 1, of records 2 and payloads 4, and the
    numbers of records 8.
    """
    (metadata,) = struct.unpack_from("<I", data, 40)
    at = 44 + metadata
    if at + 4 > len(data):
        return
    if which & 1:
        struct.pack_into("<I", data, at, zlib.crc32(data[:at]))
    at += 4
    number = 0
    while at + 44 <= len(data):
        (size,) = struct.unpack_from("<Q", data, at + 32)
        if which & 8:
            struct.pack_into("<I", data, at + 8, number)
        number += 1
        if which & 2:
            struct.pack_into("<I", data, at + 40, zlib.crc32(data[at : at + 40]))
        at += 44 + size + 4
        if at > len(data):
            return
        if which & 4:
            struct.pack_into("<I", data, at - 4, zlib.crc32(data[at - 4 - size : at - 4]))


def records(data: bytes) -> list[int]:
    """Where the records of a file begin, as far as their sizes lead."""
    (metadata,) = struct.unpack_from("<I", data, 40)
    found, at = [], 48 + metadata
    while at + 44 <= len(data):
        found.append(at)
        at += 48 + int(struct.unpack_from("<Q", data, at + 32)[0])
    return found


# Fields by their offset and format, of the file and of a record, and values at their ends.
OF_FILE: Final = [(0, "B"), (7, "B"), (11, "B"), (8, "<H"), (10, "<H"), (12, "<I"), (40, "<I")]
NUMBERS: Final = [(16, "<d"), (24, "<d"), (32, "<d")]
OF_RECORD: Final = [
    (0, "B"), (3, "B"), (4, "<H"), (6, "<H"), (8, "<I"), (12, "<I"), (16, "<q"), (24, "<q"),
    (32, "<Q"), (40, "<I"),
]  # fmt: skip
ENDS: Final = (0, 1, 2, 3, 4, 5, 257, 65536, 65537, 2**20, 2**20 + 1, 2**24, 2**24 + 2)
LAST: Final = {"B": 255, "<H": 2**16 - 1, "<I": 2**32 - 1, "<q": 2**63 - 1, "<Q": 2**64 - 1}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Files cut, with bytes changed, with counts that are wrong, with records twice or left out."""
    data = bytearray(draw(FILES))
    for _ in range(draw(st.integers(1, 2))):
        where = records(data) if len(data) > 100 else []
        kind = draw(
            st.sampled_from(["byte", "cut", "add", "field", "number", "record", "out", "twice"])
        )
        if kind == "byte" and data:
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            ends = st.sampled_from([*where, len(data)]) | st.integers(0, len(data))
            del data[max(0, draw(ends) + draw(st.integers(-5, 5))) :]
        elif kind == "add":
            data += draw(st.binary(min_size=1, max_size=60))
        elif kind == "number" and len(data) >= 48:
            at, form = draw(st.sampled_from(NUMBERS))
            number = draw(st.sampled_from([0.0, -1.0, float("inf"), float("nan"), 5e-324, 1e308]))
            struct.pack_into(form, data, at, number)
        elif kind in ("field", "record") and len(data) >= 100 and where:
            base = draw(st.sampled_from(where)) if kind == "record" else 0
            at, form = draw(st.sampled_from(OF_RECORD if kind == "record" else OF_FILE))
            if base + at + struct.calcsize(form) > len(data):
                continue
            (value,) = struct.unpack_from(form, data, base + at)
            value = draw(st.sampled_from([*ENDS, LAST[form], value + 1, value - 1]))
            struct.pack_into(form, data, base + at, min(max(value, 0), LAST[form]))
        elif kind in ("out", "twice") and where:
            first = draw(st.integers(0, len(where) - 1))
            stop = where[first + 1] if first + 1 < len(where) else len(data)
            piece = data[where[first] : stop]
            data[where[first] : stop] = piece * 2 if kind == "twice" else b""
    if len(data) >= 48:
        summed(data, draw(st.sampled_from([15, 15, 11, 7, 3]) | st.integers(0, 15)))
    return bytes(data)


def compare(headers: c.CDLL, data: bytes) -> None:
    """Nothing; both readers find the same strips in it, and the same fault behind them."""
    strips, ending = told_by_python(data)
    other, fault = told_by_c(headers, data)
    if ending in METADATA:
        # C leaves the metadata to its caller as text.
        (size,) = struct.unpack_from("<I", data, 40)
        assert not is_object(data[44 : 44 + size])
        return
    assert (other, fault) == (strips, ending)


@settings(max_examples=400, deadline=None)
@given(data=damaged())
def test_both_readers_say_the_same_of_a_damaged_file(headers: c.CDLL, data: bytes) -> None:
    compare(headers, data)


def test_both_readers_say_the_same_of_a_file_cut_anywhere(headers: c.CDLL) -> None:
    data = whole(2, ("dark", "air"), (2, 1), {})
    for size in range(len(data)):
        compare(headers, data[:size])
        compare(headers, data[: size - 1] + bytes([data[size - 1] ^ 1]) if size else b"")
    for more in range(1, 50):
        compare(headers, data + bytes(more))


@pytest.mark.parametrize("which", [0, 1, 3, 7, 15])
def test_both_readers_say_the_same_of_every_field_at_its_ends(headers: c.CDLL, which: int) -> None:
    sound = whole(2, ("dark", "air"), (2, 1), {})
    fields = [(at, form, LAST[form]) for at, form in OF_FILE]
    for base in records(sound):
        fields += [(base + at, form, LAST[form]) for at, form in OF_RECORD]
        (size,) = struct.unpack_from("<Q", sound, base + 32)
        fields += [(base + 44 + size, "<I", LAST["<I"])]  # the payload's CRC
    for at, form, last in fields:
        (value,) = struct.unpack_from(form, sound, at)
        for changed in {*ENDS, last, value + 1, value - 1, value + 2**56}:
            if changed <= last and (changed >= 0 or form == "<q"):
                data = bytearray(sound)
                struct.pack_into(form, data, at, changed)
                summed(data, which)
                compare(headers, bytes(data))
    for at, form in NUMBERS:
        for number in (0.0, -0.0, -1.0, float("inf"), float("nan"), 5e-324, sys.float_info.max):
            data = bytearray(sound)
            struct.pack_into(form, data, at, number)
            summed(data, which)
            compare(headers, bytes(data))


@pytest.mark.parametrize("more", [0, 1])
def test_both_readers_say_the_same_of_the_longest_strip(headers: c.CDLL, more: int) -> None:
    data = bytearray(whole(2, (), (65536,), {}))
    (at, end) = records(data)
    struct.pack_into("<I", data, at + 12, 65536 + more)
    struct.pack_into("<Q", data, at + 32, 16 * (65536 + more))
    struct.pack_into("<q", data, end + 16, 65536 + more)
    data[end - 4 : end - 4] = bytes(16 * more)
    summed(data, 15)
    compare(headers, bytes(data))
    assert told_by_python(bytes(data))[1] == ("a record of kind" if more else "end")


def test_both_readers_say_the_same_of_records_in_another_order(headers: c.CDLL) -> None:
    sound = whole(2, ("dark", "air"), (2, 1), {})
    starts = [*records(sound), len(sound)]
    pieces = [sound[a:b] for a, b in itertools.pairwise(starts)]
    for order in itertools.product(range(len(pieces)), repeat=3):
        data = bytearray(sound[: starts[0]] + b"".join(pieces[k] for k in order) + pieces[-1])
        summed(data, 15)
        compare(headers, bytes(data))


def is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@settings(max_examples=50, deadline=None)
@given(data=FILES)
def test_both_readers_take_a_whole_file(headers: c.CDLL, data: bytes) -> None:
    assert told_by_c(headers, data) == told_by_python(data)
    assert told_by_python(data)[1] == "end"


def test_metadata_longer_than_may_be_is_refused_by_both(headers: c.CDLL) -> None:
    """Also where a CRC that fits stands behind its first mebibyte."""
    head = struct.pack("<8sHHIdddI", b"\x89XSTRIP\n", 1, 2, 4, 0.62, 1.5, 0.2, 2**20 + 8)
    head += b"{}" + b" " * (2**20 - 2)
    data = head + struct.pack("<I", zlib.crc32(head)) + bytes(100)
    assert told_by_python(data) == told_by_c(headers, data) == ([], "bytes of metadata")
