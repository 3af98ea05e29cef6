"""The sources that a lane's file names: what they give, and what is refused at the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xedge.commands.lanefile import SourceTable
from xedge.commands.sources import Gate, open_feed
from xedge.errors import ConfigError, CorrectionError, RingError
from xedge.scanner.correctionfile import Correction, save_correction
from xedge.scanner.flatfield import FlatField
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.types import U16, Strip

HEADER = StripFileHeader(24, 0.5, 4.0, 0.2, {"serial": "D-7"})


def flat(elements: int = 24) -> FlatField:
    shape = (2, elements)
    return FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                     np.zeros(shape, np.bool_))  # fmt: skip


def saved(path: Path, elements: int = 24, serial: str = "D-7", lag: int = 0) -> Path:
    save_correction(path, Correction(flat(elements), serial, lag))
    return path


def strip(first: int, lines: int) -> Strip:
    low: U16 = np.repeat(np.arange(first, first + lines, dtype=np.uint16)[:, None], 24, axis=1)
    return Strip(first, np.arange(first, first + lines) * 2, low, low, first)


def test_a_ring_with_its_correction_and_its_lag(tmp_path: Path) -> None:
    correction = saved(tmp_path / "d7.xflat", lag=2)
    with RingWriter(tmp_path / "ring", HEADER, capacity=64) as writer:
        feed = open_feed(SourceTable(kind="ring", path=tmp_path / "ring", correction=correction))
        assert feed.counts_per_mm == 4.0
        assert Gate(feed.strips).live
        writer.write(strip(0, 10))
        writer.close()
        (out,) = feed.strips
        assert out.first_line == 2
        assert (out.high - out.low == 2).all()  # one counted up with the lines
        feed.close()


def test_the_correction_of_another_detector_is_refused_and_the_ring_let_go(tmp_path: Path) -> None:
    with RingWriter(tmp_path / "ring", HEADER, capacity=64):
        for wrong in (saved(tmp_path / "a", serial="D-8"), saved(tmp_path / "b", elements=23)):
            with pytest.raises(CorrectionError, match=r"another detector.*serial D-7, 24"):
                open_feed(SourceTable(kind="ring", path=tmp_path / "ring", correction=wrong))
            RingSource(tmp_path / "ring").close()
    with pytest.raises(RingError, match="cannot be opened"):
        open_feed(SourceTable(kind="ring", path=tmp_path / "none", correction=tmp_path / "a"))


def test_a_strip_file_without_runs_takes_a_correction_file(tmp_path: Path) -> None:
    path = tmp_path / "belt.xstrip"
    with StripWriter(path, HEADER) as writer:
        writer.write(strip(0, 10))
    feed = open_feed(SourceTable(kind="strip-file", path=path, correction=saved(tmp_path / "c")))
    assert sum(map(len, feed.strips)) == 10
    assert feed.flat_field.elements == 24
    feed.close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kind": "ring"}, "ring needs the key path"),
        ({"kind": "ring", "path": Path("x")}, r"ring needs the key correction.*flatfield make"),
        ({"kind": "strip-file"}, "strip-file needs the key path"),
    ],
)
def test_what_a_kind_needs(keys: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SourceTable(**keys)
