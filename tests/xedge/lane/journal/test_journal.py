"""What a journal keeps over crashes, and what it does when the disk does not do its part."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError, JournalError, LaneError
from xedge.lane import Journal, read_journal
from xedge.lane.journal import JournalReader, JournalSettings
from xedge.lane.journal.schema import VERSION
from xedge.lane.journal.segments import segments_in
from xedge.lane.journal.store import Store
from xedge.types import Detections, Reason, Verdict

SMALL = JournalSettings(keep_bytes=40_000)


def begin(journal: Journal, belt, bag: int, head: int = 100) -> None:
    journal.write("bag-begun", {"bag": bag, "head_encoder": head})


def test_bags_epochs_and_places_go_on_from_run_to_run(shift, tmp_path: Path) -> None:
    first, second = (shift.run(tmp_path / "j") for _ in range(2))
    assert [d.bag for d in first.decisions] == [1, 2]
    assert [d.bag for d in second.decisions] == [3, 4]
    with JournalReader(tmp_path / "j") as reader:
        one, other = reader.boots()
        assert 0 < one.epoch < 2**31
        assert (other.epoch, other.first_bag) == (one.epoch + 1, 3)
        assert one.ended_at is not None
        assert {row["config_sha256"] for row in reader.bags()} != {""}
    kinds = [record["kind"] for record in read_journal(tmp_path / "j")]
    assert kinds == ["bag-begun", "bag-ended", "decision"] * 2 + ["source-ended"] + (
        ["bag-begun", "bag-ended", "decision"] * 2 + ["source-ended"]
    )


def test_what_was_on_the_belt_is_decided_once_by_the_next_run(belt, shift, tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.start(belt.flat_field, belt.config())
        begin(journal, belt, 1, 100)
        journal.write("bag-ended", {"bag": 1, "tail_encoder": 140})
        begin(journal, belt, 2, 200)
        assert journal._scribe.settle()
        killed = shift.killed(tmp_path / "j", tmp_path / "killed")
        epoch = journal.epoch
    for run, recovered in enumerate((2, 0, 0), 1):
        with Journal(killed) as journal:
            assert journal.epoch == epoch + run
            assert (journal.first_bag, journal.recovered) == (3, recovered)
            scanned, under_beam = journal.pending
    assert (scanned.bag, scanned.verdict, scanned.reason) == (
        1, Verdict.NOT_CLEARED, Reason.TIMEOUT)  # fmt: skip
    assert (scanned.late, scanned.encoder_head, scanned.encoder_tail) == (True, 100, 140)
    assert (under_beam.verdict, under_beam.reason) == (
        Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)  # fmt: skip
    assert under_beam.encoder_tail == 200  # no strip of it reached the disk
    seen = []
    report = shift.run(killed, on_decision=lambda decision, scan: seen.append(decision.bag))
    assert seen == [1, 2, 3, 4]
    assert (report.resent, report.ledger.decisions, sum(report.tally.verdicts.values())) == (2,) * 3
    with Journal(killed) as journal:
        assert journal.pending == ()


def test_the_encoder_s_last_place_is_the_tail_of_a_bag_that_was_cut(
    belt, shift, tmp_path: Path
) -> None:
    copies = []

    def strips(journal):
        yield from belt.strips("." * 20 + "#" * 30)
        assert journal._scribe.settle()
        copies.append(shift.killed(tmp_path / "j", tmp_path / "killed"))

    shift.run(tmp_path / "j", strips=strips)
    with Journal(copies[0]) as journal:
        (decision,) = journal.pending
    # The bag begins with 3 lines of margin.
    assert (decision.encoder_head, decision.encoder_tail) == (17, 49)


def test_a_decision_that_nobody_took_is_sent_again_as_it_was(belt, shift, tmp_path: Path) -> None:
    seen = []

    def failing(decision, scan) -> None:
        seen.append(decision)
        raise ConnectionError("the gate is away")

    found = replace(belt.found(0.9))
    shift.run(tmp_path / "j", 1, screen=lambda planes: found, on_decision=failing)
    again = []
    report = shift.run(
        tmp_path / "j", 1, on_decision=lambda decision, scan: again.append((decision, scan))
    )  # fmt: skip
    (first, scan), (second, _) = again
    assert scan is None
    assert (first.bag, second.bag, report.resent) == (1, 2, 1)
    for name in ("verdict", "reason", "reasons", "latency_ns", "ladder", "late", "encoder_tail"):
        assert getattr(first, name) == getattr(seen[0], name)
    assert first.detections.boxes.tobytes() == seen[0].detections.boxes.tobytes()
    with Journal(tmp_path / "j") as journal:
        assert journal.pending == ()


def test_with_a_plc_only_its_word_counts(shift, tmp_path: Path, belt) -> None:
    from xedge.lane import run_lane

    with Journal(tmp_path / "j") as journal:
        journal.acknowledged_elsewhere = True
        run_lane(
            belt.strips(("." * 20 + "#" * 20) * 3 + "." * 20), lambda planes: Detections.empty(),
            belt.flat_field, belt.config(), journal=journal,
        )  # fmt: skip
        journal.acknowledge(2)
    with Journal(tmp_path / "j") as journal:
        assert [decision.bag for decision in journal.pending] == [1, 3]


def test_a_journal_is_for_one_run_of_one_lane_in_one_process(belt, tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.start(belt.flat_field, belt.config())
        with pytest.raises(LaneError, match="one run of one lane"):
            journal.start(belt.flat_field, belt.config())
        with pytest.raises(JournalError, match="in use"):
            Journal(tmp_path / "j")
    journal.close()


def test_a_journal_that_cannot_be_used_says_why(shift, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"cannot be written.*No such file.*Make room"):
        Journal(tmp_path / "no" / "j")
    (tmp_path / "file").write_text("a text")
    with pytest.raises(JournalError, match=r"cannot be written.*File exists"):
        Journal(tmp_path / "file")
    shift.run(tmp_path / "j", 1)
    base = sqlite3.connect(tmp_path / "j" / "journal.sqlite")
    for other in (VERSION - 1, VERSION + 1):
        base.execute(f"PRAGMA user_version = {other}")
        for opened in (Journal, JournalReader):
            remedy = "drain a lane with the version of xedge that wrote it.*a new folder"
            with pytest.raises(JournalError, match=f"expected {VERSION}, found {other}.*{remedy}"):
                opened(tmp_path / "j")
    base.execute("PRAGMA application_id = 7")
    base.close()
    with pytest.raises(JournalError, match="is no journal of a lane"):
        Journal(tmp_path / "j")
    (tmp_path / "j" / "journal.sqlite").write_bytes(b"no database at all" * 100)
    for opened in (Journal, JournalReader):
        with pytest.raises(JournalError, match=r"cannot be read.*not a database"):
            opened(tmp_path / "j")
    with pytest.raises(JournalError, match="holds no journal"):
        JournalReader(tmp_path)
    for wrong in ({"keep_bytes": 0}, {"fsync": "never"}, {"patience_s": float("inf")}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JournalSettings(**wrong)


def test_a_database_that_a_crash_left_without_tables_is_begun_anew(shift, tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    base = sqlite3.connect(tmp_path / "j" / "journal.sqlite")
    base.execute("PRAGMA journal_mode = WAL")
    base.close()
    with pytest.raises(JournalError, match="no journal yet"):
        JournalReader(tmp_path / "j")
    shift.run(tmp_path / "j", 1)
    assert [r["bag"] for r in read_journal(tmp_path / "j") if r["kind"] == "decision"] == [1]


# Segments


@pytest.mark.parametrize("fsync", ["interval", "decision"])
def test_the_oldest_segments_make_room_and_the_bags_stay(shift, tmp_path: Path, fsync: str) -> None:
    report = shift.run(
        tmp_path / "j", 40, settings=replace(SMALL, fsync=fsync, sync_s=0.001)
    )  # fmt: skip
    assert report.journal_errors == 0, report.errors
    kept = segments_in(tmp_path / "j")
    # A strip of five lines of 24 elements is 568 bytes; one that is begun may be one over.
    assert sum(path.stat().st_size for path in kept.values()) <= SMALL.keep_bytes + 600
    assert 1 < len(kept) < 10
    assert min(kept) > 1
    assert all(path.suffix == ".xstrip" for path in kept.values())
    with JournalReader(tmp_path / "j") as reader:
        assert [row["bag"] for row in reader.bags()] == list(range(1, 41))
        (boot,) = reader.boots()
        assert {start.segment for start in reader.starts(boot.epoch)} <= set(kept)


def test_no_segment_goes_that_an_open_bag_needs(belt, tmp_path: Path) -> None:
    from xedge.lane.events import StripArrived

    strips = belt.strips("." * 1000)
    with Journal(tmp_path / "j", SMALL) as journal:
        journal.start(belt.flat_field, belt.config())
        for k, strip in enumerate(strips):
            if k == 30:
                begin(journal, belt, 1)
            journal.event(StripArrived(strip), k)
        assert journal._scribe.settle()
        kept = segments_in(tmp_path / "j")
        (row,) = (r for r in JournalReader(tmp_path / "j").bags())
        assert min(kept) <= row["segment"]
    # Closed by now: until then a segment may be renamed between two looks at it.
    assert sum(path.stat().st_size for path in segments_in(tmp_path / "j").values()) > (
        SMALL.keep_bytes
    )


# Disks


def test_a_disk_that_hangs_stops_the_journal_and_not_the_lane(
    shift, tmp_path: Path, monkeypatch
) -> None:
    hangs = threading.Event()
    decided = Store.decided

    def hanging(self, seq, at, now_ns, decision, *rest):
        if decision.bag == 2:
            hangs.wait(60)
        decided(self, seq, at, now_ns, decision, *rest)

    monkeypatch.setattr(Store, "decided", hanging)
    monkeypatch.setattr("xedge.lane.journal.journal.CLOSE_S", 0.1)
    seen = []
    report = shift.run(
        tmp_path / "j", 4, settings=JournalSettings(patience_s=0.2),
        on_decision=lambda decision, scan: seen.append(decision.bag),
    )  # fmt: skip
    hangs.set()
    assert seen == [1, 2, 3, 4]
    assert report.journal_errors > 2
    assert len(report.errors) == 1
    assert "the journal stopped: the disk did not answer for 0.2 s" in report.errors[0]


def test_a_disk_that_is_too_slow_holds_up_the_lane_no_longer_than_its_patience(
    belt, shift, tmp_path: Path, monkeypatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(Store, "strip", lambda self, *_: hangs.wait(60))
    monkeypatch.setattr("xedge.lane.journal.journal.CLOSE_S", 0.1)
    report = shift.run(
        tmp_path / "j", 2, settings=JournalSettings(patience_s=0.1, queue_bytes=2000)
    )  # fmt: skip
    hangs.set()
    assert "took nothing for 0.1 s" in report.errors[0]
    assert report.ledger.balanced
    assert report.ledger.decisions == 2


FULL_DISK = """
import resource, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
import conftest
from xedge.lane import Journal, run_lane
from xedge.types import Detections

belt = conftest.SmallBelt()
marks = ("." * 20 + "#" * 20) * 60 + "." * 20
with Journal(sys.argv[1]) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
    report = run_lane(belt.strips(marks), lambda planes: Detections.empty(), belt.flat_field,
                      belt.config(deadline_counts=10**6, bag_limit_s=60), journal=journal)
assert report.ledger.decisions == 60 and report.ledger.balanced
print(report.journal_errors)
print(*report.errors, sep="\\n")
"""


@pytest.mark.parametrize("limit", [60_000, 140_000])
def test_files_that_can_grow_no_more_stop_the_journal_and_not_the_lane(
    tmp_path: Path, limit: int
) -> None:
    """The kernel refuses what a full disk refuses: strips first at one limit, rows at the other."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, tmp_path / "j",
         Path(__file__).parent.parent, str(limit)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lost, error = done.stdout.splitlines()
    assert int(lost) > 0
    assert error.startswith("the journal stopped: ")
    assert "File too large" in error or "full" in error or "disk I/O error" in error
    kept = [r["bag"] for r in read_journal(tmp_path / "j") if r["kind"] == "decision"]
    assert kept == list(range(1, len(kept) + 1))
    with Journal(tmp_path / "j") as journal:  # there is room again
        assert journal.first_bag > len(kept)
        assert journal.recovered <= 8  # max_open_bags


# Torn tails


@pytest.fixture(scope="module")
def whole(shift, tmp_path_factory) -> Path:
    """A journal whose process was killed while it wrote; its database is all in the log."""
    folder = tmp_path_factory.mktemp("whole")
    copies = []

    def decided(decision, scan) -> None:
        if decision.bag == 8:
            copies.append(shift.killed(folder / "j", folder / "killed"))

    shift.run(folder / "j", 9, settings=replace(SMALL, sync_s=1e6), on_decision=decided)
    return copies[0]


@settings(max_examples=40)
@given(data=st.data())
def test_a_journal_that_is_cut_anywhere_opens(whole: Path, tmp_path_factory, data) -> None:
    folder = Path(shutil.copytree(whole, tmp_path_factory.mktemp("torn") / "j"))
    files = sorted(path for path in folder.iterdir() if path.stat().st_size)
    files = [path for path in files if path.suffix not in (".sqlite", ".sqlite-shm")]
    path = data.draw(st.sampled_from(files), label="file")
    size = data.draw(st.integers(0, path.stat().st_size), label="bytes left")
    with path.open("r+b") as file:
        file.truncate(size)
    try:
        with Journal(folder) as journal:
            pending = journal.pending
    except JournalError as error:
        # Without its log the database has no tables yet, or half of them never were: it says so.
        pytest.fail(str(error))
    rows = [r for r in read_journal(folder) if r["kind"] == "decision"]
    assert [r["bag"] for r in rows] == list(range(1, len(rows) + 1))
    assert len(pending) <= 8  # max_open_bags, and the one that was being published
    shutil.rmtree(folder)
