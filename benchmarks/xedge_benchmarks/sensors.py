"""What the kernel's files say of a machine at one moment: clocks, heat, throttling, power.

Paths are Linux' own: cpufreq, devfreq, thermal zones and cooling devices, Intel's throttle
counters, the cgroup's CPU bandwidth, RAPL's energy counters, and on Jetson the INA3221 power
monitors and the over-current counters beside them. A file that is absent or cannot be read gives
no entry.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HOLDS_BACK: Final = re.compile(r"cpufreq|devfreq|^Processor$")
"""Kinds of cooling devices that slow something down; the others are fans and the like."""
QUOTA: Final = "the cgroup's CPU quota"
"""Holds a process back, and says nothing of the machine."""
_JOULE_UJ: Final = 1e6


@dataclass(frozen=True)
class Clock:
    """One clock domain as it is set.

    Attributes:
        least_mhz: Lowest frequency that is allowed.
        most_mhz: Highest frequency that is allowed; equal to the lowest when the clock is locked.
        now_mhz: What it is now; None where that is not told.
    """

    least_mhz: float
    most_mhz: float
    now_mhz: float | None


@dataclass(frozen=True)
class Reading:
    """What the kernel said at one moment.

    Attributes:
        clocks: Clock domain to its setting: ``policy0`` of cpufreq, or a devfreq device.
        temperatures_c: Thermal zone to degrees Celsius.
        throttled: What holds a clock back, to a number that grows or is not zero when it does.
        watts: Rail to the power it draws.
        energy_j: Counter to joules; it wraps at `wraps_j`.
        wraps_j: Where such a counter begins again.
        stolen_s: Processor time that a hypervisor gave to others, all cores; None without.
    """

    clocks: Mapping[str, Clock]
    temperatures_c: Mapping[str, float]
    throttled: Mapping[str, int]
    watts: Mapping[str, float]
    energy_j: Mapping[str, float]
    wraps_j: Mapping[str, float]
    stolen_s: float | None


def read_sensors(root: Path = Path("/"), *, brief: bool = False) -> Reading:
    """What the machine's files say now.

    Args:
        root: Where ``sys`` and ``proc`` are; another folder for a copy of another machine's.
        brief: Leave out what grows alone and so need not be read on the way: the throttle
            counters, of which every core has some.
    """
    system = root / "sys"
    energy, wraps = {}, {}
    for domain in sorted((system / "class/powercap").glob("*:*")):
        name, counted = _text(domain / "name"), _number(domain / "energy_uj")
        if name and counted is not None:
            energy[f"{name} ({domain.name})"] = counted / _JOULE_UJ
            most = _number(domain / "max_energy_range_uj")
            wraps[f"{name} ({domain.name})"] = (most or 0.0) / _JOULE_UJ
    return Reading(
        clocks=dict(_clocks(system)),
        temperatures_c=dict(_temperatures(system)),
        throttled=dict(_throttled(system, brief)),
        watts=dict(_rails(system)),
        energy_j=energy,
        wraps_j=wraps,
        stolen_s=_stolen_seconds(root),
    )


def governors(root: Path = Path("/")) -> tuple[str, ...]:
    """The frequency governors of all cores, each once; none where the system does not say."""
    files = (root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor")
    return tuple(sorted({name for file in files if (name := _text(file))}))


def power_mode(root: Path = Path("/")) -> str | None:
    """The power mode by its name: Jetson's nvpmodel or else ACPI's platform profile; or None."""
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=20,
                              check=True)  # fmt: skip
        if found := re.search(r"Power Mode:\s*(\S+)", done.stdout):
            return f"nvpmodel {found[1]}"
    except (OSError, subprocess.SubprocessError):
        pass
    profile = _text(root / "sys/firmware/acpi/platform_profile")
    return f"platform profile {profile}" if profile else None


def niceness(root: Path = Path("/")) -> int:
    """How far this process gives way to others, -20 to 19; Linux' group of it counts as well."""
    group = re.search(r"nice (-?\d+)", _text(root / "proc/self/autogroup"))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    return min(own, int(group[1])) if group else own


def _clocks(system: Path) -> Iterator[tuple[str, Clock]]:
    cpu = sorted((system / "devices/system/cpu/cpufreq").glob("policy*"))
    others = sorted((system / "class/devfreq").glob("*"))
    for places, prefix, per_mhz in ((cpu, "scaling_", 1e3), (others, "", 1e6)):
        for place in places:
            least, most, now = (_number(place / f"{prefix}{name}_freq")
                                for name in ("min", "max", "cur"))  # fmt: skip
            if least is not None and most is not None:
                yield place.name, Clock(least / per_mhz, most / per_mhz,
                                        None if now is None else now / per_mhz)  # fmt: skip


def _temperatures(system: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((system / "class/thermal").glob("thermal_zone*")):
        found = _number(zone / "temp")  # of a part that is switched off it cannot be read
        if found is not None:
            yield f"{_text(zone / 'type') or 'zone'} ({zone.name})", found / 1000


def _throttled(system: Path, brief: bool) -> Iterator[tuple[str, int]]:
    counters = (
        [] if brief else (system / "devices/system/cpu").glob("cpu*/thermal_throttle/*_count")
    )
    for file in sorted(counters):
        if (count := _number(file)) is not None:
            yield f"{file.parts[-3]} {file.name}", int(count)
    for device in sorted((system / "class/thermal").glob("cooling_device*")):
        kind, state = _text(device / "type"), _number(device / "cur_state")
        if state is not None and _HOLDS_BACK.search(kind):
            yield f"{kind} ({device.name})", int(state)
    for file in sorted((system / "class/hwmon").glob("hwmon*/oc*_event_cnt")):
        if (count := _number(file)) is not None:
            yield f"over-current {file.name}", int(count)
    cpu_stat = re.search(r"^nr_throttled (\d+)$", _text(system / "fs/cgroup/cpu.stat"), re.M)
    if cpu_stat:
        yield QUOTA, int(cpu_stat[1])


def _rails(system: Path) -> Iterator[tuple[str, float]]:
    for monitor in sorted((system / "class/hwmon").glob("hwmon*")):
        if _text(monitor / "name") != "ina3221":
            continue
        for label in sorted(monitor.glob("in*_label")):
            channel = label.name[2:-6]
            volts, amperes = (_number(monitor / f"{kind}{channel}_input")
                              for kind in ("in", "curr"))  # fmt: skip
            if volts is not None and amperes is not None:
                yield _text(label), volts * amperes / 1e6  # mV and mA


def _stolen_seconds(root: Path) -> float | None:
    """The eighth number of /proc/stat, in clock ticks."""
    words = _text(root / "proc/stat").partition("\n")[0].split()
    if len(words) < 9 or not words[8].isdigit():
        return None
    return int(words[8]) / os.sysconf("SC_CLK_TCK")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
