"""Rows that grew too old or too many: what goes, what must stay, and books that balance."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError, JournalError
from xedge.lane.clock import VirtualClock
from xedge.lane.journal import Journal, JournalReader, JournalSettings
from xedge.lane.journal import retention as under_test
from xedge.lane.journal.records import config_text
from xedge.lane.journal.replay import replay
from xedge.lane.journal.retention import DAY_NS, STEP_NS, Retention, decision_name
from xedge.lane.journal.schema import DATABASE
from xedge.lane.journal.store import Store
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Decision, Detections, Reason, Verdict

DIGESTS = {"model": "m", "config": "c", "correction": "k"}
START_NS = 1_764_000_000 * 10**9
OUTCOMES = [(Verdict.CLEAR, Reason.NONE, False), (Verdict.ALARM, Reason.NONE, False),
            (Verdict.NOT_CLEARED, Reason.TIMEOUT, True),
            (Verdict.NOT_CLEARED, Reason.BAD_LINES, False)]  # fmt: skip


class Written:
    """A journal that is written row by row at times of its own, and what should be in it."""

    def __init__(self, folder: Path, belt, kept: JournalSettings) -> None:
        self.folder, self.belt, self.kept = folder, belt, kept
        self.clock, self.stepped_ns = VirtualClock(), START_NS
        self.bags, self.notes, self.lines = 0, 0, 0
        self.open: list[int] = []
        self.unhanded: list[int] = []
        self.decisions: Counter[str] = Counter()
        self.epochs: list[int] = []
        self.store: Store | None = None
        self.begin()

    @property
    def now_ns(self) -> int:
        """The wall clock."""
        return self.clock.now_ns() + self.stepped_ns

    def passes(self, days: int) -> None:
        self.clock.sleep_ns(days * DAY_NS)

    def begin(self) -> None:
        if self.store is not None:
            self.close()
        self.store = Store(self.folder, self.kept, {})
        self.store._retention = Retention(self.store._base, self.kept.keep_days,
                                          self.kept.keep_rows_bytes, self.clock, self.now_ns
                                          )  # fmt: skip
        self.store.start(
            config_text(self.belt.config()), b"", StripFileHeader(24, 1.0, 1.0, 1.0, {})
        )
        assert self.store.first_bag == self.bags + 1
        self.epochs.append(self.store.epoch)
        assert self.epochs == list(range(self.epochs[0], self.epochs[0] + len(self.epochs)))
        self.seq = self.store.first_seq
        for bag in self.open:  # decided, but handed to nobody
            self.decisions["NOT_CLEARED INCOMPLETE_SCAN"] += 1
            self.unhanded.append(bag)
        self.open.clear()
        self.commit()

    def commit(self) -> None:
        assert self.store is not None
        if self.store._base.in_transaction:
            self.store._base.execute("COMMIT")

    def close(self) -> None:
        """No end in good order: what was open stays so."""
        self.commit()
        self.store.segments.close()
        self.store._base.close()

    def bag(self) -> None:
        self.bags += 1
        self.store.begun(self.bags, self.now_ns, 0, 10 * self.bags, DIGESTS)
        self.open.append(self.bags)

    def decide(self, outcome: int) -> None:
        if not self.open:
            return
        number, self.seq = self.open.pop(0), self.seq + 1
        verdict, reason, late = OUTCOMES[outcome % len(OUTCOMES)]
        reasons = frozenset({reason} - {Reason.NONE})
        decision = Decision(bag=number, verdict=verdict, reason=reason, late=late,
                            encoder_head=10 * number, encoder_tail=10 * number + 5,
                            detections=Detections.empty(), reasons=reasons)  # fmt: skip
        self.store.decided(self.seq, self.now_ns, 0, decision, "m", "c")
        self.decisions[decision_name(verdict.name, reason.name)] += 1
        self.unhanded.append(number)

    def hand(self) -> None:
        if self.unhanded:
            self.store.handed(self.unhanded.pop())

    def note(self) -> None:
        self.seq, self.notes = self.seq + 1, self.notes + 1
        self.store.note(self.seq, self.now_ns, "bus-down", {"bus": "x" * 20})

    def strips(self) -> None:
        """A segment's worth of them, and the next one."""
        for strip in self.belt.strips("." * 20):
            self.seq += 1
            self.store.strip(self.seq, self.lines, strip)
        self.store.rotate(b"core")

    def trim(self) -> None:
        self.store._begin()
        self.store._retention.trim(self.now_ns)
        self.commit()

    def check(self) -> None:
        """The books balance, and what must stay is there."""
        self.commit()
        with JournalReader(self.folder) as reader:
            rows, gone = reader.bags(), reader.deletions()
            boots = [boot.epoch for boot in reader.boots()]
            oldest = reader._base.execute("SELECT min(segment) FROM segments").fetchone()[0]
            notes = reader._base.execute("SELECT count(*) FROM notes").fetchone()[0]
        there = {row["bag"] for row in rows}
        assert len(rows) + sum(one.bags for one in gone) == self.bags
        for missing in set(range(1, self.bags + 1)) - there:
            assert any(one.first_bag and one.first_bag <= missing <= one.last_bag for one in gone)
        decided = Counter(
            decision_name(row["verdict"], row["reason"]) for row in rows if row["verdict"]
        )
        for one in gone:
            assert sum(one.decisions.values()) == one.bags
            decided.update(one.decisions)
        assert decided == self.decisions
        late = sum(row["late"] or 0 for row in rows) + sum(one.late for one in gone)
        assert late == self.decisions["NOT_CLEARED TIMEOUT"]
        assert notes + sum(one.notes for one in gone) == self.notes
        assert len(boots) + sum(one.boots for one in gone) == len(self.epochs)
        assert {*self.open, *self.unhanded, *([self.bags] if self.bags else [])} <= there
        assert boots[-1] == self.epochs[-1]
        assert {row["epoch"] for row in rows} <= set(boots)
        recent = [row for row in rows if row["segment"] >= oldest - 1]
        assert all(bag in there for bag in range(min((r["bag"] for r in recent), default=1),
                                                 self.bags + 1) if recent)  # fmt: skip


steps = st.lists(
    st.tuples(st.just("bag"), st.just(0))
    | st.tuples(st.just("decide"), st.integers(0, 3))
    | st.tuples(st.just("hand"), st.just(0))
    | st.tuples(st.sampled_from(["note", "strips", "trim", "begin"]), st.just(0))
    | st.tuples(st.just("day"), st.integers(1, 5)),
    max_size=60,
)


@pytest.mark.parametrize("keep_bytes", [60_000, 10**9])
def test_whatever_is_deleted_the_books_balance_and_what_is_needed_stays(belt, keep_bytes) -> None:
    kept = JournalSettings(keep_bytes=8000, keep_days=7, keep_rows_bytes=keep_bytes)

    @settings(max_examples=12)
    @given(steps)
    def run(done) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(under_test, "BATCH", 3)
            journal = Written(Path(folder), belt, kept)
            try:
                for what, value in done:
                    if what == "day":
                        journal.passes(value)
                    elif what == "decide":
                        journal.decide(value)
                    else:
                        getattr(journal, what)()
                    if what in ("trim", "begin"):
                        journal.check()
                for _ in range(6):  # of what lies before these no strip is left
                    journal.strips()
                journal.passes(30)
                for _ in range(6):
                    journal.trim()
                journal.check()
            finally:
                journal.close()

    run()


def test_bags_and_notes_go_by_age_when_their_strips_are_gone(belt, tmp_path: Path) -> None:
    journal = Written(tmp_path, belt, JournalSettings(keep_bytes=8000, keep_days=7))
    for _ in range(20):
        for number in range(4):
            journal.bag()
            journal.note()
            journal.decide(number)
            if journal.bags != 9:
                journal.hand()
        journal.strips()
        journal.passes(1)
    journal.trim()
    journal.check()
    with JournalReader(tmp_path) as reader:
        there = [row["bag"] for row in reader.bags()]
        (gone,) = reader.deletions()
    # 13 of the 20 days are older than a week.
    assert there == [9, *range(53, 81)]
    assert (gone.cause, gone.notes, gone.first_bag, gone.last_bag) == ("age", 52, 1, 52)
    assert gone.bags == 51
    assert str(gone).startswith("deleted on 20")
    assert "13 ALARM" in str(gone)
    journal.close()


def aged(journal: Written, shifts: int = 16) -> None:
    """Bags and notes, four a day, of which no strip is left but of the last days."""
    for _ in range(shifts):
        for number in range(4):
            journal.bag()
            journal.note()
            journal.decide(number)
            journal.hand()
        journal.strips()
        journal.passes(1)


def gone(journal: Written) -> dict[str, int]:
    journal.trim()
    journal.check()
    with JournalReader(journal.folder) as reader:
        return {one.cause: one.bags for one in reader.deletions()}


@pytest.mark.parametrize("days", [401, -401])
def test_a_wall_clock_that_was_set_deletes_nothing_by_age(belt, tmp_path: Path, days) -> None:
    journal = Written(tmp_path, belt, JournalSettings(keep_bytes=8000, keep_days=30))
    aged(journal)
    journal.stepped_ns += days * DAY_NS
    assert gone(journal) == {}
    journal.passes(2)
    assert gone(journal) == {}
    journal.stepped_ns -= days * DAY_NS - STEP_NS  # set right, to a day
    assert gone(journal) == {}
    journal.passes(30)
    assert gone(journal)["age"] > 30
    journal.close()


def test_by_size_the_oldest_go_whatever_the_wall_clock_says(belt, tmp_path: Path) -> None:
    journal = Written(tmp_path, belt, JournalSettings(keep_bytes=8000, keep_rows_bytes=1000))
    aged(journal)
    journal.stepped_ns += 401 * DAY_NS
    assert gone(journal).keys() == {"size"}
    journal.close()


def test_rows_of_later_than_now_do_not_keep_those_behind_them(
    belt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were written while the wall clock was ahead; it was set right, and the lane started."""
    monkeypatch.setattr(under_test, "BATCH", 8)
    journal = Written(tmp_path, belt, JournalSettings(keep_bytes=8000, keep_days=7))
    journal.stepped_ns += 3650 * DAY_NS
    aged(journal, 4)
    journal.stepped_ns -= 3650 * DAY_NS
    journal.begin()
    aged(journal)
    assert gone(journal)["age"] == 8
    with JournalReader(tmp_path) as reader:
        assert [row["bag"] for row in reader.bags()][:17] == [*range(1, 17), 25]
    journal.close()


def test_the_database_does_not_grow_beyond_its_budget(
    belt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SPARE_PAGES", 8)
    budget = 300_000
    journal = Written(tmp_path, belt, JournalSettings(keep_bytes=4000, keep_rows_bytes=budget))
    sizes = []
    for number in range(4000):
        journal.bag()
        journal.note()
        journal.decide(number)
        journal.hand()
        if number % 50 == 49:
            journal.strips()
            journal.trim()
            (pages,) = journal.store._base.execute("PRAGMA page_count").fetchone()
            sizes.append(4096 * pages)
    journal.check()
    # Between two looks 50 bags come, of less than a kilobyte each with their indices; an eighth and
    # the spare pages stay free.
    most = (budget + 50_000) * 8 / 7 + 10 * 4096
    assert max(sizes) < most
    assert max(sizes[40:]) > budget  # so much came that something had to go
    with JournalReader(tmp_path) as reader:
        (gone,) = reader.deletions()
        assert gone.cause == "size"
        assert gone.bags > 2000
    journal.close()


def test_strips_that_are_there_keep_their_bags(belt, tmp_path: Path) -> None:
    journal = Written(tmp_path, belt, JournalSettings(keep_days=7))
    for number in range(5):
        journal.bag()
        journal.note()
        journal.decide(number)
        journal.hand()
        journal.strips()
    journal.passes(30)
    journal.trim()
    journal.check()
    with JournalReader(tmp_path) as reader:
        assert [row["bag"] for row in reader.bags()] == [1, 2, 3, 4, 5]
        (gone,) = reader.deletions()
        assert (gone.bags, gone.notes, gone.first_bag) == (0, 4, None)
    journal.close()


def test_a_lane_deletes_by_itself_and_a_replay_says_what_it_lacks(
    shift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "j"
    kept = JournalSettings(keep_bytes=40_000)
    shift.run(folder, 40, settings=kept)
    base = sqlite3.connect(folder / DATABASE)
    old = time.time_ns() - 401 * DAY_NS
    base.execute("UPDATE bags SET decided_at = ? WHERE bag < 30", (old,))
    base.execute("UPDATE notes SET at = ? WHERE seq < 300", (old,))
    base.commit()
    base.close()
    with Journal(folder, kept) as journal:
        assert journal.first_bag == 41
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with JournalReader(folder) as reader:
                if reader.deletions():
                    break
            time.sleep(0.02)
    with JournalReader(folder) as reader:
        (gone,) = reader.deletions()
        assert gone.first_bag == 1
        assert gone.last_bag is not None
        assert 10 < gone.last_bag < 30  # of the others strips may be there
        outcome = replay(reader, {})
        assert (outcome.deleted, outcome.differences) == (gone.last_bag, [])
        assert f"nothing is left of {gone.last_bag} of these bags: deleted on" in outcome.notices[0]
        assert replay(reader, {}, first=35).deleted == 0
        part = replay(reader, {}, first=gone.last_bag - 1, last=gone.last_bag + 1)
        assert part.deleted == 2
        with pytest.raises(JournalError, match=r"nothing is left of bags 1 to 5.*journal_days"):
            replay(reader, {}, first=1, last=5)
    again = shift.run(folder, 1, settings=kept)
    assert [d.bag for d in again.decisions] == [41]


@pytest.mark.parametrize("name", ["keep_days", "keep_rows_bytes"])
def test_a_limit_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        JournalSettings(**{name: 0})
