"""Strip files: what is written comes back, and no damage passes for data."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import CorrectionError, LineError, StripFileError
from xedge.scanner.source import ArraySource, LineSource, StripFileSource
from xedge.scanner.stripfile import MAGIC, StripFileHeader, StripReader, StripWriter
from xedge.types import Strip

HEADER = StripFileHeader(6, 0.62, 1 / 0.62, 0.2, {"scanner": "test", "kv": 160})


def strips(sizes=(3, 1, 4), elements=6, seed=0):
    rng = np.random.default_rng(seed)
    made, line = [], 100
    for k, n in enumerate(sizes):
        low, high = (rng.integers(0, 65_536, (n, elements)).astype(np.uint16) for _ in "lh")
        encoder = np.arange(line, line + n, dtype=np.int64) * 3 - 200
        made.append(Strip(line, encoder, low, high, 10**9 * k + 7, intact=k != 1))
        line += n
    return made


def write(path, sizes=(3, 1, 4), runs=False):
    with StripWriter(path, HEADER) as writer:
        if runs:
            run = np.arange(20 * 6, dtype=np.uint16).reshape(20, 6)
            writer.write_run("dark", run % 7 + 400, run % 5 + 400)
            writer.write_run("air", run % 7 + 40_000, run % 5 + 30_000)
        for strip in strips(sizes):
            writer.write(strip)
    return path


def same(a: Strip, b: Strip) -> bool:
    arrays = all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("encoder", "low", "high"))
    return arrays and (a.first_line, a.captured_ns) == (b.first_line, b.captured_ns)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "belt.xstrip")
    with StripReader(path) as reader:
        assert reader.header == HEADER
        assert reader.elements == 6
        back = list(reader)
    for a, b in zip(strips(), back, strict=True):
        assert same(a, b)
        assert a.intact == b.intact
    assert [s.intact for s in back] == [True, False, True]
    assert not (tmp_path / "belt.xstrip.part").exists()


def test_the_layout_is_what_the_documentation_says(tmp_path: Path) -> None:
    """Read by hand, with offsets from the page, not with the module's own structs."""
    data = write(tmp_path / "belt.xstrip").read_bytes()
    assert data[:8] == MAGIC == b"\x89XSTRIP\n"
    assert struct.unpack_from("<HHI", data, 8) == (1, 2, 6)
    assert struct.unpack_from("<ddd", data, 16) == (0.62, 1 / 0.62, 0.2)
    (metadata,) = struct.unpack_from("<I", data, 40)
    at = 44 + metadata + 4
    assert data[at : at + 4] == b"XREC"
    assert struct.unpack_from("<HHIIqqQ", data, at + 4) == (1, 1, 0, 3, 100, 7, 3 * (8 + 4 * 6))
    encoder = np.frombuffer(data, "<i8", 3, at + 44)
    low = np.frombuffer(data, "<u2", 18, at + 44 + 24).reshape(3, 6)
    np.testing.assert_array_equal(encoder, strips()[0].encoder)
    np.testing.assert_array_equal(low, strips()[0].low)


def test_runs_make_a_file_complete(tmp_path: Path) -> None:
    with StripReader(write(tmp_path / "a.xstrip", runs=True)) as reader:
        assert set(reader.runs) == {"dark", "air"}
        flat = reader.flat_field()
        assert len(list(reader)) == 3
    assert flat.elements == 6
    assert not flat.dead.any()
    with (
        StripReader(write(tmp_path / "b.xstrip")) as reader,
        pytest.raises(StripFileError, match="no dark and no air run"),
    ):
        reader.flat_field()


def test_runs_that_give_no_correction_say_so(tmp_path: Path) -> None:
    with StripWriter(tmp_path / "a.xstrip", HEADER) as writer:
        run = np.full((20, 6), 500, np.uint16)
        writer.write_run("dark", run, run)
        writer.write_run("air", run, run)
    with StripReader(tmp_path / "a.xstrip") as reader, pytest.raises(CorrectionError):
        reader.flat_field()


@settings(deadline=None, max_examples=250)
@given(data=st.data())
def test_no_flipped_byte_passes_for_data(data, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("flip")
    good = write(folder / "good.xstrip", runs=True).read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = bytearray(good)
    bad[place] ^= flip
    path = folder / "bad.xstrip"
    path.write_bytes(bad)
    marks = [k for k in range(len(good)) if good.startswith(b"XREC", k)]
    begins, ends = marks[3], marks[4]  # two runs and a strip, then the one damaged from the start
    lost = 0
    try:
        with StripReader(path) as reader:
            assert reader.header == HEADER
            assert reader.runs["dark"][0].max() <= 406
            assert reader.runs["air"][1].min() >= 30_000
            for found, meant in zip(reader, strips(), strict=True):
                assert len(found) == len(meant)
                assert found.first_line == meant.first_line
                if found.intact:
                    assert same(found, meant)
                lost += meant.intact and not found.intact
    except StripFileError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    assert lost == (0 if begins <= place < ends else 1)


@settings(deadline=None, max_examples=60)
@given(keep=st.integers(0, 10_000))
def test_a_file_cut_short_is_never_taken_for_whole(keep, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    good = write(folder / "good.xstrip").read_bytes()
    path = folder / "cut.xstrip"
    path.write_bytes(good[: keep % len(good)])
    with pytest.raises(StripFileError), StripReader(path) as reader:
        list(reader)
    try:
        with StripReader(path, truncated_ok=True) as reader:
            found = list(reader)
    except StripFileError as error:
        assert "no strip file" in str(error) or "header" in str(error)  # noqa: PT017
        return
    assert reader.truncated
    assert all(same(a, b) for a, b in zip(found, strips(), strict=False))


@settings(deadline=None, max_examples=60)
@given(junk=st.binary(max_size=300), keep_magic=st.booleans())
def test_junk_is_refused(junk, keep_magic, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("junk") / "junk.xstrip"
    path.write_bytes(MAGIC * keep_magic + junk)
    with pytest.raises(StripFileError):
        StripReader(path)


def test_something_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xstrip")
    path.write_bytes(path.read_bytes() + b"\0")
    with StripReader(path) as reader, pytest.raises(StripFileError, match="behind the end"):
        list(reader)


def test_records_out_of_order_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xstrip", sizes=(2, 2))
    data = path.read_bytes()
    start, size = data.index(b"XREC"), 44 + 2 * (8 + 24) + 4
    first, second = data[start : start + size], data[start + size : start + 2 * size]
    path.write_bytes(data[:start] + second + first + data[start + 2 * size :])
    with pytest.raises(StripFileError, match="damaged record header"):
        StripReader(path)


def fail_while_writing(path: Path) -> None:
    with StripWriter(path, HEADER) as writer:
        writer.write(strips()[0])
        writer.write(strips(elements=7)[0])


def test_a_write_that_fails_leaves_only_a_part(tmp_path: Path) -> None:
    path = tmp_path / "belt.xstrip"
    with pytest.raises(LineError, match="does not fit the file"):
        fail_while_writing(path)
    assert not path.exists()
    with StripReader(tmp_path / "belt.xstrip.part", truncated_ok=True) as reader:
        assert len(list(reader)) == 1
        assert reader.truncated


def test_a_missing_file_and_a_closed_writer_say_so(tmp_path: Path) -> None:
    with pytest.raises(StripFileError, match="cannot be opened"):
        StripReader(tmp_path / "none.xstrip")
    writer = StripWriter(tmp_path / "a.xstrip", HEADER)
    writer.close()
    writer.close()
    with pytest.raises(StripFileError, match="closed"):
        writer.write(strips()[0])
    with StripWriter(tmp_path / "b.xstrip", HEADER) as writer:
        run = np.zeros((20, 6), np.uint16)
        writer.write_run("air", run, run)
        with pytest.raises(StripFileError, match="cannot be stored"):
            writer.write_run("air", run, run)
        writer.write(strips()[0])
        with pytest.raises(StripFileError, match="cannot be stored"):
            writer.write_run("dark", run, run)


@pytest.mark.parametrize(
    "change", [{"elements": 1}, {"pitch_mm": 0.0}, {"speed_m_s": float("nan")}, {"metadata": [1]}]
)
def test_a_header_that_cannot_be_is_refused(change) -> None:
    fields = {"elements": 6, "pitch_mm": 0.62, "counts_per_mm": 1.6, "speed_m_s": 0.2} | change
    with pytest.raises(StripFileError):
        StripFileHeader(**fields)


def test_metadata_nested_without_end_is_refused(tmp_path: Path) -> None:
    text = b"[" * 200_000
    body = struct.pack("<8sHHIdddI", MAGIC, 1, 2, 6, 0.62, 1.6, 0.2, len(text)) + text
    path = tmp_path / "deep.xstrip"
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)))
    with pytest.raises(StripFileError, match="no JSON"):
        StripReader(path)


def test_metadata_must_be_json() -> None:
    with pytest.raises(StripFileError, match="no JSON"):
        StripFileHeader(6, 0.62, 1.6, 0.2, {"x": object()}).to_bytes()


def test_both_sources_give_the_same_strips(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    low, high = (rng.integers(0, 65_536, (50, 6)).astype(np.uint16) for _ in "lh")
    arrays = ArraySource(low, high, line_ns=1000, strip_lines=16, counts_per_line=2)
    with StripWriter(tmp_path / "a.xstrip", HEADER) as writer:
        for strip in arrays:
            writer.write(strip)
    recorded = StripFileSource(tmp_path / "a.xstrip")
    assert isinstance(arrays, LineSource)
    assert isinstance(recorded, LineSource)
    assert arrays.elements == recorded.elements == 6
    pairs = list(zip(arrays, recorded, strict=True))
    assert [len(a) for a, _ in pairs] == [16, 16, 16, 2]
    assert all(same(a, b) for a, b in pairs)
    np.testing.assert_array_equal(np.concatenate([a.low for a, _ in pairs]), low)
    assert [a.captured_ns for a, _ in pairs] == [16_000, 32_000, 48_000, 50_000]
    arrays.close()
    recorded.close()


def test_arrays_that_cannot_be_lines_are_refused() -> None:
    lines = np.zeros((8, 6), np.uint16)
    with pytest.raises(LineError):
        ArraySource(lines, lines[:, :5])
    with pytest.raises(LineError):
        ArraySource(lines, lines, strip_lines=0)
