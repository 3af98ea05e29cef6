"""Files of the kernel as other machines have them, laid out in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from xedge_benchmarks.sensors import Clock, governors, power_mode, read_sensors


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


ORIN = {
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "2201600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2201600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2201600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_governor": "schedutil\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48593\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",  # off: its temperature is an error
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/class/thermal/cooling_device1/type": "thermal-devfreq-0\n",
    "sys/class/thermal/cooling_device1/cur_state": "2\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1600\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_SOC\n",  # no current: no power
    "sys/class/hwmon/hwmon1/in2_input": "5040\n",
    "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "7\n",
    "sys/class/hwmon/hwmon3/name": "nvme\n",
    "sys/class/hwmon/hwmon3/in1_label": "3V3\n",
    "sys/class/hwmon/hwmon3/in1_input": "3300\n",
    "sys/class/hwmon/hwmon3/curr1_input": "100\n",
}
SERVER = {
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "12\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_max_time_ms": "3\n",
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1500000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl/enabled": "1\n",
    "sys/firmware/acpi/platform_profile": "balanced\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1\n",
    "proc/stat": "cpu  10 0 5 100 2 0 1 250 0 0\ncpu0 1 0 5 100 2 0 1 250 0 0\n",
}


def test_jetson(tmp_path: Path) -> None:
    put(tmp_path, ORIN)
    found = read_sensors(tmp_path)
    assert found.clocks == {
        "policy0": Clock(2201.6, 2201.6, 2201.6),
        "17000000.gpu": Clock(306.0, 1300.5, 306.0),
    }
    assert found.temperatures_c == {"cpu-thermal (thermal_zone0)": 48.593}
    # A fan that turns holds nothing back.
    assert found.throttled == {
        "thermal-devfreq-0 (cooling_device1)": 2,
        "over-current oc3_event_cnt": 7,
    }
    assert found.watts == {"VDD_IN": pytest.approx(5.04 * 1.6)}
    assert (found.energy_j, found.stolen_s) == ({}, None)
    assert governors(tmp_path) == ("schedutil",)


def test_server(tmp_path: Path) -> None:
    put(tmp_path, SERVER)
    found = read_sensors(tmp_path)
    assert found.throttled == {"cpu1 core_throttle_count": 12, "the cgroup's CPU quota": 4}
    assert read_sensors(tmp_path, brief=True).throttled == {"the cgroup's CPU quota": 4}
    assert found.energy_j == {"package-0 (intel-rapl:0)": 1.5}
    assert found.wraps_j == {"package-0 (intel-rapl:0)": 262143.32885}
    assert found.stolen_s == 250 / os.sysconf("SC_CLK_TCK")
    assert (found.clocks, found.watts) == ({}, {})


def test_power_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_mode(tmp_path) is None
    put(tmp_path, SERVER)
    assert power_mode(tmp_path) == "platform profile balanced"
    put(tmp_path, {"nvpmodel": "#!/bin/sh\necho 'NV Power Mode: MODE_30W\n2'\n"})
    (tmp_path / "nvpmodel").chmod(0o755)
    assert power_mode(tmp_path) == "nvpmodel MODE_30W"


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    found = read_sensors(tmp_path)
    assert [found.clocks, found.temperatures_c, found.throttled, found.watts] == [{}, {}, {}, {}]
    assert governors(tmp_path) == ()


def test_this_machine() -> None:
    found = read_sensors()
    assert all(clock.least_mhz <= clock.most_mhz for clock in found.clocks.values())
    assert all(-50 < celsius < 150 for celsius in found.temperatures_c.values())
