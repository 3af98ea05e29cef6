"""What this machine is: the stamp of every measurement, and what `xedge doctor` reads."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CPU_FEATURES: Final[tuple[tuple[str, str], ...]] = (
    # x86: the kernel's flag, and the name people use
    ("avx2", "AVX2"),
    ("avx512f", "AVX512"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512_vnni", "AVX512-VNNI"),
    ("avx512_bf16", "AVX512-BF16"),
    ("avx512_fp16", "AVX512-FP16"),
    ("amx_bf16", "AMX-BF16"),
    ("amx_int8", "AMX-INT8"),
    # Arm
    ("asimd", "NEON"),
    ("asimddp", "DOTPROD"),
    ("i8mm", "I8MM"),
    ("bf16", "BF16"),
    ("sve", "SVE"),
)
"""Flags of /proc/cpuinfo that change how fast a network runs."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a measurement was made on; empty strings where this system does not say.

    Attributes:
        system: Kernel, its release and the processor family, as ``Linux 6.1.0 x86_64``.
        board: Name of the board where a device tree gives one (Jetson and other Arm boards).
        cpu: Model name of the processor.
        cores: Logical cores that this process may use.
        features: Names from `CPU_FEATURES` that the processor has.
        memory_mib: Physical memory, mebibytes.
        governor: Frequency governor of the first core.
        clock_source: What the kernel reads the time from.
        gpus: One line a GPU: name, driver version, memory.
    """

    system: str
    board: str
    cpu: str
    cores: int
    features: tuple[str, ...]
    memory_mib: int
    governor: str
    clock_source: str
    gpus: tuple[str, ...]

    @property
    def slug(self) -> str:
        """A folder name for measurements: board or processor, cores, GPU if any."""
        gpu = self.gpus[0].partition(",")[0] if self.gpus else ""
        words = f"{self.board or self.cpu or self.system} {self.cores} cores {gpu}".lower()
        words = re.sub(r"\((r|tm|c)\)", "", words)
        return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def read_machine(root: Path = Path("/")) -> Machine:
    """The machine that runs this, as its kernel and NVIDIA's driver describe it.

    Args:
        root: Where ``proc`` and ``sys`` are; another folder for a copy of another machine's.
    """
    cpuinfo = _text(root / "proc/cpuinfo")
    meminfo = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    flags = set(_field(cpuinfo, "flags", "Features").split())
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        board=_text(root / "proc/device-tree/model").rstrip("\0").strip(),
        cpu=_field(cpuinfo, "model name", "Hardware") or platform.processor(),
        cores=_usable_cores(),
        features=tuple(name for flag, name in CPU_FEATURES if flag in flags),
        memory_mib=int(meminfo[1]) // 1024 if meminfo else 0,
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        clock_source=_text(
            root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ).strip(),
        gpus=_gpus(root),
    )


def _text(path: Path) -> str:
    """Text of a file of the kernel; empty where this system has none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def resident_bytes(pid: int) -> int | None:
    """Bytes of physical memory that a process holds; None where the system does not say."""
    pages = _text(Path(f"/proc/{pid}/statm")).split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None


def _field(cpuinfo: str, *names: str) -> str:
    for name in names:
        if found := re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo, re.MULTILINE):
            return found[1].strip()
    return ""


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # less than all of them under taskset or a cpuset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus(root: Path) -> tuple[str, ...]:
    """NVIDIA's own words, from its tool or else, as on some containers, from its driver's files."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return tuple(line.strip() for line in answer.stdout.splitlines() if line.strip())
    except (OSError, subprocess.SubprocessError):
        pass
    version = re.search(r"Module\s+([\d.]+)", _text(root / "proc/driver/nvidia/version"))
    driver = f", driver {version[1]}" if version else ""
    cards = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_field(_text(card), "Model") + driver for card in cards)
