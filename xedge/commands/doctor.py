"""`xedge doctor`: what this machine has, whether the model works on it, and what to do."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import xedge
from xedge import engines
from xedge.bundle import open_bundle
from xedge.commands.bundle_options import bundle_options
from xedge.engines import Availability
from xedge.errors import BundleError, ConfigError, EngineError
from xedge.golden import verify_golden
from xedge.machine import Machine, read_machine
from xedge.native import HOW, find_libxedge

FAST_CLOCKS = frozenset({"tsc", "arch_sys_counter"})
"""Clock sources that a process reads without a system call."""

BF16 = frozenset({"AVX512-BF16", "AMX-BF16"})

GPU_ENGINES = frozenset({"onnxruntime-cuda", "tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt"})


@dataclass(frozen=True, kw_only=True)
class BundleState:
    """A bundle on the default engine.

    Attributes:
        name: Of the model; empty when there is no bundle that can be read.
        sha256: Of the bundle.
        engine: The engine that ran the self-test; empty when there is none.
        passed: True when the engine reproduced the bundle's golden answer.
        detail: What the self-test compared, or why it did not pass.
    """

    name: str = ""
    sha256: str = ""
    engine: str = ""
    passed: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The monotonic clock that latencies are taken from.

    Attributes:
        source: What the kernel reads it from; empty where it does not say.
        resolution_ns: Its step, nanoseconds.
    """

    source: str
    resolution_ns: float


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What `examine` found.

    Attributes:
        xedge: Version of this package.
        python: Version of Python.
        machine: Processor, memory, GPUs.
        clock: The clock behind every latency.
        engines: Back end to its version, or the reason why it cannot be used.
        bundle: The bundle and its self-test.
        libxedge: The library for C and C++ that was installed with it; empty when none was.
        advice: What to do, most urgent first.
    """

    xedge: str
    python: str
    machine: Machine
    clock: Clock
    engines: Mapping[str, Availability]
    bundle: BundleState
    libxedge: str
    advice: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when the bundle's model works on a default engine."""
        return self.bundle.passed

    def to_json(self) -> str:
        """Everything as indented JSON, with ``ok`` first."""
        return json.dumps({"ok": self.ok, **dataclasses.asdict(self)}, indent=2)


def examine(bundle_path: Path | None = None, public_key: bytes | None = None) -> Examination:
    """What this machine has, whether a bundle works on it, and advice; takes seconds.

    Args:
        bundle_path: The bundle to test; None takes the one that xedge ships.
        public_key: 32 raw bytes of the Ed25519 key that must have signed it.
    """
    machine, found = read_machine(), engines.available()
    bundle = check_bundle(bundle_path, default_engine(found), public_key)
    info = time.get_clock_info("monotonic")
    return Examination(
        xedge=xedge.__version__,
        python=platform.python_version(),
        machine=machine,
        clock=Clock(source=machine.clock_source, resolution_ns=info.resolution * 1e9),
        engines=found,
        bundle=bundle,
        libxedge=libxedge_here(),
        advice=advise(machine, found, bundle),
    )


def libxedge_here() -> str:
    """The library for C and C++ in this installation; empty when it is of Python alone."""
    try:
        return str(find_libxedge().library)
    except ConfigError:
        return ""


def default_engine(found: Mapping[str, Availability]) -> str:
    """The engine that ``auto`` takes here; empty when there is none."""
    return next((name for name in engines.AUTO if found[name].usable), "")


def check_bundle(
    path: Path | None, engine_name: str, public_key: bytes | None = None
) -> BundleState:
    """The bundle, and whether the named engine reproduces its golden answer.

    Args:
        path: A ``.xedge`` file; None takes the one that xedge ships.
        engine_name: Of `xedge.engines.BACK_ENDS`; empty when there is none.
        public_key: 32 raw bytes of the Ed25519 key that must have signed it.
    """
    try:
        bundle = open_bundle(path, public_key)
    except BundleError as error:
        return BundleState(engine=engine_name, detail=str(error))
    state = BundleState(name=bundle.spec.name, sha256=bundle.sha256, engine=engine_name)
    if not engine_name:
        return dataclasses.replace(state, detail="there is no engine to run it")
    try:
        with closing(engines.load(bundle.model(), engine_name)) as engine:
            result = verify_golden(bundle, engine)
    except EngineError as error:
        return dataclasses.replace(state, detail=str(error))
    detail = (
        f"{result.objects} recorded candidates found again, scores within {result.score_error:.1e}"
    )
    return dataclasses.replace(state, passed=True, detail=detail)


def advise(
    machine: Machine, found: Mapping[str, Availability], bundle: BundleState
) -> tuple[str, ...]:
    """Sentences for a person, most urgent first; empty when there is nothing to do."""
    usable = {name for name, state in found.items() if state.usable}
    advice = []
    if not usable & set(engines.AUTO):
        advice.append("No engine is installed: pip install 'xedge[cpu]'.")
    elif not bundle.passed:
        advice.append("The model does not work here: see the self-test.")
    elif "openvino" not in usable:
        advice.append(
            "OpenVINO is usually the fastest engine on CPUs: pip install 'xedge[openvino]', "
            "then compare with `xedge bench engines`."
        )
    if "openvino-bf16" in usable and BF16 & set(machine.features):
        advice.append(
            "This processor multiplies bfloat16: the engine openvino-bf16 may be faster. "
            "`xedge verify` and `xedge evaluate` say at what price."
        )
    if machine.gpus and not usable & GPU_ENGINES:
        advice.append(
            "There is an NVIDIA GPU that no engine here can use: in an environment of its own, "
            "pip install 'xedge[tensorrt]' beside JetPack's TensorRT, 'xedge[tensorrt-rtx]' for an "
            "RTX card, or 'xedge[ort-gpu]'; then run `xedge compile`."
        )
    if machine.cores == 1:
        advice.append("One core is shared by the scanner's lines and the engine: expect late bags.")
    if machine.governor and machine.governor != "performance":
        advice.append(
            f"The frequency governor is {machine.governor!r}: latencies vary with the clock. "
            "Set 'performance' on a lane."
        )
    if machine.clock_source and machine.clock_source not in FAST_CLOCKS:
        advice.append(
            f"The clock source is {machine.clock_source!r}: reading the time costs a system call."
        )
    return tuple(advice)


@click.command()
@bundle_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def doctor(
    ctx: click.Context, bundle: Path | None, public_key: bytes | None, as_json: bool
) -> None:
    """Say what this machine has, and whether the model works on it.

    Exits with 0 when a default engine reproduces the bundle's golden answer, with 1 otherwise.

    \b
    Examples:
      xedge doctor
      xedge doctor --bundle mine.xedge
      xedge doctor --json | python3 -m json.tool
    """  # noqa: D301  # click wants the character, not a backslash
    found = examine(bundle, public_key)
    if as_json:
        click.echo(found.to_json())
    else:
        _print(found)
    ctx.exit(0 if found.ok else 1)


def _print(found: Examination) -> None:
    machine, bundle = found.machine, found.bundle
    facts = {
        "xedge": f"{found.xedge}, Python {found.python}",
        "system": machine.system,
        "board": machine.board,
        "processor": f"{machine.cpu or 'unnamed'}, {machine.cores} cores to use",
        "features": " ".join(machine.features) or "none that the system names",
        "memory": f"{machine.memory_mib / 1024:.1f} GiB" if machine.memory_mib else "not told",
        "NVIDIA GPU": "\n".join(machine.gpus) or "none",
        "clock": f"{found.clock.source or 'not told'}, steps of {found.clock.resolution_ns:g} ns",
        "bundle": f"{bundle.name}, sha256 {bundle.sha256[:16]}" if bundle.name else "none",
        "self-test": f"{'passed' if bundle.passed else 'FAILED'}"
        f"{f' on {bundle.engine}' if bundle.engine else ''}: {bundle.detail}",
        "libxedge": found.libxedge or f"not in this installation ({HOW})",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    rows = Table("engine", "", "version, or why not", box=None, padding=(0, 2, 0, 0))
    for name, state in found.engines.items():
        rows.add_row(name, "yes" if state.usable else "no", state.detail)
    # A file or a pipe has no width: 80 columns would break its lines in the middle of words.
    console = Console(highlight=False, markup=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    console.print()
    console.print(rows)
    console.print()
    for sentence in found.advice or ("Nothing to do: run `xedge demo`.",):
        console.print(f"- {sentence}")
