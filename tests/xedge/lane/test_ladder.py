"""Which rung screens a window: the choice by itself, and what a ladder makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.lane.clock import VirtualClock
from xedge.lane.events import Note, RunWindow, WindowDone, WindowFailed
from xedge.lane.ladder import (
    PATIENCE,
    REMEMBERED,
    Ladder,
    Need,
    Rung,
    StageTimes,
    as_recorded,
    by_time_left,
    on_scale_of,
)
from xedge.types import Detections, Reason

ORDER = RunWindow(1, 0, 0, np.zeros((3, 4, 4), np.uint8))
NOTHING = Detections.empty()


def measured(*durations) -> StageTimes:
    """Three calls of each rung, equally long."""
    times = StageTimes(len(durations))
    for rung, duration in enumerate(durations):
        for _ in range(3):
            times.took(rung, duration)
    return times


@pytest.mark.parametrize(
    ("left", "windows", "rung"),
    [(101, 1, 0), (100, 1, 1), (201, 2, 0), (200, 2, 1), (51, 1, 1), (50, 1, 2), (21, 1, 2)],
)
def test_the_highest_rung_is_taken_that_has_time_for_all_of_the_bag(left, windows, rung) -> None:
    assert by_time_left(ORDER, Need(left, windows), measured(100, 50, 20)) == rung


def test_without_time_the_lowest_is_tried_unless_it_takes_time_from_others() -> None:
    times = measured(100, 50, 20)
    assert by_time_left(ORDER, Need(20, 1, others=False), times) == 2
    assert by_time_left(ORDER, Need(20, 1, others=True), times) is None
    # Its bag has more windows than there is time for, but this one may still find something.
    assert by_time_left(ORDER, Need(21, 5, others=True), times) == 2
    assert by_time_left(ORDER, Need(0, 1, others=False), times) is None


def test_what_was_never_measured_is_tried() -> None:
    assert by_time_left(ORDER, Need(1, 9, others=True), StageTimes(3)) == 0


def test_one_stall_is_not_believed_two_are_until_they_are_forgotten() -> None:
    times = measured(10)
    times.took(0, 10_000)
    assert times.most_ns(0) == 10
    times.took(0, 9_000)
    assert (times.most_ns(0), times.least_ns(0)) == (9_000, 10)
    for _ in range(REMEMBERED - 1):
        times.took(0, 10)
    assert times.most_ns(0) == 10


def test_a_rung_that_is_passed_over_is_tried_again_some_day() -> None:
    times = measured(100, 1)
    for _ in range(3 * PATIENCE - 1):
        times.passed_over(0)
    assert by_time_left(ORDER, Need(50), times) == 1
    times.passed_over(0)
    assert by_time_left(ORDER, Need(50), times) == 0


@given(
    durations=st.lists(st.integers(0, 1000), min_size=1, max_size=4),
    left=st.integers(-100, 3000),
    windows=st.integers(1, 5),
    others=st.booleans(),
)
def test_the_choice_never_takes_what_has_no_time_while_a_lower_rung_has(
    durations, left, windows, others
) -> None:
    rung = by_time_left(ORDER, Need(left, windows, others), measured(*durations))
    fits = [k for k, duration in enumerate(durations) if duration * windows < left]
    if fits:
        assert rung == fits[0]
    elif rung is not None:
        assert rung == len(durations) - 1
        assert left > 0


def slow(clock, duration, found=NOTHING):
    def screen(planes):
        clock.sleep_ns(duration)
        return found

    return screen


def test_a_ladder_measures_its_rungs_and_names_the_one_it_took(belt) -> None:
    clock = VirtualClock()
    ladder = Ladder(
        slow(clock, 100), [Rung("quick", slow(clock, 10, belt.found(0.5)))], clock=clock
    )
    answer, spent = ladder.screen(ORDER, Need(1000))
    assert isinstance(answer, WindowDone)
    assert (answer.rung, spent) == ("full", 100)
    answer, spent = ladder.screen(ORDER, Need(50))
    assert isinstance(answer, WindowDone)
    assert (answer.rung, spent, len(answer.detections)) == ("quick", 10, 1)
    answer, spent = ladder.screen(ORDER, Need(5, others=True))
    assert isinstance(answer, WindowFailed)
    assert (answer.reason, spent) == (Reason.TIMEOUT, None)


def test_a_rung_that_fails_is_not_taken_for_a_quick_one() -> None:
    clock = VirtualClock()
    outcomes = [None, NOTHING]

    def screen(planes):
        found = outcomes.pop(0)
        clock.sleep_ns(100 if found else 1)
        if found is None:
            raise RuntimeError("no")
        return found

    ladder = Ladder(screen, [Rung("quick", slow(clock, 5))], clock=clock)
    answer, _ = ladder.screen(ORDER, Need(50))
    assert isinstance(answer, WindowFailed)
    assert answer.reason is Reason.ENGINE_FAILED
    answer, _ = ladder.screen(ORDER, Need(50))
    assert isinstance(answer, WindowDone)
    assert answer.rung == "full"  # still unknown how long it takes


def test_recorded_choices_are_repeated_whatever_the_time() -> None:
    clock = VirtualClock()
    rungs = [Rung("quick", slow(clock, 1))]
    names = Ladder(slow(clock, 1), rungs, clock=clock).names
    choose = as_recorded({1: ("quick", "skipped", "full", "failed", "")}, names)
    ladder = Ladder(slow(clock, 1), rungs, clock=clock, choose=choose)
    said = []
    for index in range(6):
        answer, _ = ladder.screen(RunWindow(1, index, 0, ORDER.planes), Need(-1, others=True))
        said.append(answer.rung if isinstance(answer, WindowDone) else answer.reason)
    assert said == ["quick", Reason.TIMEOUT, "full", "full", "full", "full"]
    with pytest.raises(ConfigError, match="bag 3 was screened by something"):
        as_recorded({3: ("full", "smaller")}, names)


@pytest.mark.parametrize("name", ["", "full", "skipped", "failed"])
def test_a_rung_has_a_name_of_its_own(name) -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        Rung(name, lambda planes: NOTHING)


def test_two_rungs_of_one_name_are_refused() -> None:
    rung = Rung("quick", lambda planes: NOTHING)
    with pytest.raises(ConfigError, match="quick, quick"):
        Ladder(lambda planes: NOTHING, [rung, rung], clock=VirtualClock())


def test_scores_of_another_model_alarm_at_the_lane_s_threshold() -> None:
    scores = np.array([1.0, 0.5, 0.3, 0.0], np.float32)
    found = Detections(np.zeros((4, 4), np.float32), scores, np.zeros(4, np.int32))
    scaled = on_scale_of(lambda planes: found, 0.3, 0.4)(ORDER.planes).scores
    # float32 has 24 bits; the power is taken once.
    assert scaled[2] == pytest.approx(0.4, abs=1e-6)
    assert (scaled[0], scaled[3]) == (1, 0)
    assert (np.diff(scaled) < 0).all()
    with pytest.raises(ConfigError, match="cannot be compared"):
        on_scale_of(lambda planes: found, 0.3, 1.0)


def test_every_model_that_wants_it_is_looked_after() -> None:
    class Cared:
        def __init__(self, name: str) -> None:
            self._name = name

        def __call__(self, planes):
            return NOTHING

        def tend(self, idle):
            return (Note(self._name, {"idle": idle}),)

    clock = VirtualClock()
    plain = Rung("plain", on_scale_of(lambda planes: NOTHING, 0.3, 0.4))
    assert not Ladder(lambda planes: NOTHING, [plain], clock=clock).tended
    ladder = Ladder(
        Cared("full"), [plain, Rung("small", on_scale_of(Cared("small"), 0.3, 0.4))], clock=clock
    )
    assert ladder.tended
    assert [(note.kind, note.fields["idle"]) for note in ladder.tend(True)] == [
        ("full", True), ("small", True),
    ]  # fmt: skip


class Quick:
    """A screen that leaves every other window early, in a tenth of the time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.calls, self.stopped = clock, 0, 0

    def __call__(self, planes) -> Detections:
        self.calls += 1
        self.stopped += self.calls % 2
        self.clock.sleep_ns(10 if self.calls % 2 else 100)
        return NOTHING


@pytest.mark.parametrize("wrapped", [False, True])
def test_windows_that_are_left_early_do_not_say_how_long_the_model_takes(wrapped) -> None:
    clock = VirtualClock()
    quick = Quick(clock)
    full = on_scale_of(quick, 0.4, 0.5) if wrapped else quick
    ladder = Ladder(full, [Rung("first-pass", lambda planes: NOTHING)], clock=clock)
    for _ in range(2 * REMEMBERED):
        ladder.screen(ORDER, Need(1000))
    assert ladder.call_ns == 100
    answer, _ = ladder.screen(ORDER, Need(50))  # a quiet window would have the time
    assert answer.rung == "first-pass"
