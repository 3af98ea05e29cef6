"""Which engine is kept: fakes on a clock of the test's own, so that nothing depends on timing."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.engines.base import Engine
from xedge.engines.choose import Candidate, Choice, fastest_accepted
from xedge.engines.fake import FakeEngine
from xedge.errors import EngineLoadError, EngineRunError

FEEDS = {"planes": np.full((1, 3, 8, 8), 234, np.uint8)}


class Clock:
    """A clock that only the engines move."""

    now_ns = 0

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Bench:
    """Candidates by name, and the engines that were made of them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made: dict[str, FakeEngine] = {}

    def good(self, name: str, ms: float, instead: Candidate | None = None, **how) -> Candidate:
        def load() -> Engine:
            engine = FakeEngine(
                height=8, width=8, delay_s=ms / 1e3, sleep=self.clock.sleep, **how
            )  # fmt: skip
            self.made[name] = engine
            return engine

        return Candidate(name, load, instead)

    def bad(self, name: str, instead: Candidate | None = None) -> Candidate:
        def load() -> Engine:
            raise EngineLoadError(f"{name} cannot be built")

        return Candidate(name, load, instead)

    def choose(self, *levels: list[Candidate]) -> Choice:
        return fastest_accepted(levels, FEEDS, 5, self.clock)

    def is_open(self, name: str) -> bool:
        try:
            self.made[name].run(FEEDS)
        except EngineRunError:
            return False
        return True


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock)


def passed(choice: Choice) -> dict[str, bool]:
    return {trial.name: trial.passed for trial in choice.trials}


def test_the_fastest_is_kept_and_the_others_are_closed(bench: Bench) -> None:
    choice = bench.choose([bench.good("fp32", 9), bench.good("fp16", 4), bench.good("int8", 5)])
    assert choice.name == "fp16"
    assert choice.engine is bench.made["fp16"]
    assert [bench.is_open(name) for name in ("fp32", "fp16", "int8")] == [False, True, False]
    assert [trial.median_ms for trial in choice.trials] == [9, 4, 5]
    assert choice.warnings == ()


def test_the_earlier_of_two_equally_fast_ones_is_kept(bench: Bench) -> None:
    assert bench.choose([bench.good("a", 3), bench.good("b", 3)]).name == "a"


def test_one_that_cannot_be_built_is_a_warning(bench: Bench) -> None:
    choice = bench.choose([bench.bad("int8"), bench.good("fp16", 4), bench.good("fp32", 9)])
    assert choice.name == "fp16"
    assert choice.warnings == ("int8 is not used: int8 cannot be built",)


def test_what_stands_in_its_place_is_tried_where_it_fails_and_not_else(bench: Bench) -> None:
    choice = bench.choose([bench.bad("strong", bench.bad("weak", bench.good("last", 3)))])
    assert passed(choice) == {"strong": False, "weak": False, "last": True}
    choice = bench.choose([bench.good("strong", 3, bench.good("never", 1))])
    assert passed(choice) == {"strong": True}
    assert "never" not in bench.made


def test_a_level_is_tried_where_none_before_it_passes(bench: Bench) -> None:
    levels = [bench.bad("int8")], [bench.bad("fp16")], [bench.good("fp32", 9)]
    choice = bench.choose(*levels)
    assert (choice.name, len(choice.warnings)) == ("fp32", 2)
    choice = bench.choose([bench.good("slow int8", 50)], [bench.good("not tried", 1)])
    assert choice.name == "slow int8"
    assert "not tried" not in bench.made


def test_one_alone_is_not_timed(bench: Bench) -> None:
    choice = bench.choose([bench.good("only", 3)])
    assert choice.trials[0].median_ms is None
    assert bench.made["only"].runs == 0


def test_one_that_fails_while_it_is_timed_does_not_win(bench: Bench) -> None:
    choice = bench.choose([bench.good("flaky", 1, fail_at={4}), bench.good("sound", 5)])
    assert choice.name == "sound"
    assert "run 4 failed" in choice.warnings[0]
    assert not bench.is_open("flaky")


def test_where_all_fail_while_timed_the_next_level_is_tried(bench: Bench) -> None:
    first = [bench.good("a", 1, fail_at={0}), bench.good("b", 1, fail_at={0})]
    assert bench.choose(first, [bench.good("c", 9)]).name == "c"


def test_none_says_what_became_of_each(bench: Bench) -> None:
    with pytest.raises(EngineLoadError, match=r"int8: int8 cannot.*fp32: fp32 cannot"):
        bench.choose([bench.bad("int8")], [bench.bad("fp32")])
    with pytest.raises(EngineLoadError, match="no candidate"):
        bench.choose()


def test_runs_are_interleaved_and_warmed_up(bench: Bench, clock: Clock) -> None:
    order: list[str] = []

    def noted(name: str) -> Candidate:
        class Noting(FakeEngine):
            def run(self, feeds):
                order.append(name)
                clock.sleep(0.1 if len(order) <= 4 else 0.001)  # slow while it warms up
                return super().run(feeds)

        return Candidate(name, lambda: Noting(height=8, width=8))

    choice = fastest_accepted([[noted("a"), noted("b")]], FEEDS, 3, clock)
    assert order == ["a", "b"] * 5
    assert [trial.median_ms for trial in choice.trials] == [1, 1]


def test_an_error_that_is_no_engines_closes_all(bench: Bench) -> None:
    def broken() -> Engine:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.choose([bench.good("a", 1), Candidate("b", broken)])
    assert not bench.is_open("a")
