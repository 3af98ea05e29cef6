"""Each fault does to a belt what its name says, and writes down what must come of it."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.errors import ConfigError, EngineRunError
from xedge.scanner.flatfield import FlatField
from xedge.scanner.intake import Intake, Refusal
from xedge.scanner.tube import TubeWatch
from xedge.sim.faults import (
    ENGINE_FAULTS,
    LINE_FAULTS,
    FaultyScreen,
    FaultySource,
    Severity,
    Tape,
)
from xedge.types import Detections, Reason, Strip

ELEMENTS, LINES, LINE_NS = 16, 8, 1_000_000


def belt(strips: int = 400, counts: int = 1) -> list[Strip]:
    return [
        Strip(
            k * LINES,
            np.arange(k * LINES, (k + 1) * LINES, dtype=np.int64) * counts,
            np.full((LINES, ELEMENTS), 56_000 + k, np.uint16),
            np.full((LINES, ELEMENTS), 57_000 + k, np.uint16),
            (k + 1) * LINES * LINE_NS,
        )
        for k in range(strips)
    ]


def faulty(names, counts: int = 1, **changes) -> FaultySource:
    values = {
        "seed": 3, "every": (12, 20), "counts_per_line": counts,
        "severity": Severity(stuck_s=0.1, step_s=3.0, dead_lines=40),
    }  # fmt: skip
    faults = [LINE_FAULTS[name] for name in names]
    return FaultySource(belt(counts=counts), faults, **(values | changes))


@pytest.mark.parametrize("counts", [1, 3])
@pytest.mark.parametrize("name", LINE_FAULTS)
def test_the_intake_books_what_the_fault_says_it_will(name, counts) -> None:
    source = faulty([name], counts)
    shape = (2, ELEMENTS)
    plain = FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                      np.zeros(shape, np.bool_))  # fmt: skip
    intake = Intake(ELEMENTS, float(counts), tube=TubeWatch(plain))
    refused: dict[Refusal, int] = {}
    missing = holes = 0
    strips = list(source)
    for strip in strips:
        admission = intake.admit(strip)
        missing += admission.missing
        holes += admission.hole > 0
        for cause, lines in admission.refused.items():
            refused[cause] = refused.get(cause, 0) + lines
    struck, touches = source.struck[name], source.tape.touches
    assert struck >= 3
    assert {touch.fault for touch in touches} == {name}
    # One that the end of the belt cuts short may have nothing to write down.
    assert struck - 1 <= len(touches) <= struck
    expected = source.tape.expected
    assert expected.lines == sum(map(len, strips))
    assert refused == {cause: n for cause, n in expected.refused.items() if n}
    assert missing == expected.missing
    if touches[0].must & {Reason.INCOMPLETE_SCAN} and not touches[0].must & {Reason.CLIPPED_BAG}:
        assert holes >= len(touches)


@pytest.mark.parametrize("name", LINE_FAULTS)
def test_the_same_seed_gives_the_same_faults(name) -> None:
    first, again = list(faulty([name])), list(faulty([name]))
    assert len(first) == len(again)
    for a, b in zip(first, again, strict=True):
        assert (a.first_line, a.captured_ns, a.intact) == (b.first_line, b.captured_ns, b.intact)
        assert (a.low == b.low).all()
        assert (a.encoder == b.encoder).all()


def test_without_faults_the_strips_are_those_of_the_source() -> None:
    strips = belt(20)
    source = FaultySource(strips, [], seed=1)
    assert all(a is b for a, b in zip(strips, source, strict=True))
    assert not source.tape.touches
    assert source.tape.expected.lines == 20 * LINES


def test_every_fault_comes_as_often_as_the_others() -> None:
    source = faulty(["dropped", "corrupted", "burst"], every=(1, 2))
    list(source)
    times = source.struck.values()
    assert max(times) - min(times) <= 1
    assert min(times) > 3


def test_a_fault_waits_for_a_bag_that_is_long_enough() -> None:
    ahead = iter([0, 1, 2, 3] * 200)
    source = faulty(["dropped"], every=(1, 1), ahead=lambda: next(ahead))
    assert len(list(source)) == 400
    assert source.struck == {"dropped": 0}


def test_where_the_lane_sees_a_place_of_the_belt() -> None:
    tape = Tape(belt(10))
    tape.take()
    tape.shift_encoder(100)
    tape.take()
    tape.shift_encoder(-30)
    tape.take()
    assert [tape.seen_at(place) for place in (0, 7, 8, 15, 16, 20)] == [0, 7, 108, 115, 86, 90]
    assert (tape.place, tape.reached) == (23, 93)


def test_faults_of_an_engine_need_an_engine() -> None:
    with pytest.raises(ConfigError, match="need an engine"):
        FaultySource(belt(4), [ENGINE_FAULTS["engine-nan"]], seed=1)


def test_faults_of_an_engine_are_handed_over() -> None:
    armed = []
    source = FaultySource(belt(40), [ENGINE_FAULTS["engine-nan"]], seed=1, every=(5, 5),
                          arm=armed.append)  # fmt: skip
    assert len(list(source)) == 40
    assert armed == [ENGINE_FAULTS["engine-nan"]] * source.struck["engine-nan"]
    assert len(armed) > 3


class TestScreen:
    """An engine that answers nothing, and sleeps on a list."""

    @pytest.fixture
    def slept(self) -> list[float]:
        return []

    @pytest.fixture
    def screen(self, slept) -> FaultyScreen:
        return FaultyScreen(lambda planes: Detections.empty(), slept.append, Severity(hung_s=7.0))

    def test_it_fails_once(self, screen) -> None:
        struck = []
        screen.on_strike = struck.append
        screen.arm(ENGINE_FAULTS["engine-crash"])
        with pytest.raises(RuntimeError, match="crashed"):
            screen(np.zeros((3, 4, 4), np.uint8))
        assert len(screen(np.zeros((3, 4, 4), np.uint8))) == 0
        assert struck == [ENGINE_FAULTS["engine-crash"]]

    def test_a_hung_engine_is_ended(self, screen, slept) -> None:
        screen.arm(ENGINE_FAULTS["engine-hung"])
        with pytest.raises(EngineRunError, match="hung"):
            screen(np.zeros((3, 4, 4), np.uint8))
        assert slept == [7.0] == [ENGINE_FAULTS["engine-hung"].seconds(Severity(hung_s=7.0))]

    def test_a_slow_engine_answers_in_the_end(self, screen, slept) -> None:
        screen.arm(ENGINE_FAULTS["engine-slow"])
        assert len(screen(np.zeros((3, 4, 4), np.uint8))) == 0
        assert slept == [Severity().slow_s]

    def test_answers_that_are_none(self, screen) -> None:
        screen.arm(ENGINE_FAULTS["engine-nan"])
        found = screen(np.zeros((3, 4, 4), np.uint8))
        assert np.isnan(found.boxes).all()
        assert np.isnan(found.scores).all()
        screen.arm(ENGINE_FAULTS["engine-nonsense"])
        assert not isinstance(screen(np.zeros((3, 4, 4), np.uint8)), Detections)


def test_every_fault_says_what_happens_and_what_must_come_of_it() -> None:
    for name, fault in {**LINE_FAULTS, **ENGINE_FAULTS}.items():
        assert fault.name == name
        assert fault.what
        assert fault.then
