"""Whether a lane does its work, as JSON for whoever looks after it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xedge.commands.engine import EngineState
from xedge.control.link import LinkStatus
from xedge.lane.config import FULL
from xedge.lane.vitals import StageState, Vitals
from xedge.scanner.health import DetectorHealth
from xedge.scanner.pairing import ViewBooks

LAST_ERRORS: Final = 10


@dataclass(frozen=True)
class Health:
    """How a lane is at one moment.

    Attributes:
        problems: What keeps it from its work or from a complete record of it, in words.
        figures: Everything else, as JSON values.
    """

    problems: tuple[str, ...]
    figures: dict[str, Any]

    @property
    def good(self) -> bool:
        """True when nobody needs to look after the lane."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {"ok": self.good, "problems": list(self.problems), **self.figures}


def health_of(
    lane: str,
    state: str,
    vitals: Vitals,
    engines: Mapping[str, EngineState],
    links: Sequence[LinkStatus],
    journal: bool,
    views: Sequence[ViewBooks] = (),
) -> Health:
    """How a lane is now.

    Args:
        lane: Its name.
        state: What it does; anything but ``screening`` is a problem.
        vitals: Its signs of life.
        engines: Its engines by rung of the ladder, once there are some.
        links: Its buses.
        journal: Whether it keeps a journal.
        views: What becomes of the lines of each view, where there are several.
    """
    stages = vitals.stages
    ledger = vitals.ledger
    figures = {
        "lane": lane,
        "state": state,
        "stages": {stage.name: _stage(stage) for stage in stages},
        "engines": {rung: _engine(engine) for rung, engine in engines.items()},
        "journal": {
            "kept": journal, "failing": vitals.journal_failing, "errors": vitals.journal_errors,
        },
        "buses": [
            {"bus": link.bus, "connected": link.connected, "plc_alive": link.plc_alive}
            for link in links
        ],
        "bags": {
            "in": ledger.bags_in, "open": ledger.open_bags, "decisions": ledger.decisions,
            "ledger_balanced": ledger.balanced,
        },
        "detector": None if vitals.detector is None else _detector(vitals.detector),
        "waiting": {"strips": vitals.depths.strips, "windows": vitals.depths.windows},
        "errors": {
            "count": len(vitals.errors),
            "last": [
                {"at": _time(entry.at_unix_s), "message": entry.message}
                for entry in vitals.errors.entries(LAST_ERRORS)
            ],
        },
    }  # fmt: skip
    lost = [
        f"view {number} gives no lines, or late ones: no bag is cleared without it"
        for number, books in enumerate(views, 1)
        if books.lost
    ]
    return Health((*_problems(state, vitals, stages, engines, links), *lost), figures)


def _problems(
    state: str,
    vitals: Vitals,
    stages: Sequence[StageState],
    engines: Mapping[str, EngineState],
    links: Sequence[LinkStatus],
) -> tuple[str, ...]:
    found = [] if state == "screening" else [f"the lane is not screening: {state}"]
    found += [
        f"{stage.name} is silent: no sign of life for {stage.quiet_s:.1f} s"
        for stage in stages
        if stage.silent
    ]
    found += [
        engine.problem if rung == FULL else f"{rung}: {engine.problem}"
        for rung, engine in engines.items()
        if engine.problem
    ]
    if vitals.journal_failing:
        found.append(f"the journal fails: {vitals.journal_errors} records are not in it")
    if vitals.detector is not None:
        found += [f"the detector: {problem}" for problem in vitals.detector.problems]
    found += [
        f"{link.bus}: " + ("the PLC is silent" if link.connected else "not connected")
        for link in links
        if not (link.connected and link.plc_alive)
    ]
    return tuple(found)


def _stage(stage: StageState) -> dict[str, Any]:
    return {"busy": stage.busy, "quiet_s": round(stage.quiet_s, 3), "silent": stage.silent}


def _engine(engine: EngineState) -> dict[str, Any]:
    tests, process = engine.tests, engine.process
    passed = tests.passed_at_s
    return {
        "name": engine.name,
        "problem": engine.problem,
        "windows_stopped": engine.stopped,
        "self_tests": {
            "passed": tests.passed, "failed": tests.failed,
            "passed_ago_s": None if passed is None else round(time.monotonic() - passed, 1),
        },
        "process": None if process is None else {
            "ready": process.ready, "pid": process.pid, "restarts": process.restarts,
            "failures": process.failures, "last_failure": process.last_failure,
        },
    }  # fmt: skip


def _detector(seen: DetectorHealth) -> dict[str, Any]:
    low, high = (
        {"air": round(air, 4), "dead": len(dead), "failing": len(failing), "glitches": glitches}
        for air, dead, failing, glitches in zip(
            seen.air, seen.dead, seen.intermittent, seen.glitches, strict=True
        )
    )
    return {
        "low": low, "high": high, "fault": seen.fault, "correction_version": seen.version,
        "recalibrate": list(seen.recalibrate),
    }  # fmt: skip


def _time(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc).isoformat()
