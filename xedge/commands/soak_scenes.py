"""Faults that are no part of a belt: a corrupt bundle, a process that dies, an engine that does."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from xedge.bundle import parse_bundle
from xedge.commands import soak_drift
from xedge.commands.soak_child import open_dying, plain_belt, plain_correction
from xedge.commands.soak_judge import Broken, FaultCount
from xedge.errors import BundleError
from xedge.lane.config import LaneConfig
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess
from xedge.lane.journal import Journal, JournalReader
from xedge.lane.runner import run_lane
from xedge.types import Decision, Reason, Strip, Verdict

CHANGED_BYTES: Final = 20
KILLS: Final = 5
FULL_DISK_BYTES: Final = 400_000
LONGEST_S: Final = 120.0
"""Seconds of real time after which an engine is not waited for any more."""

Play = Callable[[int, Broken], FaultCount]


@dataclass(frozen=True)
class Scene:
    """A fault with a stage of its own.

    Attributes:
        name: Its name on the command line.
        what: What happens, a clause.
        then: What must come of it, a clause.
        play: Does it, from a seed; says what became of it, and what was broken.
    """

    name: str
    what: str
    then: str
    play: Play


def _corrupt_bundle(seed: int, broken: Broken) -> FaultCount:
    rng = np.random.default_rng(seed)
    shipped = importlib.resources.files("xedge") / "bundles" / "default.xedge"
    content, count = shipped.read_bytes(), FaultCount()
    for _ in range(CHANGED_BYTES):
        place = int(rng.integers(len(content)))
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        count.injected += 1
        try:
            parse_bundle(bytes(changed))
        except BundleError:
            count.seen += 1
        else:
            count.missed += 1
            broken.add("missed", f"a bundle whose byte {place} was changed was opened")
    return count


def _kill(seed: int, broken: Broken) -> FaultCount:
    """A lane that is killed, and started again on the same journal, several times."""
    rng = np.random.default_rng(seed)
    count, said = FaultCount(), dict[int, str]()
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        for life in range(KILLS):
            with _lane(journal, life, 1e6, 0) as child:
                assert child.stdout is not None
                lines = [child.stdout.readline() for _ in range(int(rng.integers(0, 60)))]
                time.sleep(float(rng.uniform(0, 0.05)))
                child.kill()
                lines += child.stdout.readlines()
            wrong = remember(lines, said)
            with Journal(journal):  # reports the bags that were on the belt
                pass
            wrong += compare(journal, said)
            count.injected += 1
            count.seen += not wrong
            count.missed += bool(wrong)
            for sentence in wrong:
                broken.add("killed", f"life {life}: {sentence}")
    return count


def _lane(journal: Path, seed: int, seconds: float, most: int) -> subprocess.Popen[str]:
    """A lane in a process of its own; see `soak_child.main`."""
    command = [sys.executable, "-m", "xedge.commands.soak_child", str(journal), str(seed),
               str(seconds), str(most)]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def remember(lines: list[str], said: dict[int, str]) -> list[str]:
    """What is wrong with what a lane has said, which is added to what was said before."""
    wrong = []
    for line in lines:
        if not line.endswith("\n"):
            continue  # torn
        bag, verdict = json.loads(line)
        if said.setdefault(bag, verdict) != verdict:
            wrong.append(f"bag {bag} was {said[bag]}, and is told again as {verdict}")
    return wrong


def compare(journal: Path, said: dict[int, str]) -> list[str]:
    """What is wrong with a journal, given all that was said by now."""
    with JournalReader(journal) as reader:
        rows: list[dict[str, Any]] = reader.bags()
    verdicts = {row["bag"]: row["verdict"] for row in rows}
    wrong = [f"bag {bag} was told as {verdict}, and is {verdicts.get(bag)} in the journal"
             for bag, verdict in said.items() if verdicts.get(bag) != verdict]  # fmt: skip
    if list(verdicts) != list(range(1, len(rows) + 1)):
        wrong.append(f"the bags of the journal are no row without a gap: {list(verdicts)[-3:]}")
    for row in rows:
        if row["verdict"] is None:
            wrong.append(f"bag {row['bag']} has no decision")
        elif row["decided_epoch"] != row["epoch"] and row["verdict"] != "NOT_CLEARED":
            wrong.append(f"bag {row['bag']} was on the belt, and is {row['verdict']}")
    return wrong


def _fill_disk(seed: int, broken: Broken) -> FaultCount:
    """A lane whose journal's files may not grow: a full disk, but for this one process."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        with _lane(Path(folder) / "journal", seed, 60.0, FULL_DISK_BYTES) as child:
            said = [json.loads(line) for line in child.communicate()[0].splitlines()]
        report = said.pop() if said else {}
        if child.returncode or not isinstance(report, dict):
            wrong.append(f"the lane ended with {child.returncode}")
        elif [bag for bag, _ in said] != list(range(1, report["bags"] + 1)):
            wrong.append(f"{len(said)} decisions for {report['bags']} bags, or out of order")
        elif not (report["failure"] and report["journal_errors"]):
            wrong.append("the journal says nothing of it")
        elif not report["ledger_balanced"] or {verdict for _, verdict in said} != {"CLEAR"}:
            wrong.append("the lane did not go on as before")
    for sentence in wrong:
        broken.add("disk-full", sentence)
    return FaultCount(injected=1, seen=int(not wrong), missed=int(bool(wrong)))


def _engine_dies(death: str, seed: int, broken: Broken) -> FaultCount:
    """A lane in real time until its engine has come back, or is not waited for any more."""
    decisions: list[Decision] = []
    until = time.monotonic() + LONGEST_S

    def strips() -> Iterator[Strip]:
        for strip in plain_belt(seed, 1e6):
            back = [d.verdict is Verdict.CLEAR for d in decisions[-3:]]
            if (hurt() and back == [True] * 3) or time.monotonic() > until:
                return
            yield strip

    def hurt() -> bool:
        return any(d.reasons & {Reason.ENGINE_FAILED, Reason.TIMEOUT} for d in decisions)

    limits = EngineLimits(window_s=1.0, start_s=60.0)
    with tempfile.TemporaryDirectory() as folder:
        opener = partial(open_dying, death, str(Path(folder) / "died"))
        with EngineProcess(opener, Layout(416, 416, 8), limits) as engine:
            report = run_lane(
                strips(), engine, plain_correction(), LaneConfig(), realtime=True,
                on_decision=lambda decision, scan: decisions.append(decision),
            )  # fmt: skip
            state = engine.state
    wrong = [f"bag {d.bag} is CLEAR with {sorted(d.reasons)}" for d in decisions
             if d.verdict is Verdict.CLEAR and (d.reasons or d.late)]  # fmt: skip
    if [d.bag for d in decisions] != list(range(1, report.ledger.bags_in + 1)):
        wrong.append(
            f"{len(decisions)} decisions for {report.ledger.bags_in} bags, or out of order"
        )
    if not report.ledger.balanced:
        wrong.append(f"the ledger does not balance: {report.ledger.to_dict()}")
    if not hurt():
        wrong.append("no bag was NOT_CLEARED for it")
    if state.restarts < 1 or decisions[-1].verdict is not Verdict.CLEAR:
        wrong.append(f"the engine did not come back: {state}")
    for sentence in wrong:
        broken.add(f"engine-{death}", sentence)
    return FaultCount(injected=1, seen=int(not wrong), missed=int(bool(wrong)))


_ALL: Final = (
    Scene("corrupt-bundle", "one byte of the bundle is changed", "it is refused at the start",
          _corrupt_bundle),
    Scene("drift-within", "gain and dark drift by half of what is followed",
          "every verdict as without it, at the same place; no new correction is asked for",
          soak_drift.drift_within),
    Scene("drift-beyond", "they drift by four times the limit",
          "a new correction is asked for, and nothing dense is CLEAR, whatever a bag looks like",
          soak_drift.drift_beyond),
    Scene("killed", "the lane's process is killed, at any point, five times",
          "every bag has one decision in the journal, those that were on the belt NOT_CLEARED; "
          "what was told is there, and is never told otherwise", _kill),
    Scene("disk-full", "the files of the journal cannot grow any more",
          "the journal stops and says so, the lane goes on", _fill_disk),
    Scene("process-hung", "the engine hangs, in a process of its own",
          "ENGINE_FAILED or TIMEOUT; it is ended, started again, and bags are cleared again",
          partial(_engine_dies, "hang")),
    Scene("process-segfault", "the engine's process reads a null pointer",
          "as of process-hung", partial(_engine_dies, "segfault")),
    Scene("process-raise", "the engine raises in its process",
          "as of process-hung", partial(_engine_dies, "raise")),
)  # fmt: skip

SCENES: Final = MappingProxyType({scene.name: scene for scene in _ALL})
"""Every one of them, by name."""
