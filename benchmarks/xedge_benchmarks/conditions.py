"""The state of the machine while something was measured: clocks, heat, throttling, power, others.

`xedge.machine` says what the machine is; this says how it was. What a system does not tell is None
or empty, and never guessed: a virtual machine shows neither its clocks nor whether they dropped.
"""

from __future__ import annotations

import itertools
import math
import statistics
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from xedge_benchmarks.interleave import CpuTimes, foreign_load_note
from xedge_benchmarks.nvidia import GpuLog, Sample, reasons_of
from xedge_benchmarks.sensors import QUOTA, Reading, governors, niceness, power_mode, read_sensors

EVERY_S: Final = 1.0
STOLEN: Final = 0.02
"""Cores that a hypervisor gave to others, above which a note says so."""


@dataclass(frozen=True)
class Span:
    """A quantity over the samples of a run."""

    least: float
    mean: float
    greatest: float

    @staticmethod
    def of(values: Iterable[float | None]) -> Span | None:
        """The span of those that were told; None when none was."""
        told = [value for value in values if value is not None]
        return Span(min(told), statistics.fmean(told), max(told)) if told else None


@dataclass(frozen=True, kw_only=True)
class ClockSeen:
    """A clock domain: what it may be, and what it was.

    Attributes:
        allowed_mhz: Lowest and highest frequency that the settings allow.
        locked: Both are the same, as after jetson_clocks.
        seen_mhz: What it was; None where that is not told.
    """

    allowed_mhz: tuple[float, float]
    locked: bool
    seen_mhz: Span | None


@dataclass(frozen=True, kw_only=True)
class GpuSeen:
    """A GPU over a run; see `xedge_benchmarks.nvidia.Sample`.

    Attributes:
        name: Number and name.
        driver: Version of the driver.
        samples: How often it was looked at.
        performance_states: All that were seen.
        sm_mhz: Clock of its cores.
        most_sm_mhz: The highest that it has.
        memory_mhz: Clock of its memory.
        temperature_c: Degrees Celsius.
        watts: What it drew.
        limit_w: What it may draw.
        utilisation: Share of the time in which something ran on it.
        memory_mib: In use, by everybody.
    """

    name: str
    driver: str
    samples: int
    performance_states: tuple[str, ...]
    sm_mhz: Span | None
    most_sm_mhz: float | None
    memory_mhz: Span | None
    temperature_c: Span | None
    watts: Span | None
    limit_w: float | None
    utilisation: Span | None
    memory_mib: Span | None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How the machine was during a run.

    Attributes:
        seconds: How long was watched.
        samples: How often the kernel's files were read.
        foreign_cores: Cores that other processes kept busy; None where that is not told.
        niceness: Priority of this process among others: below 0 it went before them.
        stolen_cores: Cores that a hypervisor gave to other machines; None where that is not told.
        governors: Frequency governors of the cores.
        power_mode: Such as ``nvpmodel MAXN``; None without one.
        clocks: Clock domain to its setting and frequency.
        temperatures_c: Thermal zone to degrees Celsius.
        throttled: What held clocks back; empty when nothing did, None where that is not told.
        watts: Rail, GPU or energy counter to power.
        gpus: NVIDIA's GPUs.
        changed: Settings that were not the same at the end.
    """

    seconds: float
    samples: int
    foreign_cores: float | None
    niceness: int
    stolen_cores: float | None
    governors: tuple[str, ...]
    power_mode: str | None
    clocks: Mapping[str, ClockSeen]
    temperatures_c: Mapping[str, Span]
    throttled: tuple[str, ...] | None
    watts: Mapping[str, Span]
    gpus: tuple[GpuSeen, ...]
    changed: tuple[str, ...]

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the run, a sentence each."""
        foreign = math.nan if self.foreign_cores is None else self.foreign_cores
        notes = [*foreign_load_note(foreign)]
        if self.niceness < 0:
            notes.append(f"this process went before others (niceness {self.niceness})")
        if (self.stolen_cores or 0.0) > STOLEN:
            notes.append(f"the hypervisor gave {self.stolen_cores:.2f} cores to others meanwhile")
        if self.throttled:
            notes.append(f"THE MACHINE THROTTLED: {'; '.join(self.throttled)}")
        notes += [f"{what} changed during the run" for what in self.changed]
        return tuple(notes)


class Watch:
    """Looks at the machine until a ``with`` statement ends; `conditions` then says how it was.

    Args:
        root: Where ``sys`` and ``proc`` are; another folder for a copy of another machine's.
        every_s: Time between two looks.
    """

    def __init__(self, root: Path = Path("/"), every_s: float = EVERY_S) -> None:
        self._root, self._every_s = root, every_s
        self._gpu_log = GpuLog(round(every_s * 1000))
        self._readings: list[Reading] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="xedge-watch", daemon=True)
        self._found: Conditions | None = None

    def __enter__(self) -> Watch:
        self._governors, self._mode = governors(self._root), power_mode(self._root)
        self._gpu_log.start()
        self._readings.append(read_sensors(self._root))
        self._thread.start()
        self._began = CpuTimes.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        ended = CpuTimes.now()
        self._over.set()
        self._thread.join()
        self._readings.append(read_sensors(self._root))
        gpus = self._gpu_log.stop()
        seconds = ended.wall_s - self._began.wall_s
        foreign = self._began.foreign_cores(ended)
        first, last = self._readings[0].stolen_s, self._readings[-1].stolen_s
        self._found = Conditions(
            seconds=seconds,
            samples=len(self._readings),
            foreign_cores=None if math.isnan(foreign) else foreign,
            niceness=niceness(self._root),
            stolen_cores=None if first is None or last is None else (last - first) / seconds,
            governors=self._governors,
            power_mode=self._mode,
            clocks=_clocks(self._readings),
            temperatures_c=_spans([r.temperatures_c for r in self._readings]),
            throttled=_throttling(self._readings, gpus),
            watts=_watts(self._readings, gpus, seconds),
            gpus=_gpus(gpus),
            changed=self._changed(),
        )

    @property
    def conditions(self) -> Conditions:
        """How the machine was.

        Raises:
            RuntimeError: Before the end of the ``with`` statement.
        """
        if self._found is None:
            raise RuntimeError("the machine is still being watched")
        return self._found

    def _look(self) -> None:
        while not self._over.wait(self._every_s):
            self._readings.append(read_sensors(self._root, brief=True))

    def _changed(self) -> tuple[str, ...]:
        first, last = (
            {name: (c.least_mhz, c.most_mhz) for name, c in r.clocks.items()}
            for r in (self._readings[0], self._readings[-1])
        )
        now = {
            "the governor": governors(self._root) != self._governors,
            "the power mode": power_mode(self._root) != self._mode,
            "the range of a clock": first != last,
        }
        return tuple(name for name, changed in now.items() if changed)


def _clocks(readings: Sequence[Reading]) -> dict[str, ClockSeen]:
    return {
        name: ClockSeen(
            allowed_mhz=(clock.least_mhz, clock.most_mhz),
            locked=clock.least_mhz == clock.most_mhz,
            seen_mhz=Span.of(r.clocks[name].now_mhz for r in readings if name in r.clocks),
        )
        for name, clock in readings[0].clocks.items()
    }


def _spans(maps: Sequence[Mapping[str, float]]) -> dict[str, Span]:
    names = dict.fromkeys(name for one in maps for name in one)
    spans = {name: Span.of(one.get(name) for one in maps) for name in names}
    return {name: span for name, span in spans.items() if span is not None}


def _throttling(readings: Sequence[Reading], gpus: Sequence[Sample]) -> tuple[str, ...] | None:
    """What held clocks back: counters that grew, coolers that were not off, a GPU's reasons."""
    told = (readings[0].throttled.keys() - {QUOTA}) | {g.gpu for g in gpus if g.reasons is not None}
    found = []
    for name, first in readings[0].throttled.items():
        values = [r.throttled.get(name, first) for r in readings]
        is_level = "cooling_device" in name
        if is_level and max(values) > 0:
            found.append(f"{name} up to level {max(values)}")
        elif not is_level and values[-1] > first:
            found.append(f"{name} grew by {values[-1] - first}")
    for gpu, samples in _by_gpu(gpus).items():
        held = [reasons_of(sample.reasons or 0) for sample in samples]
        for reason in dict.fromkeys(reason for reasons in held for reason in reasons):
            times = sum(reason in reasons for reasons in held)
            found.append(f"GPU {gpu}: {reason} in {times} of {len(samples)} samples")
    return tuple(found) if told or found else None


def _watts(readings: Sequence[Reading], gpus: Sequence[Sample], seconds: float) -> dict[str, Span]:
    """Power by rail and by GPU; of an energy counter its mean alone, as all three numbers."""
    spans = _spans([r.watts for r in readings])
    for name in readings[0].energy_j:
        joules = 0.0
        for before, after in itertools.pairwise(readings):
            step = after.energy_j.get(name, math.nan) - before.energy_j.get(name, math.nan)
            joules += step if step >= 0 else step + before.wraps_j[name]
        if seconds > 0 and not math.isnan(joules):
            spans[name] = Span(*(joules / seconds,) * 3)
    for gpu, samples in _by_gpu(gpus).items():
        if span := Span.of(sample.watts for sample in samples):
            spans[f"GPU {gpu}"] = span
    return spans


def _gpus(samples: Sequence[Sample]) -> tuple[GpuSeen, ...]:
    def span(of: Sequence[Sample], value: Callable[[Sample], Any]) -> Span | None:
        return Span.of(value(sample) for sample in of)

    return tuple(
        GpuSeen(
            name=name,
            driver=mine[0].driver,
            samples=len(mine),
            performance_states=tuple(
                sorted({s.performance_state for s in mine if s.performance_state})
            ),
            sm_mhz=span(mine, lambda s: s.sm_mhz),
            most_sm_mhz=mine[0].most_sm_mhz,
            memory_mhz=span(mine, lambda s: s.memory_mhz),
            temperature_c=span(mine, lambda s: s.temperature_c),
            watts=span(mine, lambda s: s.watts),
            limit_w=mine[0].limit_w,
            utilisation=span(mine, lambda s: s.utilisation),
            memory_mib=span(mine, lambda s: s.memory_mib),
        )
        for name, mine in _by_gpu(samples).items()
    )


def _by_gpu(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    by_gpu: dict[str, list[Sample]] = {}
    for sample in samples:
        by_gpu.setdefault(sample.gpu, []).append(sample)
    return by_gpu
