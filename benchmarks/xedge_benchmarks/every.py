"""`xedge bench all`: every benchmark after the other, each as a command of its own.

One that fails, crashes or takes too long is said so, and the next one runs. What this machine lacks
is "not measured", which is no failure. A quick run ends within ten minutes: its steps measure
within budgets of their own (`--within`), and their records say what was cut. In a full run steps
stand in the order of what they are worth, and those that this commit has records of can be spared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.machine import read_machine
from xedge.provenance import code_version
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.libxedge import TOOLS
from xedge_benchmarks.record import read_record

GPU: Final = "GPU"
COMPILER: Final = "compiler"
MEASURED: Final = "measured"
NOT_MEASURED: Final = "not measured"
FAILED: Final = "FAILED"

SPARED: Final = "measured before"
LEFT_OUT: Final = "left out"

FULL_S: Final = 4 * 3600.0
"""What one command of a full run may take, seconds."""

_XEDGE: Final = "import sys; sys.argv[0] = 'xedge'; from xedge.cli import main; main()"
"""As the command `xedge`, which a record names, but of this interpreter and this code."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of `xedge bench`.

    Attributes:
        name: Of the step.
        full: Its arguments in a full run; None leaves it out there.
        full_s: What it takes in one on two quiet cores, seconds, roughly.
        quick: Its arguments in a quick run; None leaves it out there.
        quick_s: What it is to take in one at most, seconds; where a busy machine needs longer, and
            earlier steps left some time, twice as much before it is ended.
        needs: Importable modules that it cannot do without, `GPU`, or `COMPILER`.
    """

    name: str
    full: tuple[str, ...] | None
    full_s: float = 0.0
    quick: tuple[str, ...] | None = None
    quick_s: float = 0.0
    needs: tuple[str, ...] = ()

    def args(self, *, quick: bool) -> tuple[str, ...] | None:
        """Its arguments, or None where it is left out."""
        return self.quick if quick else self.full

    @property
    def command(self) -> str:
        """The command of `xedge bench` that it is."""
        return (self.full or self.quick or ("",))[0]


def _step(text: str, full_s: float, *needs: str, quick: str | None = None, quick_s: float = 0.0,
          name: str = "") -> Step:  # fmt: skip
    full = tuple(text.split())
    return Step(
        name=name or full[0], full=full, full_s=full_s, quick_s=quick_s, needs=needs,
        quick=None if quick is None else tuple(quick.split()),
    )  # fmt: skip


def _speed(table: str, full_s: float) -> Step:
    return _step(f"speed {table}", full_s, "torch", "onnx", name=f"speed {table}")


def _contenders(host: str, full_s: float, rounds: int = 9) -> Step:
    text = f"contenders {host} --rounds {rounds}"
    return _step(text, full_s, "torch", "onnx", name=f"contenders {host}")


def _algebra(recipe: str, plain: str, full_s: float) -> Step:
    text = f"algebra {recipe} --plain {plain}"
    return _step(text, full_s, "torch", "onnx", name=f"algebra {recipe}")


_SIDES: Final = ("torch", "onnxruntime:fp32", "openvino:fp32", "openvino-bf16:fp32")
"""Contenders of a quick run: none that takes minutes to be made."""

STEPS: Final = (
    _step("peak", 40, "torch", quick="peak --rounds 5 --within 20", quick_s=40),
    _step("engines --rounds 400", 55, quick="engines --rounds 20 --warmup 2 --within 15",
          quick_s=35),
    _step("scenarios", 250, quick_s=45,
          quick="scenarios --queries 40 --streams 2 --accuracy-bags 0 --within 30"),
    _step("lane --speed 0.5 --speed 2.5", 320, quick="lane --quick --speed 0.5 --speed 2.5",
          quick_s=55),
    _step("lane --tail", 270, name="lane --tail"),
    _speed("atss", 120),
    _speed("label-aware", 170),
    _speed("doam", 90),
    _contenders("bundle", 120, 15),
    _contenders("chr-resnet34", 80, 15),
    _contenders("ssd-doam", 175),
    _algebra("chr-resnet34", "backbone-resnet34", 40),
    _algebra("chr-resnet50", "backbone-resnet50", 50),
    _step("belt --bags 100", 60, quick="belt --bags 10", quick_s=35),
    _step("buses --rounds 1000", 20, "pymodbus", quick="buses --rounds 100", quick_s=20),
    _step("native", 90, COMPILER, quick="native --rounds 20", quick_s=50),
    _step("ring", 60, COMPILER, quick="ring --seconds 3 --kill-s 0.5", quick_s=25),
    _step("speed start", 60, "onnxruntime", quick="speed start --rounds 2", quick_s=35,
          name="speed start"),
    _step("loadgen --queries 200", 200, "mlperf_loadgen", quick_s=40,
          quick="loadgen --queries 20 --rounds 2 --streams 2 --within 25"),
    _step("growth --seconds 30", 450, quick="growth --quick --seconds 8 --within 80",
          quick_s=95),
    _contenders("atss-la", 420),
    _contenders("atss", 300),
    _contenders("paa", 300),
    *(_contenders(host, 175) for host in ("ssd", "ssd-se", "ssd-non-local", "ssd-da", "ssd-cbam")),
    _contenders("chr-resnet50", 100, 15),
    _contenders("sxmnet", 100, 15),
    _contenders("resnet34", 80, 15),
    _step("accuracy", 550, quick="accuracy --bags 20 --within 20", quick_s=35),
    _contenders("yolov3-doam", 300),
    _contenders("yolov3", 300),
    _contenders("fcos-doam", 300),
    _contenders("fcos", 300),
    _speed("mechanisms", 450),
    _contenders("atss-paper", 700),
    _contenders("atss-la-paper", 900),
    Step(name="contenders, quick", full=None, needs=("torch", "onnx"), quick_s=60,
         quick=("contenders", "--quick", "--within", "30",
                *(word for side in _SIDES for word in ("--contender", side)))),
    _step("contenders --gpu", 1200, GPU, "torch", quick="contenders --gpu --quick --within 60",
          quick_s=120, name="contenders --gpu"),
)  # fmt: skip
"""In the order of their worth where time is short. Trainings (`xedge bench studies`) take days and
are not among them."""


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: Its name.
        result: `MEASURED`, `NOT_MEASURED`, `SPARED`, `LEFT_OUT` or `FAILED`.
        why: The reason, where it was not measured.
        seconds: What it took.
    """

    step: str
    result: str
    why: str = ""
    seconds: float = 0.0


def lacking(step: Step) -> str:
    """Why this machine cannot do a step; empty when it can."""
    for need in step.needs:
        if need == GPU:
            if not read_machine().gpus:
                return "no NVIDIA GPU that its driver shows"
        elif need == COMPILER:
            if missing := [name for name, _ in TOOLS if shutil.which(name) is None]:
                return f"no {', no '.join(missing)}"
        elif importlib.util.find_spec(need) is None:
            return f"{need} is not installed"
    return ""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A step whose turn comes in a run.

    Attributes:
        name: Of the step.
        args: Of the command of `xedge bench`.
        lack: Why it cannot be measured here; empty where it can.
        takes_s: What it takes, roughly: with less time left it is not begun.
        limit_s: After which it is ended.
        may_outlast: Whether it is left to its end once it has begun, whatever time is left to all.
        spare: Asked when its turn comes: whether there are records of it already.
    """

    name: str
    args: tuple[str, ...]
    lack: str = ""
    takes_s: float = 0.0
    limit_s: float = FULL_S
    may_outlast: bool = True
    spare: Callable[[], bool] = lambda: False


def run_all(
    turns: Sequence[Turn],
    run: Callable[[Sequence[str], float], str],
    budget: Budget,
    tell: Callable[[str], None] = lambda what: None,
) -> Iterator[Outcome]:
    """The outcome of each step, when it has one; a failing one stops nothing.

    Args:
        turns: The steps.
        run: Runs a command of `xedge bench` within so many seconds, and says why it failed; empty
            when it did not.
        budget: Of all of them; no step begins that would not end within, by what it takes.
        tell: Told what is next.
    """
    for number, turn in enumerate(turns, 1):
        tell(f"[{number}/{len(turns)}] xedge bench {' '.join(turn.args)}")
        if turn.lack:
            yield Outcome(turn.name, NOT_MEASURED, turn.lack)
        elif turn.spare():
            yield Outcome(turn.name, SPARED, "this commit has its record")
        elif budget.left < turn.takes_s:
            why = f"{budget.left:.0f} s were left, and it takes {turn.takes_s:.0f}"
            yield Outcome(turn.name, LEFT_OUT, why)
        else:
            began = time.monotonic()
            most = turn.limit_s if turn.may_outlast else min(turn.limit_s, budget.left)
            why = run(turn.args, most)
            seconds = time.monotonic() - began
            yield Outcome(turn.name, FAILED if why else MEASURED, why, seconds)


def measured_before(results: Path, args: Sequence[str]) -> int:
    """How many records a folder has of a command on this machine, of exactly this code."""
    code = code_version()
    place = results / read_machine().slug
    found = (read_record(path) for path in place.glob("*.json"))
    return sum(
        one["code"] == dataclasses.asdict(code) and one["command_line"][2:] == list(args)
        for one in found
    )


def command(args: Sequence[str], limit_s: float) -> str:
    """Run a command of `xedge bench` in a process of its own; why it failed, or nothing.

    Its output goes where this process's goes.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _XEDGE, "bench", *args], start_new_session=True
    )
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"it took longer than {limit_s:g} s"
    finally:  # also when this one is interrupted
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"exit status {code}" if code else ""
