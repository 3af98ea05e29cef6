"""A lane killed at any moment, and started again: each bag has one decision over all its runs."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from xedge.lane import Journal
from xedge.lane.journal import JournalReader
from xedge.lane.journal.replay import replay

# Strips of 5 ms without an end, in real time; windows take up to 30 ms. Each decision is written to
# a file as it is published, before the lane goes on.
LANE = """
import itertools, json, os, sys, time
sys.path.insert(0, sys.argv[3])
import conftest
from xedge.lane import Journal, run_lane
from xedge.lane.journal import JournalSettings
from xedge.lane.journal.records import decision_record
from xedge.types import Detections

belt = conftest.SmallBelt()
marks = "." * 15 + "#" * 20
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def strips():
    for k in itertools.count():
        text = "".join(marks[(5 * k + n) % len(marks)] for n in range(5))
        yield belt.strip(text, 5 * k)

def screen(planes):
    time.sleep((int(planes.sum()) % 7) * 0.005)
    return belt.found(0.9) if time.monotonic_ns() % 3 == 0 else Detections.empty()

def publish(decision, scan):
    os.write(out, json.dumps(decision_record(decision)).encode() + b"\\n")

with Journal(sys.argv[1], JournalSettings(keep_bytes=10**7, sync_s=0.05)) as journal:
    run_lane(strips(), screen, belt.flat_field, belt.config(deadline_counts=100), realtime=True,
             on_decision=publish, journal=journal, keep=1)
"""


def test_killed_anywhere_each_bag_has_one_decision_that_never_changes(tmp_path: Path) -> None:
    chance = random.Random(4)
    journal, out = tmp_path / "j", tmp_path / "published"
    for _ in range(5):
        lines = len(out.read_bytes().splitlines()) if out.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", LANE, journal, out, Path(__file__).parent.parent]
        )
        # Until it publishes, for the interpreter's start takes long, and then at any moment.
        until = time.monotonic() + 60
        while not out.exists() or len(out.read_bytes().splitlines()) < lines + 3:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    with Journal(journal) as opened:
        assert opened.recovered <= 8  # max_open_bags
    published: dict[int, dict[str, object]] = {}
    for line in out.read_bytes().splitlines():
        decision = json.loads(line)
        assert published.setdefault(decision["bag"], decision) == decision
    with JournalReader(journal) as reader:
        rows = reader.bags()
        boots = reader.boots()
        assert [boot.epoch - boots[0].epoch for boot in boots] == list(range(6))
        assert [row["bag"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(row["verdict"] is not None for row in rows)
        recorded = {d["bag"]: d for d in reader.records() if d["kind"] == "decision"}
        for bag, decision in published.items():
            assert {"kind": "decision", **decision} == recorded[bag]
        for row in rows:
            if row["decided_epoch"] != row["epoch"]:
                assert row["verdict"] == "NOT_CLEARED"
                assert row["decided_epoch"] == row["epoch"] + 1
        # What was decided in the journal and not published when it died, the next run published;
        # only the last run has had no next one.
        last = boots[-2].epoch
        assert {r["bag"] for r in rows if r["decided_epoch"] < last} <= set(published)
        outcome = replay(reader, {})
    assert outcome.differences == []
    assert outcome.out_of_reach == 0
    assert outcome.compared + outcome.recovered == len(rows)
    assert outcome.recovered >= 1
