"""What share of the machine's measured peak each row of a record reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge.engines.deploy import ARITHMETIC
from xedge_benchmarks.record import Json
from xedge_benchmarks.stored import Stored
from xedge_benchmarks.work import Peak, Share, Work, share

MEMORY: Final = "memory"
"""In the place of an arithmetic: bytes through memory."""
_ON_GPU: Final = (
    "cuda",
    "tensorrt",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
    "plain-export-cuda",
)
_IN_PYTORCH: Final[Mapping[str, str]] = {
    "torch": "float32", "torch-compile": "float32", "torch-bf16": "bfloat16",
    "torch-eager": "float32", "cuda": "float32", "cuda-tf32": "tf32", "cuda-graphs-tf32": "tf32",
    "cuda-fp16": "float16", "cuda-graphs-fp16": "float16",
}  # fmt: skip
"""Contender in PyTorch to its arithmetic: it does the work of the float32 graph."""
_FLOAT_FORMS: Final = ("fp32", "plain")


@dataclass(frozen=True)
class Reached:
    """A row of a record held against the peak.

    Attributes:
        label: What the row is.
        seconds: What one run took, in the median.
        work: What it did.
        share: Of the peak.
    """

    label: str
    seconds: float
    work: Work
    share: Share

    @property
    def text(self) -> str:
        """Both shares for a table."""
        return shares_text(self.share)


def shares_text(found: Share) -> str:
    """Shares in percent; a dash where the peak was not measured.

    >>> shares_text(Share(0.314, None))
    '31 % / -'
    """
    parts = (found.arithmetic, found.bandwidth)
    return " / ".join("-" if part is None else f"{part:.0%}".replace("%", " %") for part in parts)


def peak_of(results: Mapping[str, Any], *, gpu: bool, threads: int | None) -> Peak:
    """The peak of a device in the results of a record of `xedge_benchmarks.peak`.

    Args:
        results: Of the record.
        gpu: The GPU, whatever the threads; otherwise the processor.
        threads: Threads of the run that is held against it; None for every physical core.
    """
    rows = [row for row in results["rows"] if (row["device"] != "cpu") == gpu]
    count = threads or max((row["threads"] for row in rows), default=0)
    best = {
        kind: row["best"] * 1e9
        for (_, ran, kind), row in best_rows(rows).items()
        if gpu or ran == count
    }
    bandwidth = best.pop(MEMORY, None)
    return Peak(best, bandwidth)


def best_rows(rows: Sequence[Json]) -> dict[tuple[str, int, str], Json]:
    """The best row of each device, number of threads and arithmetic."""
    best: dict[tuple[str, int, str], Json] = {}
    for row in rows:
        key = (row["device"], row["threads"], row["arithmetic"])
        if key not in best or row["best"] > best[key]["best"]:
            best[key] = row
    return best


def peaks_in(folder: Path) -> Json | None:
    """The rows of all records of peaks in a machine's folder, as of one; None without any."""
    return together(Stored.read(path).content["results"] for path in folder.glob("*-peak-*.json"))


def together(results: Iterable[Json]) -> Json | None:
    """The rows of several records of peaks as of one: a machine's peak is the highest ever seen.

    A busy machine shows less than it can, never more.
    """
    rows = [row for one in results for row in one["rows"]]
    return {"rows": rows} if rows else None


def reached(content: Mapping[str, Any], peaks: Mapping[str, Any]) -> list[Reached]:
    """The rows of a record whose work was counted, against a machine's peaks.

    Of a graph in float32 on a GPU nothing is said: whether an engine takes TF32 there is not told.

    Args:
        content: A record.
        peaks: Results of `xedge_benchmarks.peak` on the same machine.
    """
    found = []
    for label, name, milliseconds, told, threads in _rows(content):
        gpu = name.startswith(_ON_GPU)
        work = Work(told["operations"], told["bytes"])
        lowered = _IN_PYTORCH.get(name) or ARITHMETIC.get(name.partition(":")[0])
        if lowered:
            work = work.in_arithmetic(lowered)
        peak = peak_of(peaks, gpu=gpu, threads=threads)
        if gpu and name not in _IN_PYTORCH:
            known = {k: v for k, v in peak.operations_s.items() if k != "float32"}
            peak = Peak(known, peak.bytes_s)
        seconds = milliseconds / 1e3
        found.append(Reached(label, seconds, work, share(work, seconds, peak)))
    return found


def _rows(content: Mapping[str, Any]) -> Iterator[tuple[str, str, float, Json, int | None]]:
    """Label, engine or contender, milliseconds, work and threads of each row that has a work."""
    results, threads = content["results"], content["settings"].get("threads")
    kind = content["benchmark"]
    if kind == "engines" and results.get("work"):
        for row in results["engines"]:
            yield row["name"], row["name"], row["median_ms"], results["work"], threads
    elif kind.startswith("speed-") and "work" in results:
        for row in results["rows"]:
            if told := results["work"].get(row["name"]):
                yield row["name"], row["engine"], row["median_ms"], told, threads
    elif kind == "scenarios" and results.get("work"):
        for row in results["rows"]:
            # The engine's own time: what is before and behind it is no part of the graph.
            if middle := row["stages_ms"].get("infer", {}).get("p50"):
                label = f"{row['engine']}, {row['scenario']}"
                yield label, row["engine"], middle, results["work"], threads
    elif kind == "contenders":
        for host in results["hosts"]:
            works = host.get("work", {})
            for row in host["rows"]:
                forms = _FLOAT_FORMS if row["contender"] in _IN_PYTORCH else (row["form"],)
                told = next((works[form] for form in forms if works.get(form)), None)
                if told and "median_ms" in row:
                    label = f"{host['host']}: {row['title']}"
                    yield label, row["contender"], row["median_ms"], told, threads
