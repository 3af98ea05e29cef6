"""A soak finds a lane sound that is, and says of one that is not what it did."""

from __future__ import annotations

import json
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from xedge.cli import CommandGroup
from xedge.commands.soak import soak as command
from xedge.commands.soak_ground import EVERY, FAULTS, SoakSettings, fault_names
from xedge.commands.soak_judge import Judge
from xedge.commands.soak_run import Memory, run_soak
from xedge.errors import ConfigError
from xedge.lane import LaneConfig
from xedge.lane.ledger import Ledger
from xedge.scanner.cutter import BagCutter
from xedge.scanner.intake import Refusal
from xedge.sim.bank import Placed
from xedge.sim.faults import ENGINE_FAULTS, Tape
from xedge.types import Decision, Reason, Strip, Verdict

KEYS = {"bags", "decisions", "late", "not_cleared_by_reason", "lines_in", "lines_used",
        "lines_lost_by_cause", "ledger_balanced", "latency_ms", "cpu_share", "rss_mb"}  # fmt: skip


@pytest.fixture(scope="module")
def lane_file(stand_in_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lane whose bank has two bags, one of them an ALARM."""
    path = tmp_path_factory.mktemp("soak") / "lane.toml"
    path.write_text(
        f'[lane]\nbundle = "{stand_in_bundle}"\n'
        '[source]\nkind = "simulated"\nbags = 2\nspeed_m_s = 0.5\nseed = 3\n'
        '[[bus]]\nkind = "modbus"\nhost = "127.0.0.1"\n'
    )
    return path


def soak(*arguments) -> Result:
    group = CommandGroup(commands={"soak": command})  # turns errors into lines
    return CliRunner().invoke(group, ["soak", *map(str, arguments)])


def settings(lane_file: Path, *faults: str, **changes) -> SoakSettings:
    values = {"hours": 0.012, "faults": faults, "lane": lane_file, "every": (20, 60)}
    return SoakSettings(**(values | changes))


def test_a_short_soak_is_sound_and_prints_what_it_found(lane_file) -> None:
    done = soak("--hours", 0.05, "--lane", lane_file, "--seed", 2, "--json",
                "--faults", "corrupted,reordered,engine-nan,encoder-jump")  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record.keys() >= KEYS
    assert record["ledger_balanced"]
    assert record["bags"] == record["decisions"] > 20
    assert record["lines_in"] == record["lines_used"] + sum(record["lines_lost_by_cause"].values())
    assert record["invariants_broken"] == {}
    assert record["rss_mb"].keys() == {"start", "end"}
    assert set(record["faults"]) == {"corrupted", "reordered", "engine-nan", "encoder-jump"}
    for count in record["faults"].values():
        assert count["injected"] == count["seen"] + count["excused"]
    assert record["faults"]["corrupted"]["injected"] > 0


def test_for_people_there_are_tables(lane_file) -> None:
    done = soak("--hours", 0.01, "--lane", lane_file, "--faults", "none")
    assert done.exit_code == 0, done.output
    assert "Sound: no promise was broken" in done.output


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that refuses lines and says nothing of it to the bag."""
    monkeypatch.setattr(BagCutter, "flag", lambda self, reason: None)
    monkeypatch.setattr(BagCutter, "hole", lambda self, lines, reason: ())


def test_a_lane_that_forgets_what_it_lost_is_not_sound(lane_file, forgetful) -> None:
    done = soak("--hours", 0.06, "--lane", lane_file, "--faults", "corrupted", "--json")
    assert done.exit_code == 1, done.output
    record = json.loads(done.stdout)
    assert not record["sound"]
    assert record["invariants_broken"]["clear-touched"] > 0
    assert record["faults"]["corrupted"]["missed"] == record["invariants_broken"]["missed"] > 0
    assert "corrupted touched the bag" in " ".join(record["broken"])


def test_on_the_virtual_clock_a_soak_can_be_repeated(lane_file) -> None:
    first, again = (run_soak(settings(lane_file, *FAULTS)) for _ in range(2))
    assert first.judge.latencies_ns == again.judge.latencies_ns
    assert first.lane.ledger == again.lane.ledger


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "gremlins"], "nobody knows the fault 'gremlins'"),
        (["--lane", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_what_cannot_be_soaked_is_refused(arguments, words) -> None:
    done = soak("--hours", 0.01, *arguments)
    assert done.exit_code == 1
    assert words in done.output


def test_the_page_tells_of_every_fault() -> None:
    page = (Path(__file__).parents[3] / "docs" / "soak.md").read_text(encoding="utf-8")
    for name, fault in EVERY.items():
        assert f"| `{name}` | {fault.what} | {fault.then} |" in page


def test_names_of_faults() -> None:
    assert fault_names("all") == tuple(EVERY)
    assert fault_names("none") == ()
    assert fault_names("dropped, burst") == ("dropped", "burst")
    with pytest.raises(ConfigError, match="so long"):
        SoakSettings(hours=float("nan"))


def test_memory_that_is_flat_and_memory_that_grows() -> None:
    assert not Memory([100.0, 180.0, *[181.0] * 18]).grew
    assert Memory([100.0, *np.linspace(180, 260, 19).tolist()]).grew


class TestJudge:
    """Two bags on a hundred strips, at lines 200 to 400 and 600 to 900; the second is an ALARM."""

    @pytest.fixture
    def tape(self) -> Tape:
        lines = np.zeros((10, 4), np.uint16)
        tape = Tape([
            Strip(10 * k, np.arange(10 * k, 10 * k + 10), lines, lines, k) for k in range(100)
        ])  # fmt: skip
        while tape.take() is not None:
            tape.expected.lines += 10
        return tape

    @pytest.fixture
    def judge(self, tape) -> Judge:
        bags = [Placed(200, 400, Verdict.CLEAR), Placed(600, 900, Verdict.ALARM)]
        return Judge(tape, deque(bags), LaneConfig(), 800.0)

    def take(self, judge, number, head, tail, verdict, *reasons, **more) -> None:
        reason = reasons[0] if reasons and verdict is Verdict.NOT_CLEARED else Reason.NONE
        judge.take(
            Decision(number, verdict, reason, head, tail, reasons=frozenset(reasons), **more)
        )

    def both(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR)
        self.take(judge, 2, 600, 900, Verdict.ALARM)

    def finish(self, judge, lines=1000, bags=2, **more) -> Counter[str]:
        judge.finish(Ledger(lines, 500, lines - 500 - sum(more.get("refused_lines", {}).values()),
                            bags_in=bags, decisions=bags, **more))  # fmt: skip
        return judge.broken.count

    def test_what_is_right_breaks_nothing(self, judge) -> None:
        self.both(judge)
        assert self.finish(judge) == {}

    def test_a_flagged_clear(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR, Reason.BAD_LINES)
        assert judge.broken.count["clear-flagged"] == 1

    def test_a_late_clear(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR, late=True)
        assert judge.broken.count == {"clear-late": 1, "late": 1}

    def test_a_clear_that_does_not_know_how_late_it_is(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR, latency_ns=3_000_000_000)
        assert judge.broken.count == {"clear-late": 1}

    def test_a_clear_instead_of_an_alarm(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR)
        self.take(judge, 2, 600, 900, Verdict.CLEAR)
        assert judge.broken.count == {"clear-wrong": 1, "unexplained": 1}

    def test_not_cleared_for_nothing_that_happened(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.NOT_CLEARED, Reason.TIMEOUT)
        assert judge.broken.count == {"unexplained": 1}

    def test_not_cleared_without_a_reason(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.NOT_CLEARED)
        assert judge.broken.count["reason"] == 1

    def test_a_bag_without_a_decision(self, judge) -> None:
        self.take(judge, 1, 600, 900, Verdict.ALARM)
        assert self.finish(judge, bags=1) == {"missing": 1}

    def test_a_bag_with_two(self, judge) -> None:
        self.take(judge, 1, 200, 400, Verdict.CLEAR)
        self.take(judge, 2, 200, 400, Verdict.CLEAR)
        assert judge.broken.count == {"doubled": 1}

    def test_decisions_out_of_order(self, judge) -> None:
        self.take(judge, 2, 200, 400, Verdict.CLEAR)
        assert judge.broken.count == {"order": 1}

    def test_a_bag_where_there_is_none(self, judge) -> None:
        self.take(judge, 1, 450, 500, Verdict.CLEAR)
        assert judge.broken.count["unexplained"] == 1

    def test_a_clear_of_what_a_fault_touched(self, judge, tape) -> None:
        tape.touch("dropped", 300, 310, frozenset({Reason.INCOMPLETE_SCAN}))
        self.both(judge)
        assert self.finish(judge) == {"clear-touched": 1, "missed": 1}
        assert judge.faults["dropped"].missed == 1

    def test_a_clear_of_the_rest_of_a_bag_that_a_fault_touched(self, judge, tape) -> None:
        tape.touch("dropped", 300, 310, frozenset({Reason.INCOMPLETE_SCAN}))
        self.take(judge, 1, 200, 299, Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)
        self.take(judge, 2, 350, 400, Verdict.CLEAR)
        assert judge.broken.count == {"clear-touched": 1}

    def test_a_fault_that_was_seen(self, judge, tape) -> None:
        tape.touch("dropped", 300, 310, frozenset({Reason.INCOMPLETE_SCAN}))
        self.take(judge, 1, 200, 400, Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN)
        self.take(judge, 2, 600, 900, Verdict.ALARM)
        assert self.finish(judge) == {}
        assert judge.faults["dropped"].seen == 1

    def test_another_reason_is_no_excuse_by_itself(self, judge, tape) -> None:
        tape.touch("dropped", 300, 310, frozenset({Reason.INCOMPLETE_SCAN}))
        self.take(judge, 1, 200, 400, Verdict.NOT_CLEARED, Reason.CLIPPED_BAG)
        self.take(judge, 2, 600, 900, Verdict.ALARM)
        assert self.finish(judge) == {"missed": 1}

    def test_a_bag_that_was_late_before_excuses_it(self, judge, tape) -> None:
        tape.touch("dropped", 300, 310, frozenset({Reason.INCOMPLETE_SCAN}))
        self.take(judge, 1, 200, 280, Verdict.NOT_CLEARED, Reason.TIMEOUT, late=True)
        self.take(judge, 2, 600, 900, Verdict.ALARM)
        assert self.finish(judge) == {}
        assert judge.faults["dropped"].excused == 1

    def test_what_harms_nothing_may_change_nothing(self, judge, tape) -> None:
        tape.touch("belt-reversed", 300, 310, harmful=False)
        self.take(judge, 1, 200, 400, Verdict.NOT_CLEARED, Reason.BAD_LINES)
        assert judge.broken.count == {"unexplained": 1}

    def test_but_for_what_it_may(self, judge, tape) -> None:
        tape.touch("burst", 300, 310, may=frozenset({Reason.TIMEOUT}), harmful=False)
        self.take(judge, 1, 200, 280, Verdict.NOT_CLEARED, Reason.TIMEOUT, late=True)
        self.take(judge, 2, 600, 900, Verdict.ALARM)
        assert self.finish(judge) == {}

    def test_a_failed_engine_must_show_in_some_bag(self, judge) -> None:
        judge.strike(ENGINE_FAULTS["engine-nan"])
        self.both(judge)
        assert self.finish(judge) == {"missed": 1}

    def test_books_that_do_not_balance(self, judge) -> None:
        self.both(judge)
        judge.finish(Ledger(1000, 500, 400, bags_in=2, decisions=2))
        assert judge.broken.count == {"ledger": 1}

    def test_lines_that_were_lost_before_the_ledger(self, judge) -> None:
        self.both(judge)
        assert self.finish(judge, lines=990) == {"lines": 1}

    def test_lines_under_a_wrong_cause(self, judge, tape) -> None:
        tape.refuse(Refusal.DAMAGED, 10)
        self.both(judge)
        assert self.finish(judge, refused_lines={Refusal.REPEATED: 10}) == {"cause": 2}
