"""NVIDIA GPUs during a run, told by the driver's own tool: one ``nvidia-smi`` that runs beside.

The tool is NVML with a command line, and comes with the driver: no package is needed, and no thread
of the process that is measured. On Jetson it leaves most fields out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

TOOL: Final = "nvidia-smi"
_FIELDS: Final = (
    "index", "name", "driver_version", "pstate", "clocks.sm", "clocks.max.sm", "clocks.mem",
    "temperature.gpu", "power.draw", "power.limit", "utilization.gpu", "memory.used",
)  # fmt: skip
_REASONS: Final = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The same bits by their name since driver 535, and before."""

THROTTLING: Final[Mapping[int, str]] = {
    0x04: "power limit", 0x08: "hardware slowdown", 0x20: "heat, by software",
    0x40: "heat, by hardware", 0x80: "power brake",
}  # fmt: skip
"""Bits of the reasons that hold a busy GPU back; the others are idleness and settings (nvml.h)."""


@dataclass(frozen=True)
class Sample:
    """One GPU at one moment; None is what the tool does not tell.

    Attributes:
        gpu: Its number and name.
        driver: Version of the driver.
        performance_state: P0 is the fastest.
        sm_mhz: Clock of its cores.
        most_sm_mhz: The highest that the GPU has.
        memory_mhz: Clock of its memory.
        temperature_c: Degrees Celsius.
        watts: What it draws.
        limit_w: What it may draw.
        utilisation: Share of the last period in which something ran on it.
        memory_mib: In use, by everybody.
        reasons: Why its clock is not higher, see `THROTTLING`.
    """

    gpu: str
    driver: str
    performance_state: str | None
    sm_mhz: float | None
    most_sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    watts: float | None
    limit_w: float | None
    utilisation: float | None
    memory_mib: float | None
    reasons: int | None


@dataclass(eq=False)
class GpuLog:
    """Samples of all GPUs while a run goes on; no samples where there is no tool.

    Args:
        every_ms: Time between two of them.
    """

    every_ms: int = 1000
    _query: str = ""
    _first: str = ""
    _beside: subprocess.Popen[str] | None = None
    _lines: IO[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Take a sample of each GPU, and go on beside until `stop`."""
        for reasons in _REASONS:
            self._query = f"--query-gpu={','.join((*_FIELDS, reasons))}"
            self._first = _answer(self._query)
            if self._first:
                break
        else:
            return
        self._lines = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # until `stop`
        self._beside = subprocess.Popen(
            [TOOL, self._query, "--format=csv,noheader,nounits", f"--loop-ms={self.every_ms}"],
            stdout=self._lines, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def stop(self) -> tuple[Sample, ...]:
        """All samples, in their order; the last of each GPU is of now."""
        if self._beside is None or self._lines is None:
            return ()
        self._beside.terminate()
        self._beside.wait()
        self._lines.seek(0)
        # The tool may have been stopped within a line.
        between = self._lines.read().rpartition("\n")[0]
        self._lines.close()
        self._beside = self._lines = None
        return samples_of(f"{self._first}\n{between}\n{_answer(self._query)}")


def samples_of(text: str) -> tuple[Sample, ...]:
    """The samples in lines of the tool, one GPU a line; what is no such line is left out."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return tuple(_sample(row) for row in rows if len(row) == len(_FIELDS) + 1)


def driver_versions(root: Path = Path("/")) -> dict[str, str]:
    """The newest CUDA that the driver can run, and Jetson's L4T; what is not told is left out."""
    versions = {}
    if found := re.search(r"CUDA (?:UMD )?Version\s*:\s*([\d.]+)", _answer()):
        versions["cuda of the driver"] = found[1]
    try:
        text = (root / "etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return versions
    if found := re.search(r"# (R\d+) \(release\), REVISION: ([\d.]+)", text):
        versions["l4t"] = f"{found[1]}.{found[2]}"
    return versions


def reasons_of(bits: int) -> tuple[str, ...]:
    """What holds a GPU back, in words.

    >>> reasons_of(0x45)
    ('power limit', 'heat, by hardware')
    """
    return tuple(name for bit, name in THROTTLING.items() if bits & bit)


def _sample(row: Sequence[str]) -> Sample:
    index, name, driver, state, *numbers, reasons = row
    sm, most, memory, heat, watts, limit, busy, used = (_number(cell) for cell in numbers)
    bits = int(reasons, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", reasons) else None
    return Sample(f"{index} {name}", driver, state if state.startswith("P") else None, sm, most,
                  memory, heat, watts, limit, None if busy is None else busy / 100, used,
                  bits)  # fmt: skip


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # [N/A], [Not Supported]
        return None


def _answer(query: str = "") -> str:
    arguments = [query, "--format=csv,noheader,nounits"] if query else []
    try:
        done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=20,
                              check=True)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
