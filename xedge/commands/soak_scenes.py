"""Faults that are no part of a belt: a corrupt bundle, a process that dies, an engine that does."""

from __future__ import annotations

import importlib.resources
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from xedge.bundle import parse_bundle
from xedge.commands.soak_child import open_dying, plain_belt, plain_correction
from xedge.commands.soak_judge import Broken, FaultCount
from xedge.errors import BundleError
from xedge.lane.config import LaneConfig
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess
from xedge.lane.runner import run_lane
from xedge.types import Decision, Reason, Strip, Verdict

CHANGED_BYTES: Final = 20
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
