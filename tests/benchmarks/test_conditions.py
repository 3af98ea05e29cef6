"""How a machine was during a run: its files change meanwhile, and the conditions say so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from xedge_benchmarks import conditions
from xedge_benchmarks.conditions import Span, Watch
from xedge_benchmarks.nvidia import samples_of

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
COUNT = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
COOLER = "sys/class/thermal/cooling_device0"
RAPL = "sys/class/powercap/intel-rapl:0"
GPU = "0, NVIDIA L4, 570.86, P0, {mhz}, 2040, 6251, {heat}, 71.0, 72.0, 99, 1024, {reasons}"


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


def test_a_machine_that_throttles(tmp_path: Path) -> None:
    put(tmp_path, {
        f"{POLICY}/scaling_min_freq": "3000000", f"{POLICY}/scaling_max_freq": "3000000",
        f"{POLICY}/scaling_cur_freq": "3000000", f"{POLICY}/scaling_governor": "performance",
        COUNT: "5", f"{COOLER}/type": "cpufreq-cpu0", f"{COOLER}/cur_state": "0",
        "sys/class/thermal/thermal_zone0/temp": "60000",
    })  # fmt: skip
    with Watch(tmp_path, every_s=60) as watch:
        put(tmp_path, {
            f"{POLICY}/scaling_cur_freq": "1500000", COUNT: "9", f"{COOLER}/cur_state": "2",
            "sys/class/thermal/thermal_zone0/temp": "98000",
            f"{POLICY}/scaling_governor": "powersave",
        })  # fmt: skip
    found = watch.conditions
    assert found.governors == ("performance",)
    assert found.clocks["policy0"].locked
    assert found.clocks["policy0"].seen_mhz == Span(1500.0, 2250.0, 3000.0)
    assert found.temperatures_c == {"zone (thermal_zone0)": Span(60.0, 79.0, 98.0)}
    assert found.throttled == (
        "cpu0 core_throttle_count grew by 4",
        "cpufreq-cpu0 (cooling_device0) up to level 2",
    )
    assert found.changed == ("the governor",)
    assert found.samples == 2
    assert any(note.startswith("THE MACHINE THROTTLED: cpu0 core") for note in found.notes())
    assert "the governor changed during the run" in found.notes()


def test_a_counter_of_before_the_run_is_no_throttling(tmp_path: Path) -> None:
    put(tmp_path, {COUNT: "5", f"{COOLER}/type": "Processor", f"{COOLER}/cur_state": "0"})
    with Watch(tmp_path) as watch:
        pass
    assert watch.conditions.throttled == ()
    assert not any("THROTTLED" in note for note in watch.conditions.notes())


def test_what_is_not_told_is_none(tmp_path: Path) -> None:
    with Watch(tmp_path) as watch, pytest.raises(RuntimeError, match="still being watched"):
        _ = watch.conditions
    found = watch.conditions
    assert (found.throttled, found.power_mode, found.stolen_cores) == (None, None, None)
    assert (found.clocks, found.temperatures_c, found.watts, found.gpus) == ({}, {}, {}, ())
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_a_quota_alone_says_nothing_of_heat(tmp_path: Path) -> None:
    put(tmp_path, {"sys/fs/cgroup/cpu.stat": "nr_throttled 4\n"})
    with Watch(tmp_path, every_s=60) as watch:
        pass
    assert watch.conditions.throttled is None
    with Watch(tmp_path, every_s=60) as watch:
        put(tmp_path, {"sys/fs/cgroup/cpu.stat": "nr_throttled 6\n"})
    assert watch.conditions.throttled == ("the cgroup's CPU quota grew by 2",)


def test_energy_counters_wrap(tmp_path: Path) -> None:
    put(tmp_path, {f"{RAPL}/name": "package-0", f"{RAPL}/energy_uj": "9000000",
                   f"{RAPL}/max_energy_range_uj": "10000000"})  # fmt: skip
    with Watch(tmp_path, every_s=60) as watch:
        put(tmp_path, {f"{RAPL}/energy_uj": "2000000"})
    found = watch.conditions
    # From 9 J to 10 J, where it begins again, and on to 2 J.
    joules = found.watts["package-0 (intel-rapl:0)"].mean * found.seconds
    assert joules == pytest.approx(3.0)


def test_priority_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"proc/self/autogroup": "/autogroup-176 nice -20\n"})
    with Watch(tmp_path) as watch:
        pass
    assert watch.conditions.niceness == -20
    assert "this process went before others (niceness -20)" in watch.conditions.notes()


def test_stolen_time(tmp_path: Path) -> None:
    put(tmp_path, {"proc/stat": "cpu 1 2 3 4 5 6 7 100 0 0\n"})
    with Watch(tmp_path, every_s=60) as watch:
        put(tmp_path, {"proc/stat": "cpu 1 2 3 4 5 6 7 9100 0 0\n"})
    assert watch.conditions.stolen_cores is not None
    assert watch.conditions.stolen_cores > 1
    assert any("hypervisor" in note for note in watch.conditions.notes())


def test_a_gpu_at_its_power_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [GPU.format(mhz=2040, heat=50, reasons="0x0000000000000000"),
             GPU.format(mhz=1200, heat=86, reasons="0x0000000000000024"),
             GPU.format(mhz=1200, heat=86, reasons="[N/A]")]  # fmt: skip
    monkeypatch.setattr(conditions.GpuLog, "stop", lambda self: samples_of("\n".join(lines)))
    with Watch(tmp_path) as watch:
        pass
    (gpu,) = watch.conditions.gpus
    assert gpu.sm_mhz == Span(1200.0, 1480.0, 2040.0)
    assert gpu.samples == 3
    assert watch.conditions.throttled == (
        "GPU 0 NVIDIA L4: power limit in 1 of 3 samples",
        "GPU 0 NVIDIA L4: heat, by software in 1 of 3 samples",
    )
    assert watch.conditions.watts == {"GPU 0 NVIDIA L4": Span(71.0, 71.0, 71.0)}


def test_it_looks_while_the_run_goes_on(tmp_path: Path) -> None:
    put(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "60000"})
    with Watch(tmp_path, every_s=0.001) as watch:
        while len(watch._readings) < 4:
            pass
    assert watch.conditions.samples >= 5
