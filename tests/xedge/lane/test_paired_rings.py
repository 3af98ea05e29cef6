"""A lane whose views come through rings, each written by a process of its own; one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.xedge.lane.test_lane_views import (
    OFFSETS,
    WIDTHS,
    config,
    dark_things,
    flat_field,
)
from xedge.lane import run_lane
from xedge.lane.steering import Steering
from xedge.scanner.pairedsource import PairedSource
from xedge.scanner.pairing import Pairing, ViewPlan
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Decision, Reason, Verdict

LINE_NS = 2_000_000
LINES = 16
EVERY, LONG = 300, 120
"""A bag of so many lines, every so many."""

SLACK = 250
"""Lines by which a view may be behind: half a second, for a busy machine."""

# The belt is where the clock says: a writer that starts again goes on where the others are. Its
# first line of all is written down.
WRITER = f"""
import sys, time
from pathlib import Path
import numpy as np
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip

path, stop, began = map(Path, sys.argv[1:4])
width, offset, start_ns = map(int, sys.argv[4:7])
with RingWriter(path, StripFileHeader(width, 1.0, 1.0, 0.5), capacity=16_384) as writer:
    first = max(0, (time.monotonic_ns() - start_ns) // {LINE_NS} // {LINES} + 1) * {LINES}
    began.write_text(str(first))
    while not stop.exists():
        due_ns = start_ns + (first + {LINES}) * {LINE_NS}
        time.sleep(max(0, due_ns - time.monotonic_ns()) * 1e-9)
        raw = np.arange(first, first + {LINES}, dtype=np.int64)
        low = np.full(({LINES}, width), 60_000, np.uint16)
        low[(raw - offset) % {EVERY} < {LONG}, 4 : width - 4] = 30_000
        writer.write(Strip(first, raw, low, low.copy(), time.monotonic_ns()))
        first += {LINES}
"""


class Tunnel:
    """Writers of some views in processes, and a lane that takes what they write in a thread."""

    def __init__(self, folder: Path, views: int, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.decisions: list[Decision] = []
        self.told: list[str] = []
        self.start_ns = time.monotonic_ns() + 10**9
        for view in range(views):  # the rings are there before anybody reads
            RingWriter(self._ring(view), StripFileHeader(WIDTHS[view], 1.0, 1.0, 0.5),
                       capacity=16_384).close()  # fmt: skip
        self.rings = [RingSource(self._ring(view)) for view in range(views)]
        pairing = Pairing([ViewPlan(WIDTHS[v], OFFSETS[v]) for v in range(views)], 1.0,
                          slack_lines=SLACK)  # fmt: skip
        self.source = stack.enter_context(PairedSource(self.rings, pairing, self.told.append))
        self.writers = [self.write(view) for view in range(views)]
        self.steering = Steering()
        self._lane = threading.Thread(target=self._run)
        self._lane.start()

    def _ring(self, view: int) -> Path:
        return self._folder / f"view-{view}"

    def first_line(self, view: int) -> int:
        """The first line that a view's latest writer wrote."""
        return int((self._folder / f"began-{view}").read_text())

    def write(self, view: int) -> subprocess.Popen[bytes]:
        """A process that writes a view from now on."""
        began = self._folder / f"began-{view}"
        began.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, self._ring(view), self._folder / "stop", began,
             *map(str, (WIDTHS[view], OFFSETS[view], self.start_ns))]
        )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.until(began.exists)
        return process

    def _run(self) -> None:
        flats = tuple(flat_field(width) for width in WIDTHS[: len(self.rings)])
        self.report = run_lane(
            self.source, dark_things, flats, config(deadline_counts=10**5),
            on_decision=lambda decision, _: self.decisions.append(decision), realtime=True,
            steering=self.steering,
        )  # fmt: skip

    def until(self, true: Callable[[], bool]) -> None:
        """Return when something is true."""
        end = time.monotonic() + 90
        while not true():
            assert time.monotonic() < end, (self.told, self.decisions[-3:])
            time.sleep(0.02)

    def clear_behind(self, place: int) -> int:
        """Bags that were cleared and began behind a place."""
        return sum(d.verdict is Verdict.CLEAR and d.encoder_head > place for d in self.decisions)

    def place(self) -> int:
        """Where the belt is."""
        return (time.monotonic_ns() - self.start_ns) // LINE_NS

    def stop(self) -> None:
        """The end of the belt."""
        (self._folder / "stop").touch()
        for writer in self.writers:
            assert writer.wait(60) == 0
        self._lane.join(60)
        assert not self._lane.is_alive()


@pytest.mark.parametrize(
    ("views", "killed"),
    [
        (2, 0),
        pytest.param(2, 1, marks=pytest.mark.full),
        pytest.param(4, 2, marks=pytest.mark.full),
    ],
)
def test_a_view_whose_writer_is_killed_clears_nothing_until_it_is_back(
    tmp_path: Path, views: int, killed: int
) -> None:
    with ExitStack() as stack:
        tunnel = Tunnel(tmp_path, views, stack)
        tunnel.until(lambda: tunnel.clear_behind(0) >= 2)
        from_place = tunnel.place()
        tunnel.writers[killed].send_signal(signal.SIGKILL)
        tunnel.writers[killed].wait()
        behind = f"view {killed + 1} gives no lines, or late ones: no bag is cleared without it"
        tunnel.until(lambda: behind in tunnel.told)
        tunnel.until(lambda: any(d.encoder_head > from_place + EVERY for d in tunnel.decisions))
        tunnel.writers[killed] = tunnel.write(killed)
        to_place = tunnel.first_line(killed)
        tunnel.until(lambda: tunnel.clear_behind(to_place) >= 2)
        tunnel.stop()
    report, decisions = tunnel.report, tunnel.decisions
    assert [d.bag for d in decisions] == list(range(1, len(decisions) + 1))
    assert report.ledger.balanced
    assert report.ledger.decisions == len(decisions)
    assert report.health.displaced == ""
    for books, ring in zip(tunnel.source.books, tunnel.rings, strict=True):
        assert books.balanced
        assert books.held == 0
        assert books.lines_in == books.paired + sum(books.dropped.values())
        assert ring.lost == 0
    assert report.ledger.blind_lines[killed] > 0
    # A view sees a place when the encoder reads it and its own offset; bags are where the last view
    # is. What it did not see lies between its last line and the first one that it gave again.
    last, mine = max(OFFSETS[:views]), OFFSETS[killed]
    dead = range(from_place + LINES - mine + last, to_place - mine + last)
    touched = [d for d in decisions if d.encoder_head < dead.stop and d.encoder_tail >= dead.start]
    assert touched
    assert all(d.verdict is Verdict.NOT_CLEARED for d in touched)
    assert {d.reason for d in touched} == {Reason.INCOMPLETE_SCAN}
