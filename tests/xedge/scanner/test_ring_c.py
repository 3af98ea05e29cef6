"""The C side of docs/ring.md, built with the system's compiler, with Python on the other side."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from xedge.scanner.ringsource import RingSource
from xedge.scanner.ringwriter import RingWriter
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Strip

CMAKE = Path(__file__).parents[3] / "cmake"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


def built(name: str, folder: Path) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs cc (on Debian: apt-get install gcc)")
    subprocess.run(
        ["cc", *STRICT, f"-I{CMAKE / 'include'}", str(CMAKE / "examples" / f"{name}.c"),
         "-o", str(folder / name)], check=True,
    )  # fmt: skip
    return folder / name


@pytest.fixture(scope="module")
def ring_writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("ring_writer", tmp_path_factory.mktemp("c"))


def test_what_python_writes_c_reads(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    detector = StripFileHeader(17, 0.62, 1.5, 0.5, {"serial": "D-7"})
    counts = np.arange(17 * 20, dtype=np.uint16).reshape(20, 17)
    with RingWriter(path, detector, capacity=64) as writer:
        for first in (0, 20, 41):  # line 40 never came
            strip = Strip(first, np.arange(20), counts, counts, 1)
            writer.write(strip)
        with path.open("r+b") as file:  # a count of line 5, which its CRC shows
            file.seek(4096 + 5 * 128 + 50)
            file.write(b"\xff")
    said = subprocess.run([built("ring_reader", tmp_path), path, "30"], capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    assert said.startswith("lines 60 lost 0 damaged 1 jumps 1 writers 1 ")


def test_what_c_writes_python_reads(ring_writer: Path, tmp_path: Path) -> None:
    path = tmp_path / "ring"
    for first in (0, 2000):  # the second time into the ring that is there
        subprocess.run([ring_writer, path, "2000"], check=True)
        with RingSource(path, strip_lines=64) as source:
            assert source.header.serial == "example"
            assert source.elements == 832
            strips = list(source)
        assert source.lost == 0
        assert [s.first_line for s in strips] == list(np.cumsum([first, *map(len, strips)])[:-1])
        low = np.concatenate([s.low for s in strips])
        assert low.shape == (2000, 832)
        assert (low[:401] == 40_000).all()
        assert (low[401:1000, 201:600] == 12_000).all()
        assert np.concatenate([s.high for s in strips])[500, 300] == 20_000
        assert all(s.intact for s in strips)
        times = [s.captured_ns for s in strips]
        assert times == sorted(times)
        assert first or times[0] > 0


def test_c_and_python_agree_on_the_header_and_on_who_writes(
    ring_writer: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ring"
    detector = StripFileHeader(832, 0.62, 1.0 / 0.62, 0.5, {"serial": "example"})
    with RingWriter(path, detector, capacity=16384):
        taken = subprocess.run([ring_writer, path, "1"], capture_output=True, text=True)
        assert taken.returncode == 1
        assert "Resource temporarily unavailable" in taken.stderr
    subprocess.run([ring_writer, path, "1"], check=True)
    other = tmp_path / "other"
    RingWriter(other, detector, capacity=64).close()
    refused = subprocess.run([ring_writer, other, "1"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "Invalid argument" in refused.stderr
