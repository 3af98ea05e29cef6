"""What every source has in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xedge.scanner.folder import FolderSource
from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.source import ArraySource, LineSource, StripFileSource
from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.sim.belt import SimulatedBelt

HEADER = StripFileHeader(800, 0.62, 1.5, 0.2)


def test_every_source_is_a_line_source_and_is_closed_by_a_with_statement(tmp_path: Path) -> None:
    counts = np.zeros((5, 800), np.uint16)
    with StripWriter(tmp_path / "belt.xstrip", HEADER) as writer:
        for strip in ArraySource(counts, counts, strip_lines=2):
            writer.write(strip)
    RingWriter(tmp_path / "ring", HEADER, capacity=64).close()
    sources: list[LineSource] = [
        ArraySource(counts, counts),
        StripFileSource(tmp_path / "belt.xstrip"),
        RingSource(tmp_path / "ring"),
        FolderSource(tmp_path, 800, lambda path: (counts, counts)),
        SimulatedBelt(1, 0, 0.2),
    ]
    for source in sources:
        assert isinstance(source, LineSource)
        assert source.elements == 800
        with source as opened:
            assert opened is source
        source.close()  # twice is safe
    assert [source.live for source in sources] == [False, False, True, True, False]
