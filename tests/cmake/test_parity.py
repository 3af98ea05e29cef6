"""C and Python: the same planes from the same counts, the same detections from the same engine."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xedge import engines
from xedge.bundle import open_bundle
from xedge.detector import Detector, open_detector
from xedge.encode import RATIO_TABLE, dual_energy_planes
from xedge.types import AIR_COUNTS, Detections

SCORE, PIXEL = 1e-5, 0.01
"""What two programs with one engine may differ by; on one machine they do not differ at all."""


def same(found: Detections, wanted: Detections, score: float = 0.0, pixel: float = 0.0) -> None:
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=score)
    np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=pixel)


def test_every_ratio_gives_the_value_of_the_table(native) -> None:
    # low 256 makes the ratio in steps equal to the high count, up to beyond the table's end
    high = np.arange(2060, dtype=np.uint16)[None]
    low = np.full_like(high, 256)
    found = native.planes(low, high, 1)
    np.testing.assert_array_equal(found[2, 0, : RATIO_TABLE.size], RATIO_TABLE)
    assert (found[2, 0, RATIO_TABLE.size :] == RATIO_TABLE[-1]).all()


@given(
    pair=arrays.arrays(np.uint16, st.tuples(st.just(2), st.integers(1, 20), st.integers(1, 20))),
    binning=st.integers(1, 8),
    gap=st.integers(0, 3),
)
def test_planes_are_the_same_bits(native, pair, binning, gap) -> None:
    low, high = pair
    wanted = dual_energy_planes(low, high, binning)
    # Both energies in one block of lines, some elements apart: strides that are not the width.
    lines, elements = low.shape
    block = np.zeros((lines, 2 * elements + gap), np.uint16)
    block[:, :elements], block[:, elements + gap :] = low, high
    found = native.planes(block[:, :elements], block[:, elements + gap :], binning)
    np.testing.assert_array_equal(found, wanted)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), lines=st.integers(1, 300), elements=st.integers(2, 64))
def test_scans_of_any_length_say_the_same(native, engine, scans, seed, lines, elements) -> None:
    detector, reference = scans
    generator = np.random.default_rng(seed)
    # Few dark places on air, so that boxes of two windows meet, and overlap within one.
    high = np.full((lines, elements), AIR_COUNTS, np.uint16)
    for _ in range(generator.integers(1, 12)):
        y, x = generator.integers(0, lines), generator.integers(0, elements)
        height, width = generator.integers(1, 40), generator.integers(1, 8)
        high[y : y + height, x : x + width] = generator.integers(100, 40_000)
    low = (high * generator.uniform(0.4, 1.0)).astype(np.uint16)
    same(native.detect_scan(detector, low, high), reference.detect_scan(low, high))


@pytest.fixture(scope="module")
def scans(opened, engine, tiny_bundle):
    """The tiny model in both languages; every candidate counts."""
    detector = opened(tiny_bundle.read_bytes(), score_threshold=0.0)
    with open_detector(tiny_bundle, engine, threads=1, score_threshold=0.0) as reference:
        yield detector, reference


@settings(max_examples=25)
@given(
    planes=arrays.arrays(np.uint8, st.tuples(st.just(3), st.integers(1, 32), st.integers(1, 32)))
)
def test_windows_say_the_same(native, engine, scans, planes) -> None:
    detector, reference = scans
    wanted = reference.detect_window(planes)
    same(native.detect_window(detector, planes), wanted)
    # Interleaved as in a picture: pixels three bytes apart.
    interleaved = np.ascontiguousarray(planes.transpose(1, 2, 0)).transpose(2, 0, 1)
    same(native.detect_window(detector, interleaved), wanted)


@pytest.fixture(scope="module")
def shipped():
    return open_bundle()


def test_the_shipped_bundle_says_the_same(native, opened, engine, repository, shipped) -> None:
    content = (repository / "xedge" / "bundles" / "default.xedge").read_bytes()
    detector = opened(content)
    native.call("xedge_self_test", None, detector)
    low, high = shipped.golden_low, shipped.golden_high
    twice = tuple(np.ascontiguousarray(np.concatenate([c, c[::-1]])[:1001]) for c in (low, high))
    with open_detector(shipped, engine, threads=1) as reference:
        for pair in ((low, high), twice):
            wanted = reference.detect_scan(*pair)
            assert len(wanted) > 0
            same(native.detect_scan(detector, *pair), wanted, SCORE, PIXEL)


def test_the_example_prints_what_python_finds(build, engine, run, shipped, tmp_path) -> None:
    for name, counts in (("low", shipped.golden_low), ("high", shipped.golden_high)):
        (tmp_path / name).write_bytes(counts.tobytes())
    bundle = Path(sys.modules["xedge"].__file__).parent / "bundles" / "default.xedge"
    printed = run(
        build / "examples" / "detect", bundle, tmp_path / "low", tmp_path / "high",
        str(shipped.golden_low.shape[1]), engine,
    )  # fmt: skip
    with Detector(engines.load(shipped.model(), engine), shipped.spec) as reference:
        wanted = reference.detect_scan(shipped.golden_low, shipped.golden_high)
    same(printed_detections(printed, shipped.spec.classes), wanted, SCORE, PIXEL)


def printed_detections(printed: str, classes: tuple[str, ...]) -> Detections:
    """What `detect` printed: class, score, box."""
    rows = [line.split() for line in printed.splitlines()]
    numbers = np.array([row[1:] for row in rows], np.float32)
    labels = np.array([classes.index(row[0]) for row in rows], np.int32)
    return Detections(numbers[:, 1:].copy(), numbers[:, 0].copy(), labels)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_arm_with_a_real_engine_says_the_same(cmake, run, shipped, tmp_path) -> None:
    """The bag of the shipped bundle through ONNX Runtime of ARM's wheel, on QEMU: a minute or two.

    Of 1.21: what newer ones read of the processor below /sys is this machine's, and 1.32 ends with
    a segmentation fault by that (qemu 7.2).
    """
    for program, package in (("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"),
                             ("qemu-aarch64-static", "qemu-user-static")):  # fmt: skip
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (on Debian: apt-get install {package})")
    if not engines.available()["onnxruntime"].usable:
        pytest.skip("needs onnxruntime")
    folder = cmake("aarch64")
    if "XEDGE_ORT_INCLUDE:PATH=/" not in (folder / "CMakeCache.txt").read_text():
        pytest.skip("needs onnxruntime-headers: run cmake/fetch_onnxruntime_headers.sh")
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--platform", "manylinux_2_28_aarch64", "-d", tmp_path,
        "onnxruntime==1.21.0")  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (library,) = tmp_path.glob("onnxruntime/capi/libonnxruntime.so.*")
    bundle = Path(sys.modules["xedge"].__file__).parent / "bundles" / "default.xedge"
    printed = run("qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu",
                  folder / "examples" / "detect", bundle,
                  env=os.environ | {"XEDGE_ONNXRUNTIME_LIBRARY": str(library)})  # fmt: skip
    with open_detector(shipped, "onnxruntime", variant="fp32") as reference:
        wanted = reference.detect_scan(shipped.golden_low, shipped.golden_high)
    same(printed_detections(printed, shipped.spec.classes), wanted, SCORE, PIXEL)
