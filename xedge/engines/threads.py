"""How many threads an engine should use on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores(root: Path = Path("/")) -> int:
    """Physical cores that this process may use, at least 1.

    Two hardware threads of one core share its multipliers, so a second thread on it gains a
    convolution nothing. Where the kernel does not tell siblings, logical cores are counted.

    Args:
        root: Where ``sys`` is; another folder for a copy of another machine's.
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cpus is None:
        return os.cpu_count() or 1
    cores = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            cores.add(topology.read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return max(len(cores), 1)


def lane_threads() -> int:
    """Threads of an engine beside a running belt: all physical cores but one, at least 1.

    The core that is left takes the detector's lines; without it one busy core multiplies the
    median latency of an engine (1.6 times was measured for OpenVINO on two cores).
    """
    return max(physical_cores() - 1, 1)
