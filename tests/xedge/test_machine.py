"""Reading this machine, and copies of the files that other machines have."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from xedge.machine import Machine, read_machine

ORIN = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp asimddp uscat
CPU implementer\t: 0x41
"""


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def without_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' /proc")
def test_this_machine() -> None:
    machine = read_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    # MemTotal and the page count are the same number in other units: floor to MiB differs by < 1.
    assert abs(machine.memory_mib - physical) <= 1
    assert machine.cpu or machine.board


def test_arm_board(tmp_path: Path, without_nvidia_smi: None) -> None:
    put(tmp_path, "proc/cpuinfo", ORIN)
    put(tmp_path, "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    put(tmp_path, "proc/meminfo", "MemTotal:       64349348 kB\nMemFree: 1 kB\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")
    machine = read_machine(tmp_path)
    assert machine.board == "NVIDIA Jetson AGX Orin Developer Kit"
    assert machine.features == ("NEON", "DOTPROD")
    assert machine.memory_mib == 64349348 // 1024
    assert machine.governor == "schedutil"
    assert machine.gpus == ()
    assert machine.slug == f"nvidia-jetson-agx-orin-developer-kit-{machine.cores}-cores"


def test_gpu_from_the_drivers_files(tmp_path: Path, without_nvidia_smi: None) -> None:
    put(
        tmp_path,
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  x\n",
    )
    put(
        tmp_path,
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t\t NVIDIA L4\nIRQ: 1\n",
    )
    assert read_machine(tmp_path).gpus == ("NVIDIA L4, driver 570.86.15",)


def test_gpu_from_the_drivers_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA L4, 570.86.15, 23034 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_machine(tmp_path).gpus == ("NVIDIA L4, 570.86.15, 23034 MiB",)


def test_a_system_that_says_nothing(tmp_path: Path, without_nvidia_smi: None) -> None:
    machine = read_machine(tmp_path)
    assert (machine.features, machine.memory_mib, machine.gpus) == ((), 0, ())
    assert machine.slug


def test_slug_is_a_folder_name() -> None:
    machine = Machine(
        system="Linux", board="", cpu="Intel(R) Xeon(R) Processor @ 2.60GHz", cores=2, features=(),
        memory_mib=1, governor="", clock_source="", gpus=("NVIDIA H200, 570, 141 GiB",),
    )  # fmt: skip
    assert machine.slug == "intel-xeon-processor-2-60ghz-2-cores-nvidia-h200"
