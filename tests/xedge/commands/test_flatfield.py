"""`xedge flatfield` on recordings whose offset, gain and lag are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.commands.flatfield import flatfield
from xedge.errors import CorrectionError
from xedge.scanner.correctionfile import load_correction
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.types import U16, Strip

HEADER = StripFileHeader(24, 0.62, 1.0, 0.2, {"serial": "D-7"})


def run(*arguments: object) -> str:
    result = CliRunner().invoke(flatfield, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def level(mean: float, lines: int = 64) -> U16:
    noise = np.random.default_rng(int(mean)).normal(mean, 20, (lines, 24))
    return noise.astype(np.uint16)


def strip(low: U16, high: U16) -> Strip:
    return Strip(0, np.arange(len(low)), low, high, 0)


def recorded(path: Path, low: U16, high: U16) -> Path:
    with StripWriter(path, HEADER) as writer:
        writer.write(strip(low, high))
    return path


def test_from_two_recordings_and_the_lag_from_a_scan(tmp_path: Path) -> None:
    dark = recorded(tmp_path / "dark.xstrip", level(500), level(600))
    air = recorded(tmp_path / "air.xstrip", level(30_500), level(40_600))
    block = level(30_500, 120), level(40_600, 120)
    block[0][40:70, 5:15] = 10_000
    block[1][43:73, 5:15] = 20_000
    scan = recorded(tmp_path / "scan.xstrip", *block)
    out = tmp_path / "d7.xflat"
    said = json.loads(run("make", "--out", out, "--dark", dark, "--air", air, "--scan", scan,
                          "--json"))  # fmt: skip
    assert (said["serial"], said["elements"], said["lag_lines"]) == ("D-7", 24, 3)
    assert said["gain"] == [pytest.approx(2, rel=1e-2), pytest.approx(1.5, rel=1e-2)]
    assert load_correction(out).lag_lines == 3
    assert "24 elements of detector D-7" in run("show", out)


def test_from_a_ring_that_is_being_written(tmp_path: Path) -> None:
    dark = recorded(tmp_path / "dark.xstrip", level(500), level(600))
    with RingWriter(tmp_path / "ring", HEADER, capacity=64) as writer:
        writer.write(strip(level(30_500, 32), level(40_600, 32)))
        out = tmp_path / "d7.xflat"
        run("make", "--out", out, "--dark", dark, "--air", tmp_path / "ring", "--lines", 32)
    assert load_correction(out).serial == "D-7"


def test_from_the_runs_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "belt.xstrip"
    with StripWriter(path, HEADER) as writer:
        writer.write_run("dark", level(500), level(600))
        writer.write_run("air", level(30_500), level(40_600))
    out = tmp_path / "d7.xflat"
    run("make", "--out", out, "--runs", path, "--serial", "D-8", "--lag", -1)
    made = load_correction(out)
    assert (made.serial, made.lag_lines) == ("D-8", -1)


def test_what_cannot_be_made(tmp_path: Path) -> None:
    dark = recorded(tmp_path / "dark.xstrip", level(500), level(600))
    out = tmp_path / "d7.xflat"
    with pytest.raises(CorrectionError, match="not brighter than dark"):
        run("make", "--out", out, "--dark", dark, "--air", dark)
    for options in (["--dark", dark], ["--runs", dark, "--air", dark], []):
        result = CliRunner().invoke(flatfield, ["make", "--out", str(out), *map(str, options)])
        assert result.exit_code == 2
        assert "give --runs" in result.output
    assert not out.exists()
