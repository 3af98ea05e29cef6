"""`xedge bench contenders`: who else could run a model, each in a process of its own, in turn.

Each contender is loaded in its own process, so that none runs with another's memory, threads or
crashes. Then they take turns: a round asks each once, and waits until it has answered. A turn is
an untimed run, which wakes threads and caches that others took meanwhile, and a timed one; the
processes look at their own clocks, so the pipe is in no number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np

from xedge.errors import ConfigError, EngineRunError
from xedge.machine import read_machine
from xedge.provenance import installed_versions
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.child import Child, Failure, Limits, Turns, one_line, own_peak_mib
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import work_told
from xedge_benchmarks.hosts import HOSTS, chosen_hosts
from xedge_benchmarks.interleave import Contender, CpuTimes, interleave
from xedge_benchmarks.record import BenchRecord, new_record
from xedge_benchmarks.rival_graphs import make_file
from xedge_benchmarks.rivals import RIVALS, chosen_rivals
from xedge_benchmarks.shelf import Shelf
from xedge_benchmarks.two_clocks import keep_memory, rows_of_both

SETTLE_S: Final = 0.05
"""Before each turn: libraries keep their threads spinning for a while after the last."""
MOST_MEMORY: Final = 0.6
"""Of the machine's, held by all contenders of a host, before one more is loaded."""
DRAWN: Final = "weights are drawn, not trained: times say nothing about accuracy"

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SideSettings:
    """How contenders are measured.

    Attributes:
        rounds: How often each is timed.
        warmup: Untimed rounds beforehand.
        threads: Threads of one run; None for every physical core.
        gpu: Contenders that need a GPU, instead of the processor's.
        seconds: That one contender may take to be ready, or to answer.
        mib: Of memory that one process may take.
        within_s: Seconds after which no more contender of a host is loaded, and behind that half as
            many after which no more round begins; None sets no end.
    """

    rounds: int = 15
    warmup: int = 2
    threads: int | None = None
    gpu: bool = False
    seconds: float = 600.0
    mib: int = 6144
    within_s: float | None = None


QUICKLY: Final = SideSettings(rounds=5, warmup=1, seconds=60.0, mib=4096, within_s=120.0)


@dataclass(frozen=True)
class Ready:
    """What a contender says when it can run.

    Attributes:
        load_s: From nothing to a call: reading, building or compiling, without the imports.
        first_ms: The first run; what a library puts off until then is in it.
        processor_s: What its process had spent until then, imports and all.
        peak_mib: The most resident memory that its process had until then; None if not told.
        sha256: Of the file that it reads; empty without one.
        versions: Of its libraries.
    """

    load_s: float
    first_ms: float
    processor_s: float
    peak_mib: float | None
    sha256: str
    versions: Mapping[str, str]


class Run(NamedTuple):
    """What a contender's own clocks said of one run, ns.

    Attributes:
        wall_ns: That it took.
        spent_ns: Processor time that its process spent on it.
        total_ns: Processor time that its process has spent so far.
    """

    wall_ns: int
    spent_ns: int
    total_ns: int


def bench_contenders(
    hosts: Sequence[str] = (),
    rivals: Sequence[str] = (),
    settings: SideSettings = SideSettings(),
    graphs: Path | None = None,
    tell: Tell = lambda what: None,
) -> BenchRecord:
    """A record of contenders on hosts; ``results`` has an entry a host, with a row a contender.

    Args:
        hosts: Names of `HOSTS`; none for all.
        rivals: Names of `RIVALS`, compared with the first that runs; none for all.
        settings: Rounds, threads and bounds.
        graphs: Folder to keep graphs in for other runs of this commit.
        tell: Told what is done next.

    Raises:
        ConfigError: When there is no such host or contender, or a GPU is asked for without one.
    """
    names = chosen_rivals(rivals, gpu=settings.gpu)
    chosen = chosen_hosts(hosts)
    if settings.gpu and not rivals and not read_machine().gpus:
        raise ConfigError("this machine has no NVIDIA GPU that its driver shows",
                          remedy="Leave --gpu away to measure the processor")  # fmt: skip
    found: list[dict[str, Any]] = []
    models: dict[str, str] = {}
    # Around the whole lives of all processes: the system books a child's time when it has ended.
    with Watch() as watch:
        for host in chosen:
            entry, digests = _measure(host, names, settings, graphs, tell)
            found.append(entry)
            models |= digests
    return new_record(
        "contenders",
        models=models,
        settings=dataclasses.asdict(settings) | {"hosts": chosen, "contenders": names},
        results={"hosts": found},
        conditions=watch.conditions,
        notes=(DRAWN, *_cut_short(found, settings)),
    )


def _cut_short(found: Sequence[Mapping[str, Any]], settings: SideSettings) -> Iterator[str]:
    for entry in found:
        rounds = Budget(settings.within_s).stopped("rounds", entry["rounds"], settings.rounds)
        left_out = sum(row.get("failed", "").startswith("no time") for row in entry["rows"])
        yield from (f"{entry['host']}: {note}" for note in rounds if entry["rounds"])
        if left_out:
            yield f"{entry['host']}: {left_out} contenders left out, for which no time was left"


def _measure(
    host: str, names: Sequence[str], settings: SideSettings, graphs: Path | None, tell: Tell
) -> tuple[dict[str, Any], dict[str, str]]:
    """One host's entry, and digests of the files that were read."""
    model = HOSTS[host]
    wanted = [n for n in names if model.label_aware or not RIVALS[n].only_label_aware]
    limits = Limits(seconds=settings.seconds, mib=settings.mib)
    most = int(read_machine().memory_mib * MOST_MEMORY) or settings.mib
    budget = Budget(settings.within_s)
    failed: dict[str, str] = {}
    ready: dict[str, Ready] = {}
    turns: dict[str, Turns] = {}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        forms = tuple(dict.fromkeys(RIVALS[name].form for name in wanted if RIVALS[name].form))
        files = _files(host, forms, graphs, Path(folder), limits, tell)
        works = {form: work_told(Path(file).read_bytes()) for form, file in files.items()
                 if isinstance(file, str) and file.endswith(".onnx")}  # fmt: skip
        for name in wanted:
            tell(f"{host}: loading {name}")
            file = files.get(RIVALS[name].form, "")
            if isinstance(file, Failure):
                failed[name] = f"its graph was not made: {file.why}"
                continue
            if budget.over():
                failed[name] = budget.no_time
                continue
            held = sum(turn.child.mib for turn in turns.values())
            if held > most:
                failed[name] = f"the others hold {held} MiB of memory already"
                continue
            child = Child(serve, (host, name, file, settings.threads), limits)
            stack.enter_context(closing(child))
            try:
                ready[name] = child.hear()
                turns[name] = Turns(child, settle_s=SETTLE_S)
            except EngineRunError as error:
                failed[name] = error.what
        tell(f"{host}: {settings.rounds} rounds of {len(turns)} contenders")
        foreign = _take_turns(turns, ready, settings)
    failed |= {name: turn.why for name, turn in turns.items() if turn.why}
    rows = _rows({n: t for n, t in turns.items() if not t.why}, ready, settings.warmup)
    rows += [_what(name) | {"failed": failed[name]} for name in wanted if name in failed]
    entry = {
        "host": host,
        "title": model.title,
        "recipe": model.recipe,
        "changes": list(model.changes),
        "weights": "shipped in our graphs, drawn in PyTorch" if model.shipped else "drawn",
        "foreign_cores": foreign,
        "rounds": min((row["rounds"] for row in rows if "rounds" in row), default=0),
        "work": works,
        "rows": rows,
    }
    return entry, {f"{host}, {n}": r.sha256 for n, r in ready.items() if r.sha256}


def _take_turns(
    turns: Mapping[str, Turns], ready: Mapping[str, Ready], settings: SideSettings
) -> float | None:
    """Cores that others kept busy while all contenders took their turns; None if not told."""
    if not turns:
        return None
    before = CpuTimes.now()
    budget = Budget(settings.within_s and settings.within_s / 2)
    interleave([Contender(name, turn) for name, turn in turns.items()],
               rounds=settings.rounds, warmup=settings.warmup,
               enough=budget.over)  # fmt: skip
    after = CpuTimes.now()
    # These children have not ended yet.
    spent = sum(turn.answers[-1].total_ns / 1e9 - ready[name].processor_s
                for name, turn in turns.items() if turn.answers)  # fmt: skip
    foreign = before.foreign_cores(dataclasses.replace(after, own_s=after.own_s + spent))
    return None if math.isnan(foreign) else foreign


def _rows(
    turns: Mapping[str, Turns], ready: Mapping[str, Ready], warmup: int
) -> list[dict[str, Any]]:
    if not turns:
        return []
    samples, spent = (
        np.array([[getattr(run, name) for run in turn.answers[warmup:]] for turn in turns.values()],
                 np.int64).T
        for name in ("wall_ns", "spent_ns")
    )  # fmt: skip
    rows = rows_of_both(list(turns), [""] * len(turns), samples, spent)
    return [
        _what(row.pop("name"))
        | row
        | {k: v for k, v in dataclasses.asdict(ready[name]).items() if k != "sha256"}
        for name, row in zip(turns, rows, strict=True)
    ]


def _what(name: str) -> dict[str, Any]:
    rival = RIVALS[name]
    return {"contender": name, "title": rival.title, "ours": rival.ours, "form": rival.form}


def _files(
    host: str, forms: Sequence[str], graphs: Path | None, folder: Path, limits: Limits, tell: Tell
) -> dict[str, str | Failure]:
    """The file of each form, or why there is none; a process that is killed makes no more."""
    found: dict[str, str | Failure] = {"": ""}
    child: Child | None = None
    with ExitStack() as stack:
        for form in forms:
            tell(f"{host}: making {form}")
            if child is None:
                child = Child(make_files, (host, graphs, folder), limits)
                stack.enter_context(closing(child))
            try:
                found[form] = child.ask(form)
            except EngineRunError as error:
                found[form] = Failure(error.what)
                child = child if child.alive else None
    return found


def make_files(pipe: Connection, host: str, graphs: Path | None, folder: Path) -> None:
    """Make the file of each form that a parent asks for; runs in a `Child`."""
    shelf = Shelf(graphs)
    while True:
        form = pipe.recv()
        try:
            pipe.send(str(make_file(host, form, shelf, folder)))
        except Exception as error:
            pipe.send(Failure(one_line(error)))


def serve(pipe: Connection, host: str, name: str, file: str, threads: int | None) -> None:
    """Load a contender, then run it whenever a parent asks; runs in a `Child`."""
    keep_memory()
    rival = RIVALS[name]
    begin = time.perf_counter()
    run = rival.load(host, Path(file) if file else None, threads)
    loaded = time.perf_counter()
    run()
    first_ms = (time.perf_counter() - loaded) * 1e3
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    versions = installed_versions(rival.libraries)
    spent, peak = time.process_time(), own_peak_mib()
    pipe.send(Ready(loaded - begin, first_ms, spent, peak, digest, versions))
    while True:
        pipe.recv()
        run()
        wall, spent = time.perf_counter_ns(), time.process_time_ns()
        run()
        wall, spent = time.perf_counter_ns() - wall, time.process_time_ns() - spent
        pipe.send(Run(wall, spent, time.process_time_ns()))
