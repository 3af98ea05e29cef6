"""`xedge bench all`: every benchmark after the other, each as a command of its own.

One that fails, crashes or takes too long is said so, and the next one runs. What this machine lacks
is "not measured", which is no failure.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from xedge.machine import read_machine
from xedge_benchmarks.libxedge import TOOLS

GPU: Final = "GPU"
COMPILER: Final = "compiler"
MEASURED: Final = "measured"
NOT_MEASURED: Final = "not measured"
FAILED: Final = "FAILED"

QUICK_S: Final = 180.0
FULL_S: Final = 4 * 3600.0
"""What one command may take, seconds."""

_XEDGE: Final = "import sys; sys.argv[0] = 'xedge'; from xedge.cli import main; main()"
"""As the command `xedge`, which a record names, but of this interpreter and this code."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of `xedge bench`.

    Attributes:
        name: Of the step.
        full: Its arguments in a full run.
        quick: Its arguments in a quick run; None leaves it out there.
        needs: Importable modules that it cannot do without, `GPU`, or `COMPILER`.
    """

    name: str
    full: tuple[str, ...]
    quick: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()

    def args(self, *, quick: bool) -> tuple[str, ...] | None:
        """Its arguments, or None where it is left out."""
        return self.quick if quick else self.full


def _step(command: str, full: str = "", quick: str | None = None, *needs: str, name: str = ""
          ) -> Step:  # fmt: skip
    return Step(
        name=name or command,
        full=(*command.split(), *full.split()),
        quick=None if quick is None else (*command.split(), *quick.split()),
        needs=needs,
    )


STEPS: Final = (
    _step("peak", "", "--rounds 5", "torch"),
    _step("engines", "", "--rounds 20 --warmup 3"),
    _step("scenarios", "", "--queries 40 --accuracy-bags 20"),
    _step("loadgen", "", "--queries 40 --rounds 2 --streams 2", "mlperf_loadgen"),
    _step("belt", "--bags 100", "--bags 10"),
    _step("lane", "", "--quick --speed 0.5 --speed 2.5"),
    _step("growth", "", "--quick"),
    _step("accuracy", "", "--bags 20"),
    _step("buses", "--rounds 1000", "--rounds 100", "pymodbus"),
    _step("native", "", "--rounds 20", COMPILER),
    _step("speed start", "", "--rounds 3", "onnxruntime"),
    _step("contenders", "", "--quick", "torch", "onnx"),
    _step("contenders --gpu", "", "--quick", GPU, "torch"),
    _step("speed atss", "", None, "torch", "onnx"),
    _step("speed label-aware", "", None, "torch", "onnx"),
    _step("speed doam", "", None, "torch", "onnx"),
    _step("speed mechanisms", "", None, "torch", "onnx"),
    _step("algebra", "chr-resnet50 --plain backbone-resnet50", None, "torch", "onnx"),
)
"""In their order. Trainings (`xedge bench studies`) take days and are not among them."""


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: Its name.
        result: `MEASURED`, `NOT_MEASURED` or `FAILED`.
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


def run_all(
    steps: Sequence[tuple[str, Sequence[str], str]],
    run: Callable[[Sequence[str]], str],
    tell: Callable[[str], None] = lambda what: None,
) -> Iterator[Outcome]:
    """The outcome of each step, when it has one; a failing one stops nothing.

    Args:
        steps: Name, arguments, and why it cannot be measured here (empty where it can).
        run: Runs a command of `xedge bench`, and says why it failed; empty when it did not.
        tell: Told what is next.
    """
    for number, (name, args, lack) in enumerate(steps, 1):
        tell(f"[{number}/{len(steps)}] xedge bench {' '.join(args)}")
        if lack:
            yield Outcome(name, NOT_MEASURED, lack)
            continue
        began = time.monotonic()
        why = run(args)
        yield Outcome(name, FAILED if why else MEASURED, why, time.monotonic() - began)


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
