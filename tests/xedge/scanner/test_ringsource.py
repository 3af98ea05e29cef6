"""The reader of a ring: killed, started again, closed from elsewhere, given damaged lines."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from xedge.errors import RingError
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.source import LineSource
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip

ELEMENTS = 16
DETECTOR = StripFileHeader(ELEMENTS, 0.62, 1.5, 0.2)

READ_ON = """
import sys
from xedge.scanner.ringsource import RingSource
for strip in RingSource(sys.argv[1], patience_s=0):
    print(strip.first_line, len(strip), flush=True)
"""


def strip(first: int, lines: int, *, counter: int | None = None, intact: bool = True) -> Strip:
    number = np.arange(first, first + lines)
    counts = np.repeat((number % 65_536).astype(np.uint16)[:, None], ELEMENTS, axis=1)
    return Strip(first if counter is None else counter, number, counts, counts, first, intact)


def spans(source: RingSource) -> list[tuple[int, int, bool]]:
    return [(s.first_line, len(s), s.intact) for s in source]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer, RingSource(path) as source:
        assert isinstance(source, LineSource)
        assert source.live
        assert source.elements == ELEMENTS
        written = [strip(0, 10), strip(10, 20), strip(30, 1)]
        for one in written:
            writer.write(one)
        writer.close()
        taken = list(source)
    assert [len(s) for s in taken] == [16, 15]
    for name in ("encoder", "low", "high"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(s, name) for s in taken]),
            np.concatenate([getattr(s, name) for s in written]),
        )
    assert [s.captured_ns for s in taken] == [10, 30]
    assert source.lost == 0


def test_jumps_and_damaged_lines_get_strips_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer, RingSource(path) as source:
        writer.write(strip(0, 3))
        writer.write(strip(3, 2, counter=9))
        writer.write(strip(5, 2, counter=11, intact=False))
        writer.write(strip(7, 1, counter=13))
        writer.close()
        assert spans(source) == [(0, 3, True), (9, 2, True), (11, 2, False), (13, 1, True)]


@pytest.mark.parametrize("at", [8, 20, 40, 100])
def test_a_flipped_bit_is_found_by_the_crc(tmp_path: Path, at: int) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer, RingSource(path) as source:
        writer.write(strip(0, 3))
        with path.open("r+b") as file:  # the same pages: a shared mapping
            place = 4096 + 128 + at
            file.seek(place)
            value = file.read(1)[0]
            file.seek(place)
            file.write(bytes([value ^ 1]))
        writer.close()
        taken = list(source)
        assert [s.intact for s in taken if len(s) == 1].count(False) == 1
        assert sum(map(len, taken)) == 3


def test_a_line_that_does_not_stand_is_lost_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer, RingSource(path) as source:
        writer.write(strip(0, 4))
        with path.open("r+b") as file:
            file.seek(4096 + 2 * 128)
            file.write((2 * 66 + 1).to_bytes(8, "little"))  # being overwritten by line 66
        writer.close()
        assert spans(source) == [(0, 2, True), (3, 1, True)]
        assert source.lost == 1


def test_a_reader_takes_up_where_the_last_one_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer:
        process = subprocess.Popen([sys.executable, "-c", READ_ON, str(path)],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert process.stdout is not None
        writer.write(strip(0, 5))
        read = 0
        while read < 5:
            read += int(process.stdout.readline().split()[1])
        with pytest.raises(RingError, match=rf"has a reader already.*process {process.pid}"):
            RingSource(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        writer.write(strip(5, 7))
        with RingSource(path) as source:
            writer.close()
            assert spans(source) == [(5, 7, True)]


def test_what_was_overwritten_between_two_readers_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer:
        with RingSource(path):
            writer.write(strip(0, 100))
        with RingSource(path) as source:
            writer.close()
            assert sum(n for _, n, _ in spans(source)) + source.lost == 100


def test_close_ends_a_reader_that_waits_in_another_thread(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64):
        source = RingSource(path)
        taken: list[Strip] = []
        thread = threading.Thread(target=lambda: taken.extend(source))
        thread.start()
        source.close()
        source.close()
        thread.join(10)
        assert not thread.is_alive()
        assert taken == []
        assert list(source) == []  # closed
        RingSource(path).close()  # and another one may read


def test_a_ring_closed_before_waits_for_its_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    RingWriter(path, DETECTOR, capacity=64).close()
    with RingSource(path) as source:
        taken: list[Strip] = []
        thread = threading.Thread(target=lambda: taken.extend(source))
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        with RingWriter(path, DETECTOR, capacity=64) as writer:
            writer.write(strip(0, 2))
            while not taken:
                thread.join(0.01)
        thread.join(10)
        assert not thread.is_alive()


def test_a_writer_that_came_and_went_between_two_looks_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    RingWriter(path, DETECTOR, capacity=64).close()
    with RingSource(path) as source:
        with RingWriter(path, DETECTOR, capacity=64) as writer:
            writer.write(strip(0, 2))
        late = threading.Timer(10, source.close)
        late.start()
        assert spans(source) == [(0, 2, True)]
        assert late.is_alive()
        late.cancel()
