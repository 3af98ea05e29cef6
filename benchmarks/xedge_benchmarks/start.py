"""`xedge bench speed start`: importing xedge, starting a detector, and what is installed for it.

Each start is a process of its own, from `python` to a detector that is ready; its processor time
is what a quiet machine needs on one thread. What Python does at its exit is not counted, and
modules are compiled before, as pip does it.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

import xedge
from xedge import engines
from xedge.errors import ConfigError
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.record import BenchRecord, new_record

MEGABYTE: Final = 1e6
_READY = "; import time; print(time.perf_counter(), time.process_time())"
_IMPORT = "import time; print(time.perf_counter()); import xedge" + _READY
_START = "from xedge.detector import open_detector; d = open_detector(engine={engine!r})" + _READY


def bench_start(rounds: int) -> BenchRecord:
    """A record of imports, starts from the cache, and megabytes on disk.

    Args:
        rounds: Processes of each kind; they take turns.

    Raises:
        ConfigError: When a process fails.
    """
    names = [n for n in ("onnxruntime", "openvino") if engines.available()[n].usable]
    scripts = {"import xedge": _IMPORT, "python alone": "pass" + _READY}
    scripts |= {f"start, {name}": _START.format(engine=name) for name in names}
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in scripts}
    with tempfile.TemporaryDirectory() as compiled:
        for script in scripts.values():  # the first start fills both caches
            _process(script, compiled)
        with Watch() as watch:
            for _ in range(rounds):
                for name, script in scripts.items():
                    seen[name].append(_process(script, compiled))
    rows = [_row("import xedge, inside Python", [s[0] for s in seen["import xedge"]], "s")]
    for name, samples in seen.items():
        rows.append(_row(f"{name}, on the clock", [s[1] for s in samples], "s"))
        rows.append(_row(f"{name}, processor", [s[2] for s in samples], "s"))
    rows += [_row(f"installed: {name}", [size], "MB") for name, size in _installed("ort").items()]
    return new_record(
        "speed-start",
        models={},
        settings={"rounds": rounds},
        results={"rows": rows},
        conditions=watch.conditions,
    )


def _row(name: str, samples: list[float], unit: str) -> dict[str, Any]:
    return {"name": name, "unit": unit, "samples": len(samples),
            "median": float(np.median(samples)), "least": min(samples)}  # fmt: skip


def _process(script: str, compiled: str) -> tuple[float, float, float]:
    """Seconds between a script's two looks at the clock; on the clock and of processor until ready.

    Args:
        script: Prints one or two times of the clock, and its processor time.
        compiled: Folder of compiled modules.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = compiled
    begin = time.perf_counter()  # the same clock in every process
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise ConfigError("a start failed", found=last[0], remedy="Run: xedge doctor")
    *looks, spent = map(float, done.stdout.split())
    return looks[-1] - looks[0], looks[-1] - begin, spent


def _installed(extra: str) -> dict[str, float]:
    """Megabytes of every distribution that ``xedge[extra]`` needs, and of xedge itself."""
    sizes = {"xedge": _folder_mb(Path(xedge.__file__).parent.rglob("*"))}
    open_ones = _needs("xedge", extra)
    while open_ones:
        name = open_ones.pop()
        if name in sizes:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes[name] = _folder_mb(Path(str(found.locate_file(f))) for f in found.files or ())
        open_ones |= _needs(name, "")
    return sizes | {"together": sum(sizes.values())}


def _needs(name: str, extra: str) -> set[str]:
    """Names of what a distribution requires; markers of another Python or system are not read."""
    wanted = set()
    for text in importlib.metadata.requires(name) or ():
        requirement, _, marker = text.partition(";")
        asked = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if asked is None or asked.group(1) == extra:
            wanted.add(re.split(r"[\s\[<>=!~(]", requirement.strip())[0].lower())
    return wanted


def _folder_mb(files: Iterable[Path]) -> float:
    return sum(f.stat().st_size for f in files if f.is_file()) / MEGABYTE
