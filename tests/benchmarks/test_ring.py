"""`xedge bench ring`: where every line went; how late they are is no matter here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from xedge_benchmarks import ring
from xedge_benchmarks.findings import findings
from xedge_benchmarks.ring_command import ring as command

from xedge.errors import ConfigError
from xedge.scanner.ring import check_processor


def test_a_record_says_where_every_line_went(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs cc (on Debian: apt-get install gcc)")
    check_processor()
    arguments = ["--rate", "20000", "--seconds", "1", "--kill-s", "0.2",
                 "--scratch", "--out", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "goal, no gap and p99" in done.output
    (stored,) = (tmp_path / "scratch").glob("*-ring-*.json")
    record = json.loads(stored.read_text())
    found = record["results"]
    run, (short, long, writer) = found["undisturbed"], found["kills"]
    for row in (run, short, long, writer):
        assert row["written"] == row["read"] + row["lost"] + row["gone_with_reader"]
    assert run["written"] == 20_000
    assert run["line_ms"]["p50"] <= run["line_ms"]["p99"] <= run["line_ms"]["p99.9"]
    assert run["line_ms"]["max"] >= run["last_line_ms"]["max"]
    assert all(row["gone_with_reader"] == 0 for row in (run, writer))
    assert all(row["gone_with_reader"] <= 16 for row in (short, long))  # a strip's lines
    # Away for longer than the ring holds, 0.8 s, so that half of it and more is given up.
    assert long["lost"] >= found["capacity"] // 2
    assert long["gaps"] >= 1
    assert writer["longest_silence_s"] >= ring.OUTAGE_S
    lines = findings(record, None)
    assert len(lines) == 4
    assert lines[0].label == "20000 lines/s of 832 elements"
    assert not list(Path("/dev/shm").glob("xedge-bench-ring-*"))


def test_latencies_are_counted_from_when_a_line_was_due() -> None:
    """Of a strip of three lines at 1000 a second, read 1 ms after the last one was due."""
    early = [0, 3, 0, 9_000_000]  # in the warm-up
    later = [[3, 3, due, due + 1_000_000] for due in range(600_000_000, 630_000_000, 5_000_000)]
    said = ring.latencies_ms(np.array([early, *later], np.int64), 1000)
    last, every = said["last_line_ms"], said["line_ms"]
    assert (last["n"], last["p50"], last["max"], last["p99"]) == (6, 1.0, 1.0, None)
    assert last["interval_95"]["p50"] == (1.0, 1.0)
    assert (every["n"], every["p50"], every["max"], every["p99"]) == (18, 2.0, 3.0, None)
    assert "interval_95" not in every


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"C compiler.*no cc.*apt-get install gcc"):
        ring.bench_ring()
    monkeypatch.setattr(ring, "checkout", lambda: None)
    with pytest.raises(ConfigError, match="checkout"):
        ring.bench_ring()
