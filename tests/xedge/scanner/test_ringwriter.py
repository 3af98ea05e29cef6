"""The Python writer: killed at any moment, started again, and never held up."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from xedge.errors import RingError
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip

ELEMENTS = 16
DETECTOR = StripFileHeader(ELEMENTS, 0.62, 1.5, 0.2)

# Every line holds its own number in every element, so that a torn one shows.
WRITE_ON = """
import sys, time, itertools, numpy as np
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip
detector = StripFileHeader(16, 0.62, 1.5, 0.2)
first = int(sys.argv[2])
with RingWriter(sys.argv[1], detector, capacity=256, crc=False) as writer:
    print("open", flush=True)
    for line in itertools.count(first, 7):
        number = np.arange(line, line + 7)
        counts = np.repeat((number % 65536).astype(np.uint16)[:, None], 16, axis=1)
        writer.write(Strip(line, number, counts, counts, time.monotonic_ns()))
        time.sleep(0.0002)
"""


def started(path: Path, first: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_ON, str(path), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def strip(first: int, lines: int) -> Strip:
    number = np.arange(first, first + lines)
    counts = np.repeat((number % 65_536).astype(np.uint16)[:, None], ELEMENTS, axis=1)
    return Strip(first, number, counts, counts, first)


def test_a_writer_that_is_killed_starts_again_and_its_lines_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    process = started(path, 0)
    try:
        with RingSource(path, patience_s=0.001) as source:
            taken: list[Strip] = []
            epochs = {source.writer.epoch}
            strips = iter(source)
            for round_ in range(1, 4):
                goal = len(taken) + 20
                while len(taken) < goal:
                    taken.append(next(strips))
                killed(process)
                process = started(path, round_ * 100_000)
                epochs.add(source.writer.epoch)
            while taken[-1].first_line < 300_000:
                taken.append(next(strips))
    finally:
        killed(process)
    for strip_ in taken:
        number = np.arange(strip_.first_line, strip_.first_line + len(strip_))
        np.testing.assert_array_equal(strip_.encoder, number)
        assert (strip_.low == (number % 65_536)[:, None]).all()
        assert (strip_.high == strip_.low).all()
    assert len(epochs) == 4
    # Each writer's lines are in order and without a gap, but for those that were overwritten.
    gaps = sum(
        b.first_line - a.first_line - len(a)
        for a, b in itertools.pairwise(taken)
        if b.first_line // 100_000 == a.first_line // 100_000
    )
    assert gaps <= source.lost


def test_the_writer_is_never_held_up_and_overwritten_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with RingWriter(path, DETECTOR, capacity=64) as writer, RingSource(path) as source:
        assert source.writer.pid == writer.reader.pid == os.getpid()
        for first in range(0, 1000, 50):
            writer.write(strip(first, 50))
        writer.write(strip(1000, 200))  # longer than the ring
        writer.close()
        writer.close()
        taken = list(source)
        assert sum(map(len, taken)) + source.lost == 1200
        assert sum(map(len, taken)) == 32  # the younger half; the rest may be in change
        assert taken[-1].first_line + len(taken[-1]) == 1200


def test_a_ring_of_another_detector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    RingWriter(path, DETECTOR, capacity=64).close()
    other = StripFileHeader(ELEMENTS, 0.62, 1.5, 0.2, {"serial": "other"})
    with pytest.raises(RingError, match=r"another detector.*serial 'other'.*serial ''"):
        RingWriter(path, other, capacity=64)
    with pytest.raises(RingError, match=r"another detector.*128 lines.*64 lines"):
        RingWriter(path, DETECTOR, capacity=128)
    with (
        RingWriter(path, DETECTOR, capacity=64) as writer,
        pytest.raises(RingError, match="has a writer already"),
    ):
        RingWriter(path, DETECTOR, capacity=64)
    with pytest.raises(RingError, match="an open ring"):
        writer.write(strip(0, 1))
    with pytest.raises(RingError, match="cannot be made"):
        RingWriter(tmp_path / "none" / "ring", DETECTOR)
    assert [p.name for p in tmp_path.iterdir()] == ["ring"]


def test_lines_of_another_width_are_refused(tmp_path: Path) -> None:
    counts = np.zeros((2, ELEMENTS + 1), np.uint16)
    with RingWriter(tmp_path / "ring", DETECTOR, capacity=64) as writer:
        with pytest.raises(RingError, match=r"lines of 16 elements.*17"):
            writer.write(Strip(0, np.arange(2), counts, counts, 0))
        before = writer.reader.beat_ns
        writer.beat()
        assert before == 0  # nobody reads


def test_a_reader_beside_the_writer_sees_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    stop = threading.Event()

    def write() -> None:
        first = 0
        while not stop.is_set():
            writer.write(strip(first, 24))
            first += 24
            time.sleep(0)
        writer.close()

    with RingWriter(path, DETECTOR, capacity=64, crc=False) as writer:
        source = RingSource(path, patience_s=0.0, poll_s=0.0)
        thread = threading.Thread(target=write)
        thread.start()
        for seen, strip_ in enumerate(source):
            number = np.arange(strip_.first_line, strip_.first_line + len(strip_))
            assert (strip_.low == (number % 65_536)[:, None]).all()
            if seen == 300:
                stop.set()
        thread.join()
        source.close()
