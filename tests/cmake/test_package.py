"""The build's own tests, and a vendor's project against what is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from xedge.engines import available


def test_its_own_tests_pass_with_a_real_engine(build, run, repository) -> None:
    printed = run("ctest", "--preset", "default", cwd=repository / "cmake")
    if available()["openvino"].usable:
        assert re.search(r"engine-openvino \.+ +Passed", printed)
    assert re.search(r"engine-(openvino|onnxruntime) \.+ +Passed", printed), "the null engine alone"


def test_the_null_engine_alone_is_no_pass_where_a_real_one_is_installed(
    cmake, run, repository, tmp_path
) -> None:
    """Of packages that are installed and cannot be built in: here, folders without content."""
    (tmp_path / "site" / "openvino").mkdir(parents=True)
    (tmp_path / "site" / "openvino" / "__init__.py").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/site" exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    run("cmake", "-S", repository / "cmake", "-B", tmp_path / "build", f"-DXEDGE_PYTHON={python}",
        "-DXEDGE_ORT=OFF", "-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON")  # fmt: skip
    done = subprocess.run(
        ["ctest", "--test-dir", tmp_path / "build", "-R", "^engine"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "engine-installed-but-not-built-in (Failed)" in done.stdout


def test_headers_alone_are_enough_to_build_an_engine_in(cmake, run, repository, tmp_path) -> None:
    """As for a machine whose packages are elsewhere: the library is found when a detector opens."""
    (tmp_path / "onnxruntime_c_api.h").touch()
    printed = run("cmake", "-S", repository / "cmake", "-B", tmp_path / "build",
                  "-DXEDGE_PYTHON=/bin/false", "-DXEDGE_OPENVINO=OFF", "-DXEDGE_ORT=ON",
                  f"-DXEDGE_ORT_INCLUDE={tmp_path}")  # fmt: skip
    assert f"ONNX Runtime: headers {tmp_path}" in printed


def test_a_vendor_finds_what_is_installed(build, run, repository, tmp_path) -> None:
    """By find_package and by pkg-config, after the installation was moved."""
    run("cmake", "--install", build, "--prefix", tmp_path / "first")
    prefix = (tmp_path / "first").rename(tmp_path / "moved")
    run("cmake", "-S", repository / "cmake" / "examples", "-B", tmp_path / "build",
        f"-DCMAKE_PREFIX_PATH={prefix}")  # fmt: skip
    run("cmake", "--build", tmp_path / "build")
    assert (tmp_path / "build" / "detect").is_file()
    if shutil.which("pkg-config") is None:
        pytest.skip("needs pkg-config")
    folder = next(prefix.rglob("xedge.pc")).parent
    flags = run("pkg-config", "--cflags", "--libs", "xedge",
                env=os.environ | {"PKG_CONFIG_PATH": str(folder)})  # fmt: skip
    assert f"-I{prefix}/include" in os.path.normpath(flags.split()[0])
    source = repository / "cmake" / "examples" / "detect.c"
    run("cc", source, *flags.split(), "-o", tmp_path / "by-pkg-config")


def test_an_unpacked_archive_serves_both_libraries(build, run, repository, tmp_path) -> None:
    """In a program of C, linked with the shared and with the static library."""
    run("cpack", "--config", build / "CPackConfig.cmake", "-B", tmp_path / "packed")
    (archive,) = (tmp_path / "packed").glob("*.tar.gz")
    run("tar", "-xzf", archive, "-C", tmp_path)
    (prefix,) = tmp_path.glob("xedge-*")
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    shutil.copy(repository / "cmake" / "examples" / "detect.c", vendor)
    (vendor / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(vendor LANGUAGES C)\n"
        "find_package(xedge 0.1 REQUIRED)\n"
        "foreach(kind xedge static)\n"
        "  add_executable(with_${kind} detect.c)\n"
        "  target_link_libraries(with_${kind} PRIVATE xedge::${kind})\n"
        "endforeach()\n"
    )
    run("cmake", "-S", vendor, "-B", vendor / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", vendor / "build")
    bundle = repository / "xedge" / "bundles" / "default.xedge"
    needs = {}
    for kind in ("xedge", "static"):
        program = vendor / "build" / f"with_{kind}"
        assert run(program, bundle).strip()
        needs[kind] = "libxedge" in run("ldd", program)
    assert needs == {"xedge": True, "static": False}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_cross_build_for_arm_passes_its_tests(cmake, run, repository) -> None:
    """On QEMU, without an engine but the null one: the library and the boundary."""
    for program, package in (("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"),
                             ("qemu-aarch64-static", "qemu-user-static")):  # fmt: skip
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (on Debian: apt-get install {package})")
    cmake("aarch64")
    names = "header.*|api|wrapper|threads|bundle|ring|signing-without-openssl|symbols"
    run("ctest", "--preset", "aarch64", "-R", f"^({names})$", cwd=repository / "cmake")


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", ["asan", "tsan"])
def test_sanitizers_find_nothing(cmake, run, repository, preset) -> None:
    cmake(preset)
    # Engines are other people's code, and slow under a sanitizer.
    names = "header.*|api|wrapper|threads|bundle|ring"
    run("ctest", "--preset", preset, "-R", f"^({names})$", cwd=repository / "cmake")
