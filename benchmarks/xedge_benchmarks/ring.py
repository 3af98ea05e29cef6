"""`xedge bench ring`: lines through shared memory, by the clock of one machine; either side killed.

The writer is ``cmake/examples/ring_writer.c``, built here: it writes a line when it is due, whether
anybody reads or not. The reader is the lane's own, in a process of its own that does nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError, RingError
from xedge.scanner.ringsource import RingSource
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.percentiles import percentiles
from xedge_benchmarks.record import BenchRecord, checkout, new_record

GOAL_P99_MS: Final = 3.0
WARM_UP_S: Final = 0.5
"""Lines of the first moments have no part in the latencies; what is lost counts from the first."""
OUTAGE_S: Final = 0.5
"""For so long a killed side is away; the reader once for more, so that lines are overwritten."""
PATIENCE_S: Final = 60.0
_ROW: Final = struct.Struct("<qqqq")
_WRITTEN_AT: Final = 256
_SHARED_MEMORY: Final = Path("/dev/shm")

Rows = npt.NDArray[np.int64]
"""A row a strip: its first line, lines, when its last one was due, and when it was read, ns."""


@dataclass(frozen=True, kw_only=True)
class RingSettings:
    """What is measured.

    Attributes:
        rate: Lines a second.
        seconds: Of the undisturbed run.
        kill_s: After so long a side is killed, and for so long the run goes on after its return.
    """

    rate: int = 10_000
    seconds: float = 30.0
    kill_s: float = 2.0


def bench_ring(
    settings: RingSettings = RingSettings(), step: Callable[[str], None] = lambda name: None
) -> BenchRecord:
    """A record of an undisturbed run, and of three in which a side is killed.

    Args:
        settings: How many lines, and for how long.
        step: Told the name of each run before it begins.

    Raises:
        ConfigError: When there is no compiler, or no checkout with the writer's source.
        RingError: When the ring cannot be made or read here, or a side ends by itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        writer = build_writer(Path(folder))
        with Watch() as watch, _ring(writer) as path:
            with closing(RingSource(path)) as source:
                capacity, elements = source.header.capacity, source.elements
            bench = _Bench(writer, path, Path(folder), settings)
            step("undisturbed")
            undisturbed = bench.undisturbed()
            kills = []
            full_s = capacity / settings.rate
            for name, run, away_s in (
                ("reader killed, back before the ring is full", bench.reader_killed, OUTAGE_S),
                ("reader killed, back when the ring is full", bench.reader_killed,
                 full_s + OUTAGE_S),
                ("writer killed", bench.writer_killed, OUTAGE_S),
            ):  # fmt: skip
                step(name)
                kills.append({"name": name, **run(away_s)})
    goal = {"p99_ms": GOAL_P99_MS, "met": _met(undisturbed)}
    return new_record(
        "ring",
        models={},
        settings=dataclasses.asdict(settings) | {"warm_up_s": WARM_UP_S, "outage_s": OUTAGE_S},
        results={"elements": elements, "capacity": capacity, "undisturbed": undisturbed,
                 "kills": kills, "goal": goal},
        conditions=watch.conditions,
    )  # fmt: skip


def build_writer(folder: Path) -> Path:
    """The writer, built in ``folder`` of the checkout's sources.

    Raises:
        ConfigError: When this is no checkout, or there is no compiler, or it fails.
    """
    root = checkout()
    if root is None:
        raise ConfigError(
            "the ring's writer cannot be built", expected="its source, in a checkout",
            found="an installation without one",
            remedy="Install the checkout with pip install -e ., and run it again",
        )  # fmt: skip
    if (compiler := shutil.which("cc")) is None:
        raise ConfigError("the ring's writer cannot be built", expected="a C compiler",
                          found="no cc", remedy="On Debian: apt-get install gcc")  # fmt: skip
    source, program = root / "cmake" / "examples" / "ring_writer.c", folder / "ring_writer"
    done = subprocess.run(
        [compiler, "-std=c99", "-O2", f"-I{root / 'cmake' / 'include'}", source, "-o", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ConfigError("the ring's writer cannot be built", found=done.stderr[-400:])
    return program


@contextmanager
def _ring(writer: Path) -> Iterator[Path]:
    """A new ring, that nobody holds; it is gone in the end."""
    folder = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else writer.parent
    path = folder / f"xedge-bench-ring-{os.getpid()}"
    try:
        done = subprocess.run([writer, path, "0"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RingError("a ring cannot be made", found=done.stderr.strip())
        yield path
    finally:
        path.unlink(missing_ok=True)


class _Reader:
    """The lane's reader in a process of its own, that writes down what came, strip by strip."""

    def __init__(self, path: Path, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_read, args=(theirs, str(path), str(log)))
        self._process.start()
        theirs.close()
        self._log = log
        self.heard()  # it has imported what it needs

    def open(self) -> None:
        """Let it open the ring, and wait until it has."""
        self._pipe.send("open")
        self.heard()

    def heard(self) -> Any:
        """What it says next."""
        with contextlib.suppress(EOFError):
            if self._pipe.poll(PATIENCE_S):
                return self._pipe.recv()
        raise RingError("the reader of the ring ended by itself, or says nothing",
                        expected=f"an answer within {PATIENCE_S:.0f} s")  # fmt: skip

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def rows(self) -> Rows:
        """What came; the last row of one that was killed may be cut, and is left out."""
        data = self._log.read_bytes()
        return np.frombuffer(data[: len(data) // _ROW.size * _ROW.size], "<i8").reshape(-1, 4)


def _read(pipe: Connection, path: str, log: str) -> None:
    """The reader's process: what it says is nothing, nothing again, and what it found."""
    pipe.send(None)
    pipe.recv()
    with closing(RingSource(path)) as source, Path(log).open("wb", buffering=0) as file:
        pipe.send(None)
        began, busy = time.monotonic(), time.process_time()
        for strip in source:
            file.write(_ROW.pack(strip.first_line, len(strip), strip.captured_ns,
                                 time.monotonic_ns()))  # fmt: skip
        share = (time.process_time() - busy) / (time.monotonic() - began)
        pipe.send({"lost": source.lost, "core": share})


class _Bench:
    """One ring, its writer, and runs over it, each with a reader of its own."""

    def __init__(self, writer: Path, path: Path, folder: Path, settings: RingSettings) -> None:
        self._program, self._path, self._folder = writer, path, folder
        self._settings = settings
        self._readers = 0

    def undisturbed(self) -> dict[str, Any]:
        """What came of a run, and how late."""
        rate, seconds = self._settings.rate, self._settings.seconds
        reader, before = self._reader(), self._written()
        reader.open()
        began = time.monotonic()
        with self._writer(seconds) as writer:
            core = _ended(writer) / (time.monotonic() - began)
        said = reader.heard()
        rows = reader.rows()
        reader.kill()
        return {
            **self._counts(rows, before, said["lost"]),
            **latencies_ms(rows, rate),
            "reader_core": said["core"],
            "writer_core": core,
        }

    def reader_killed(self, away_s: float) -> dict[str, Any]:
        """What came of a run whose reader is killed, and another one comes."""
        kill_s, before = self._settings.kill_s, self._written()
        first, second = self._reader(), self._reader()
        first.open()
        with self._writer(2 * kill_s + away_s) as writer:
            time.sleep(kill_s)
            first.kill()
            time.sleep(away_s)
            second.open()
            _ended(writer)
        lost = second.heard()["lost"]
        rows = np.concatenate([first.rows(), second.rows()])
        second.kill()
        return {"away_s": away_s, **self._counts(rows, before, lost)}

    def writer_killed(self, away_s: float) -> dict[str, Any]:
        """What came of a run whose writer is killed, and another one comes."""
        kill_s, before = self._settings.kill_s, self._written()
        reader = self._reader()
        reader.open()
        with self._writer(kill_s + PATIENCE_S):
            time.sleep(kill_s)  # the end of the block kills it
        time.sleep(away_s)
        with self._writer(kill_s) as writer:
            _ended(writer)
        lost = reader.heard()["lost"]
        rows = reader.rows()
        reader.kill()
        return {"away_s": away_s, **self._counts(rows, before, lost)}

    def _reader(self) -> _Reader:
        self._readers += 1
        log = self._folder / f"{self._readers}.log"
        log.touch()
        return _Reader(self._path, log)

    @contextmanager
    def _writer(self, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        """A writer of so many lines; it is killed where it has not ended."""
        rate = self._settings.rate
        writer = subprocess.Popen([self._program, self._path, f"{seconds * rate:.0f}", f"{rate}"])
        try:
            yield writer
        finally:
            writer.kill()
            writer.wait()

    def _written(self) -> int:
        with self._path.open("rb") as file:
            file.seek(_WRITTEN_AT)
            return int.from_bytes(file.read(8), "little")

    def _counts(self, rows: Rows, before: int, lost: int) -> dict[str, Any]:
        """Where the lines went: each was read, overwritten, or died with the reader that had it."""
        written, read = self._written() - before, int(rows[:, 1].sum())
        return {
            "written": written,
            "read": read,
            "lost": lost,
            "gone_with_reader": written - read - lost,
            # The belt that nobody saw, by the times at which lines were due.
            "longest_silence_s": float(np.diff(rows[:, 2]).max(initial=0)) / 1e9,
            "gaps": int(np.count_nonzero(rows[1:, 0] != rows[:-1, 0] + rows[:-1, 1])),
        }


def _ended(writer: subprocess.Popen[bytes]) -> float:
    """Processor seconds that a writer took, which has ended by itself.

    Raises:
        RingError: When it failed.
    """
    _, status, usage = os.wait4(writer.pid, 0)
    writer.returncode = os.waitstatus_to_exitcode(status)
    if writer.returncode:
        raise RingError("the writer of the ring failed", found=f"exit {writer.returncode}")
    return usage.ru_utime + usage.ru_stime


def latencies_ms(rows: Rows, rate: int) -> dict[str, dict[str, Any]]:
    """From when a line was due until its strip was read: of every line, and of strips' last ones.

    Args:
        rows: int64 ``[strips, 4]``, see `Rows`; those of the first `WARM_UP_S` have no part.
        rate: Lines a second, by which lines before the last one of a strip were due earlier.
    """
    kept = rows[rows[:, 2] >= rows[0, 2] + int(WARM_UP_S * 1e9)]
    last = kept[:, 3] - kept[:, 2]
    behind = np.concatenate([np.arange(n)[::-1] for n in kept[:, 1]]) if len(kept) else kept[:, 0]
    every = np.repeat(last, kept[:, 1]) + behind * 1_000_000_000 // rate
    of_lines = percentiles(every)
    del of_lines["interval_95"]  # lines of a strip come together: it would be far too narrow
    return {"line_ms": of_lines, "last_line_ms": percentiles(last)}


def _met(run: dict[str, Any]) -> bool:
    p99 = run["line_ms"]["p99"]  # None where too few lines bound it
    in_time = p99 is not None and p99 < GOAL_P99_MS
    return run["read"] == run["written"] and not run["gaps"] and in_time
