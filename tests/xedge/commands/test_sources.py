"""The sources that a lane's file names: what they give, and what is refused at the start."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from xedge.commands.sources import Gate, open_feed
from xedge.commands.sourcetable import SourceTable
from xedge.errors import ConfigError, CorrectionError, RingError
from xedge.scanner.correctionfile import Correction, save_correction
from xedge.scanner.flatfield import FlatField
from xedge.scanner.folder import FolderSource
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
        ({"kind": "folder"}, "folder needs the key path"),
        ({"kind": "folder", "path": Path("x"), "elements": 7}, "elements cannot be used"),
        ({"kind": "folder", "path": Path("x"), "air_counts": 7}, "air_counts cannot be used"),
        ({"kind": "folder", "path": Path("x"), "pixel_mm": 0.0}, "pixel_mm cannot be used"),
    ],
)
def test_what_a_kind_needs(keys: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SourceTable(**keys)


def test_a_folder_of_pictures_and_pairs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = np.full((60, 90, 3), 255, np.uint8)
    picture[20:40, 30:60] = (40, 90, 200)
    cv2.imwrite(str(tmp_path / "colour.png"), picture)
    counts = np.full((30, 20), 30_000, np.uint16)
    for half in ("low", "high"):
        cv2.imwrite(str(tmp_path / f"pair_{half}.png"), counts)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    feed = open_feed(
        SourceTable(kind="folder", path=tmp_path, elements=400, pixel_mm=1.24, air_counts=60_000)
    )
    source = feed.strips
    assert isinstance(source, FolderSource)
    source._settle_ns = 0
    caplog.set_level("INFO", "xedge.service")
    strips: list[Strip] = []
    for strip in source:
        strips.append(strip)
        if source.taken + source.refused == 3:
            feed.close()
    assert (source.taken, source.refused) == (2, 1)
    matter = [s for s in strips if s.intact and len(s) == 30 and s.low.min() == 30_000]
    assert len(matter) == 1  # the pair, in its own pixels
    assert (matter[0].low[0] < 60_000).sum() == 20
    # The colour picture, twice as large: 1.24 mm to 0.62.
    assert [len(s) for s in strips if len(s) in (64, 56)] == [64, 56]
    assert "bad.png was refused" in caplog.text
    assert "pair_low.png goes by" in caplog.text or "pair_high.png goes by" in caplog.text
    assert feed.changes["cutter"].min_gap_lines == 1600
