"""GPUs as NVIDIA's tool tells of them; the tool is a script here, where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from xedge_benchmarks.nvidia import GpuLog, driver_versions, samples_of

LINE = "0, NVIDIA H200, 570.86.15, P0, 1980, 1980, 3201, 41, 312.50, 700.00, 97, 2048, 0x04"
TOOL = """#!/bin/sh
case "$*" in
  *clocks_event_reasons*) [ -n "$OLD" ] && { echo 'is not a valid field'; exit 2; } ;;
  "") echo '| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15   CUDA Version: 12.8     |'; exit ;;
esac
case "$*" in
  *--loop-ms*) while :; do echo 'LINE'; printf '0, NVIDIA H2'; sleep 0.01; printf '\\n'; done ;;
  *) echo 'LINE' ;;
esac
""".replace("LINE", LINE)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(TOOL)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize("old", ["", "yes"])
def test_samples_of_a_run(tool: None, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", old)
    log = GpuLog(every_ms=10)
    log.start()
    assert log._beside is not None
    beside = log._beside
    found = log.stop()
    assert beside.poll() is not None  # nothing is left running
    assert len(found) >= 2  # the first, and one of the end; lines cut in two are left out
    assert len(set(found)) == 1
    assert found[0].gpu == "0 NVIDIA H200"
    assert (found[0].sm_mhz, found[0].watts, found[0].utilisation) == (1980.0, 312.5, 0.97)
    assert found[0].reasons == 4
    assert log.stop() == ()


def test_without_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    log = GpuLog()
    log.start()
    assert log.stop() == ()
    assert driver_versions(tmp_path) == {}


def test_what_is_not_told_is_none() -> None:
    (orin,) = samples_of(
        "0, Orin (nvgpu), 540.4.0, N/A, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], "
        "[N/A]\nUnable to determine the device handle\n"
    )
    assert (orin.gpu, orin.driver) == ("0 Orin (nvgpu)", "540.4.0")
    told = (orin.performance_state, orin.sm_mhz, orin.watts, orin.utilisation, orin.reasons)
    assert told == (None,) * 5


def test_versions_below_the_packages(tool: None, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
    )
    assert driver_versions(tmp_path) == {"cuda of the driver": "12.8", "l4t": "R36.4.3"}
