"""Text to a stream that nobody reads keeps nobody waiting."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from xedge.commands.outlet import Outlet, OutletHandler


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, the reader's first."""
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):
            os.close(end)


def test_every_line_arrives_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with Outlet(writer) as outlet:
        for number in range(500):
            outlet.say(f"line {number}, \u00e4 \udc80")
    os.close(writer)
    with os.fdopen(os.dup(reader), encoding="utf-8") as lines:
        assert lines.read().splitlines() == [f"line {n}, \u00e4 \\udc80" for n in range(500)]
    assert outlet.lost == 0


def test_a_reader_that_stalls_loses_lines_and_keeps_nobody_waiting(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outlet = Outlet(writer, most=10, close_s=0.1)
    with outlet:
        # A pipe holds 64 KiB, the queue ten lines, and one is being written.
        for _ in range(1000):
            outlet.say("x" * 9_999)
        assert outlet.lost >= 1000 - 10 - 1 - 7
    os.close(reader)  # lets the thread that was left behind go on
    outlet._thread.join(20)
    assert not outlet._thread.is_alive()


def test_a_reader_that_goes_away_is_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    with Outlet(writer) as outlet:
        outlet.say("into the void")
        outlet.say("again")
    assert outlet.lost == 2


def test_a_log_goes_through_an_outlet(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = logging.getLogger("xedge.test.outlet")
    log.propagate = False
    with Outlet(writer) as outlet:
        log.addHandler(OutletHandler(outlet))
        log.warning("%d bags", 3)
    assert os.read(reader, 100) == b"3 bags\n"
    log.handlers.clear()
