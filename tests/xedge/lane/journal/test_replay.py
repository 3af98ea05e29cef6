"""Recorded shifts decided again: the same to the bit, and never the same by accident."""

from __future__ import annotations

import os
import pickle
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import JournalError
from xedge.lane import Journal, Rung, run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.config import FULL
from xedge.lane.core import LaneCore
from xedge.lane.events import Event, LinesLost, StripArrived
from xedge.lane.journal import JournalReader, JournalSettings
from xedge.lane.journal.core import JournalledCore, freeze, thaw
from xedge.lane.journal.records import KINDS
from xedge.lane.journal.replay import replay
from xedge.lane.journal.segments import segments_in
from xedge.lane.steering import Steering
from xedge.scanner.intake import Refusal
from xedge.types import Detections, Reason

MS = 1_000_000


def seen_in(planes) -> Detections:
    """Something that depends on every pixel: a box and a score with long fractions."""
    value = np.float32(planes.astype(np.float64).mean() / 3e5)
    return Detections(
        np.array([[value, 1 / 3, 7 * value + 2, 9.1]], np.float32), np.array([value], np.float32),
        np.array([1], np.int32),
    )  # fmt: skip


def decided_again(folder: Path, **more):
    with JournalReader(folder) as reader:
        return replay(reader, {FULL: seen_in}, **more)


bad_strips = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["damaged", "narrow", "twice", "left out"])),
    max_size=4,
)


@settings(max_examples=15)
@given(
    bags=st.lists(st.integers(3, 60), min_size=1, max_size=5),
    gaps=st.integers(4, 30),
    bad=bad_strips,
    times=st.lists(st.sampled_from([1, 20, 90, 400]), min_size=1, max_size=6),
    failing=st.sets(st.integers(0, 12)),
    quick=st.booleans(),
    threshold=st.sampled_from([None, 0.001, 0.9]),
)
def test_whatever_happened_is_decided_again_as_it_was(
    belt, tmp_path_factory, bags, gaps, bad, times, failing, quick, threshold
) -> None:
    """Late bags, failed and skipped windows, lower rungs, refused lines, a threshold: all of it
    from a clock and an engine that the replay does not have."""
    folder = tmp_path_factory.mktemp("shift") / "j"
    clock, steering, calls = VirtualClock(), Steering(), []
    strips = belt.strips("." * gaps + ("." * gaps).join("#" * n for n in bags) + "." * 30)
    for at, what in bad:
        k = at % len(strips)
        if what == "narrow":
            strips[k] = belt.strip("#####", strips[k].first_line, elements=20)
        elif what == "twice":
            strips.insert(k, strips[k])
        elif what == "left out" and len(strips) > 1:
            del strips[k]
        else:
            strips[k] = replace(strips[k], intact=False)

    def screen(planes):
        calls.append(1)
        clock.sleep_ns(times[len(calls) % len(times)] * MS)
        if len(calls) in failing:
            raise RuntimeError("out of memory")
        return seen_in(planes)

    def decided(decision, scan) -> None:
        if threshold is not None:
            steering.retune(threshold)

    rungs = [Rung("quick", lambda planes: belt.found(0.2))] if quick else []
    with Journal(folder) as journal:
        report = run_lane(
            strips, screen, belt.flat_field, belt.config(), journal=journal, clock=clock,
            steering=steering, on_decision=decided, fallbacks=rungs,
        )  # fmt: skip
    assert report.journal_errors == 0
    outcome = decided_again(folder)
    assert outcome.differences == []
    assert outcome.notices == []
    assert (outcome.compared, outcome.out_of_reach) == (report.ledger.decisions, 0)
    with JournalReader(folder) as reader:
        assert replay(reader, {}).differences == []  # all from the record


def test_another_model_is_found_out(shift, tmp_path: Path) -> None:
    shift.run(tmp_path / "j", 3, screen=seen_in)
    with JournalReader(tmp_path / "j") as reader:
        blind = replay(reader, {FULL: lambda planes: Detections.empty()}, first=2)
    assert blind.compared == 2
    assert {one.bag for one in blind.differences if one.what == "window 0"} == {1, 2, 3}
    assert {(one.bag, one.what) for one in blind.differences} >= {
        (2, "detections"), (3, "detections"),
    }  # fmt: skip


def test_each_boot_has_its_own_screens(shift, tmp_path: Path) -> None:
    def nothing(planes) -> Detections:
        return Detections.empty()

    for screen in (nothing, seen_in, nothing):
        shift.run(tmp_path / "j", 2, screen=screen)
    with JournalReader(tmp_path / "j") as reader:
        epochs = [boot.epoch for boot in reader.boots()]
        asked = []

        def of(boot):
            asked.append(boot.epoch)
            return {FULL: seen_in if boot.epoch == epochs[1] else nothing}

        outcome = replay(reader, of)
        assert (outcome.compared, outcome.differences, outcome.from_record) == (6, [], 0)
        assert asked == epochs
        assert replay(reader, of, first=3, last=4).compared == 2
        assert asked[3:] == [epochs[1]]  # nothing of the others is run again
        assert replay(reader, {FULL: nothing}).differences
        assert replay(reader, {FULL: seen_in}).differences


def test_a_record_that_was_changed_is_found_out(shift, tmp_path: Path) -> None:
    import sqlite3

    shift.run(tmp_path / "j", 3, screen=seen_in)
    base = sqlite3.connect(tmp_path / "j" / "journal.sqlite")
    base.execute("UPDATE bags SET verdict = 'CLEAR', latency_ns = 1 WHERE bag = 2")
    base.execute("DELETE FROM events WHERE kind = 'source-ended'")
    base.execute("DELETE FROM events WHERE seq > (SELECT seq FROM bags WHERE bag = 2)")
    base.commit()
    base.close()
    outcome = decided_again(tmp_path / "j")
    said = {(one.bag, one.what): one.recorded for one in outcome.differences}
    assert (2, "latency_ns") in said
    assert said[3, "decision"] == "CLEAR"


def test_a_range_of_bags_and_several_runs(shift, tmp_path: Path) -> None:
    for _ in range(2):
        shift.run(tmp_path / "j", 4, screen=seen_in)
    outcome = decided_again(tmp_path / "j", first=3, last=6)
    assert (outcome.compared, outcome.differences, outcome.out_of_reach) == (4, [], 0)


def test_what_was_deleted_is_out_of_reach_and_the_rest_starts_at_a_kept_core(
    belt, shift, tmp_path: Path
) -> None:
    """The faulty element was learned in strips that are gone: only a kept core knows of it."""

    def strips(journal):
        for strip in belt.strips(("." * 20 + "#" * 20) * 60 + "." * 20):
            strip.low[:, 9] = 0
            yield strip

    report = shift.run(
        tmp_path / "j", strips=strips, screen=seen_in,
        settings=JournalSettings(keep_bytes=60_000),
    )  # fmt: skip
    assert report.health.intermittent[0].keys() == {9}
    assert min(segments_in(tmp_path / "j")) > 1
    outcome = decided_again(tmp_path / "j")
    assert outcome.differences == []
    assert 5 < outcome.compared < 50
    assert outcome.compared + outcome.out_of_reach == 60
    assert "not there any more" in outcome.notices[0]
    last = decided_again(tmp_path / "j", first=58)
    assert (last.compared, last.out_of_reach, last.differences) == (3, 0, [])
    assert last.windows < outcome.windows


def test_lost_lines_are_lost_again(belt, tmp_path: Path) -> None:
    strips = belt.strips("." * 20 + "#" * 20 + "." * 20)
    with Journal(tmp_path / "j") as journal:
        core = JournalledCore(belt.flat_field, belt.config(), journal)
        for k, strip in enumerate(strips):
            lost = LinesLost(5, Refusal.QUEUE_FULL)
            for action in core.handle(lost if k == 5 else StripArrived(strip), strip.captured_ns):
                if hasattr(action, "kind"):
                    journal.write(action.kind, action.fields)
                elif hasattr(action, "decision"):
                    journal.decide(action.decision)
        for action in core.handle(LinesLost(1, Refusal.QUEUE_FULL), 10**10):
            if hasattr(action, "decision"):
                journal.decide(action.decision)
                assert Reason.OVERLOAD in action.decision.reasons
    outcome = decided_again(tmp_path / "j")
    assert (outcome.compared, outcome.differences) == (1, [])


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_journal_with_damaged_strips_says_where_it_ends(shift, tmp_path: Path, harm: str) -> None:
    shift.run(tmp_path / "j", 6, screen=seen_in)
    (path,) = segments_in(tmp_path / "j").values()
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)
    outcome = decided_again(tmp_path / "j")
    assert outcome.differences == []
    assert 0 < outcome.compared < 6
    assert outcome.compared + outcome.out_of_reach == 6
    assert "missing or damaged" in outcome.notices[0]


def test_every_event_of_a_core_can_be_recorded() -> None:
    assert set(typing.get_args(Event)) == {StripArrived, *KINDS.values()}


def test_a_core_comes_back_as_it_was(belt) -> None:
    core = LaneCore(belt.flat_field, belt.config())
    for strip in belt.strips("." * 20 + "#" * 20 + "." * 20):
        core.handle(StripArrived(strip), strip.captured_ns)
    again = thaw(freeze(core))
    assert again.ledger == core.ledger
    assert freeze(again) == freeze(thaw(freeze(core)))


class Evil:
    def __reduce__(self):
        return os.system, ("echo no",)


class Sly:
    def __reduce__(self):
        return JournalSettings, ()


@pytest.mark.parametrize("state", [{"a": Evil()}, {"a": Sly()}, {"a": np.dtype}])
def test_a_core_that_would_call_something_is_refused(state) -> None:
    data = pickle.dumps(state)
    if state["a"] is np.dtype:
        data = data[:-5]  # torn
    with pytest.raises(JournalError, match="cannot be set up again"):
        thaw(data)
