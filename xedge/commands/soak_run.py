"""A lane under faults for a day, most of it in virtual time, and what is left to say of it."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from xedge.commands.soak_ground import EVERY, FAULTS, SoakSettings, open_ground
from xedge.commands.soak_judge import FaultCount, Judge
from xedge.commands.soak_scenes import SCENES
from xedge.lane.config import LaneConfig
from xedge.lane.report import LaneReport
from xedge.lane.runner import run_lane
from xedge.machine import Machine, read_machine, resident_bytes
from xedge.provenance import CodeVersion, code_version
from xedge.sim.bank import BankBelt
from xedge.sim.faults import FaultyScreen, FaultySource, Severity
from xedge.types import Decision

DUTY: Final = 0.4
"""Share of a virtual day that the belt runs; it stands for the rest of it."""

GROWTH_MB: Final = 16.0
"""Memory may grow by so much, or by a twentieth, from a tenth of the bags to the end."""


@dataclass(frozen=True, eq=False)
class SoakResult:
    """A soak that came to its end.

    Attributes:
        settings: What was asked for.
        lane: The lane's own report.
        judge: Who watched it.
        wall_s: Seconds that it took, the bank's making aside.
        cpu_s: Seconds of processor time.
        belt_s: Seconds of belt.
        memory: Resident memory.
        machine: Where it ran.
        code: What ran.
    """

    settings: SoakSettings
    lane: LaneReport
    judge: Judge
    wall_s: float
    cpu_s: float
    belt_s: float
    memory: Memory
    machine: Machine
    code: CodeVersion

    @property
    def sound(self) -> bool:
        """True when no promise was broken and the memory is flat."""
        return not self.judge.broken.count and not self.memory.grew

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        lane, ledger, judge = self.lane.to_dict(), self.lane.ledger, self.judge
        counts = {name: asdict(judge.faults.get(name, FaultCount()))
                  for name in self.settings.faults}  # fmt: skip
        return {
            **{key: lane[key] for key in ("bags", "decisions", "alarm", "clear", "not_cleared",
                                          "late", "not_cleared_by_reason")},
            "lines_in": ledger.lines_in,
            "lines_used": ledger.bag_lines + ledger.gap_lines,
            "lines_lost_by_cause": lane["ledger"]["refused_lines"],
            "missing_lines": ledger.missing_lines,
            "ledger_balanced": lane["ledger_balanced"],
            "latency_ms": _percentiles(judge.latencies_ns),
            "cpu_share": self.cpu_s / self.belt_s if self.belt_s else None,
            "rss_mb": {"start": self.memory.start, "end": self.memory.end},
            "memory_grew": self.memory.grew,
            "faults": {
                name: {**count, "then": EVERY[name].then} for name, count in counts.items()
            },
            "bags_unseen": judge.unseen,
            "invariants_broken": dict(judge.broken.count),
            "broken": judge.broken.sentences,
            "sound": self.sound,
            "hours": self.settings.hours,
            "belt_s": self.belt_s,
            "wall_s": self.wall_s,
            "realtime": self.settings.realtime,
            "engine": self.settings.engine,
            "seed": self.settings.seed,
            "health": lane["health"],
            "errors": lane["errors"],
            "commit": self.code.commit,
            "uncommitted_changes": self.code.dirty,
            "machine": asdict(self.machine),
        }  # fmt: skip


def run_soak(
    settings: SoakSettings, on_progress: Callable[[float, int], None] = lambda hours, bags: None
) -> SoakResult:
    """What a lane does on a belt with faults, judged decision by decision.

    Args:
        settings: What is to be soaked.
        on_progress: Called now and then with the hours of belt and the bags so far.

    Raises:
        ConfigError: When the lane's file or a fault cannot be used, or its recording is not sound.
        BundleError, EngineError: When the model cannot be run.
    """
    with open_ground(settings) as ground:
        belt = BankBelt(
            ground.bank, ground.air, seed=settings.seed, seconds=settings.hours * 3600,
            line_ns=ground.line_ns, counts_per_line=ground.config.counts_per_line,
            duty=1.0 if settings.realtime else DUTY,
        )  # fmt: skip
        severity = _severity(settings, ground.config)
        screen = FaultyScreen(ground.screen, ground.sleep, severity)
        source = FaultySource(
            belt, [FAULTS[name] for name in settings.faults if name in FAULTS], seed=settings.seed,
            every=settings.pauses, counts_per_line=ground.config.counts_per_line,
            severity=severity, ahead=lambda: belt.ahead, arm=screen.arm,
        )  # fmt: skip
        counts_per_s = ground.config.counts_per_line * 1e9 / ground.line_ns
        judge = Judge(source.tape, belt.placed, ground.config, counts_per_s)
        screen.on_strike = judge.strike
        memory = Memory()

        def take(decision: Decision, scan: object) -> None:
            judge.take(decision)
            if decision.bag % 8 == 0:
                memory.look()
                on_progress(belt.now_ns / 3.6e12, decision.bag)

        wall_s, cpu_s = time.perf_counter(), time.process_time()
        lane = run_lane(
            source, screen, ground.correction, ground.config, realtime=settings.realtime,
            on_decision=take, clock=ground.clock, keep=1000,
        )  # fmt: skip
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        memory.look()
        judge.finish(lane.ledger)
        for name in settings.faults:
            if name in SCENES:
                judge.faults[name] = SCENES[name].play(settings.seed, judge.broken)
    return SoakResult(
        settings, lane, judge, wall_s, cpu_s, belt.now_ns * 1e-9, memory, read_machine(),
        code_version(),
    )  # fmt: skip


def _severity(settings: SoakSettings, config: LaneConfig) -> Severity:
    """Faults that last as long as the lane's own limits make them matter."""
    lines = 2 * config.cutter.max_bag_lines
    stuck_s = config.bag_limit_s + 5
    if settings.realtime:  # what the machine's clock has to wait for is kept short
        return Severity(stuck_s=stuck_s, step_s=3.0, slow_s=6.0, hung_s=10.0, dead_lines=lines)
    return Severity(stuck_s=stuck_s, dead_lines=lines)


class Memory:
    """Resident memory while a lane runs, MiB.

    Args:
        seen: What was seen before.
    """

    def __init__(self, seen: Sequence[float] = ()) -> None:
        self._seen = list(seen)

    def look(self) -> None:
        """Take a sample."""
        self._seen.append(resident_mb())

    @property
    def start(self) -> float:
        """After the first tenth of the samples, when the lane is warm."""
        return self._seen[len(self._seen) // 10]

    @property
    def end(self) -> float:
        """At the end."""
        return self._seen[-1]

    @property
    def grew(self) -> bool:
        """True when it grew by more than `GROWTH_MB` and a twentieth."""
        return self.end > self.start + max(GROWTH_MB, self.start / 20)


def resident_mb() -> float:
    """Memory of this process that lies in RAM, MiB; the most so far where nobody tells."""
    if (held := resident_bytes(os.getpid())) is not None:
        return held / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _percentiles(latencies_ns: Sequence[int]) -> dict[str, float | None]:
    names = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
    if not latencies_ns:
        return dict.fromkeys(names)
    values = np.percentile(latencies_ns, list(names.values()), method="higher") / 1e6
    return dict(zip(names, map(float, values), strict=True))
