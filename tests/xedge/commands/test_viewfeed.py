"""The views of a lane's file: brought together, or refused."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from xedge.commands.dicosarchive import described_machine
from xedge.commands.lanefile import read_lane_file
from xedge.commands.sources import Feed
from xedge.commands.sourcetable import SourceTable
from xedge.commands.viewfeed import open_feeds
from xedge.errors import ConfigError, StripFileError
from xedge.lane import LaneConfig, run_lane
from xedge.lane.clock import VirtualClock
from xedge.scanner.folder import plain_flat_field
from xedge.sim.belt import SimulatedBelt
from xedge.types import Detections, Strip, Verdict

PITCH_MM = 0.62
SIMULATED = SourceTable(kind="simulated", bags=1, seed=3)


def test_one_source_is_no_row_of_views() -> None:
    feed = open_feeds([SIMULATED], PITCH_MM)
    assert isinstance(feed.strips, SimulatedBelt)
    assert feed.books == ()


def test_a_belt_from_above_and_from_below_is_one_bag_in_both() -> None:
    below = SourceTable(kind="simulated", bags=1, seed=3, below=True, offset_mm=124)
    feed = open_feeds([SIMULATED, below], PITCH_MM)
    assert isinstance(feed.flat_field, tuple)
    scans = []
    report = run_lane(
        feed.strips, lambda planes: Detections.empty(), feed.flat_field,
        LaneConfig(bag_limit_s=600, deadline_counts=10**6, **feed.changes), clock=VirtualClock(),
        on_decision=lambda decision, scan: scans.append(scan),
    )  # fmt: skip
    feed.close()
    assert feed.changes["view_offsets"] == (0, 200)
    (decision,) = report.decisions
    assert decision.verdict is Verdict.CLEAR
    assert all(books.balanced and books.held == 0 for books in feed.books)
    above, mirrored = scans[0].low[:, :800], scans[0].low[:, 800:]
    # The same thicknesses; the mean of hundreds of lines has a thousandth of noise, or a few.
    np.testing.assert_allclose(above.mean(axis=0), mirrored[:, ::-1].mean(axis=0), rtol=0.03)
    (truth,) = SimulatedBelt(3, 1, 0.5).truth
    # 124 mm are 200 lines; air of 16 lines belongs to the scan.
    assert truth.first_line - 16 <= decision.encoder_head - 200
    assert decision.encoder_tail - 200 <= truth.last_line


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch):
    """What makes a vendor's source of a feed; returns the table that names it."""
    module = types.ModuleType("xedge_vendor_of_views")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(name: str, **changes) -> SourceTable:
        def strips() -> Iterator[Strip]:
            yield from ()

        values = {"strips": strips(), "flat_field": plain_flat_field(8), "counts_per_mm": 2.0}
        setattr(module, name, lambda: Feed(**(values | changes)))
        return SourceTable(kind="python", entry=f"{module.__name__}:{name}")

    return make


def test_what_is_opened_is_closed_and_what_a_view_needs_is_kept(vendor) -> None:
    closed = []
    one = vendor("one", close=lambda: closed.append(1), changes={"direction": -1})
    two = vendor("two", close=lambda: closed.append(2))
    feed = open_feeds([one, two], PITCH_MM)
    assert feed.changes == {"direction": -1, "max_queued_windows": 32, "view_offsets": (0, 0)}
    assert closed == []
    feed.close()
    assert sorted(closed) == [1, 2]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"counts_per_mm": 2.1}, "must read one encoder.*found 2.1 of view 2"),
        ({"strips": types.SimpleNamespace(live=True)}, "live and others.*not live, live"),
        ({"changes": {"direction": -1}}, "direction otherwise.*1.*found -1 of view 2"),
        ({"flat_field": (plain_flat_field(8), plain_flat_field(8))}, "view 2 has views of its own"),
    ],
)
def test_views_that_do_not_fit_together_are_refused_and_closed(vendor, changes, found) -> None:
    closed = []
    one = vendor("one", close=lambda: closed.append(1), changes={"direction": 1})
    two = vendor("two", close=lambda: closed.append(2), **changes)
    with pytest.raises(ConfigError, match=found):
        open_feeds([one, two], PITCH_MM)
    assert sorted(closed) == [1, 2]


def test_a_view_that_cannot_be_opened_closes_the_others(vendor, tmp_path) -> None:
    closed = []
    missing = SourceTable(kind="strip-file", path=tmp_path / "none.xstrip")
    with pytest.raises(StripFileError):
        open_feeds([vendor("one", close=lambda: closed.append(1)), missing], PITCH_MM)
    assert closed == [1]


def test_a_lane_with_several_views_writes_no_dicos_files(vendor, tmp_path) -> None:
    path = tmp_path / "lane.toml"
    path.write_text('[source]\nkind = "simulated"\n[dicos]\nfolder = "bags"\n'
                    '[[bus]]\nkind = "modbus"\n')  # fmt: skip
    feed = open_feeds([vendor("one"), vendor("two")], PITCH_MM)
    with pytest.raises(ConfigError, match="several views writes no DICOS files"):
        described_machine(read_lane_file(path), feed)
