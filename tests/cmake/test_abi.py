"""The binary interface is that of the committed reference: a program that was built stays right.

When it is changed on purpose: python tests/cmake/test_abi.py writes the reference anew.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CMAKE = Path(__file__).resolve().parents[2] / "cmake"
REFERENCE = CMAKE / "tests" / "xedge.abi"


def interface(folder: Path) -> str:
    """What abidw says of the library, built with debug information in ``folder``."""
    engines = ("-DXEDGE_OPENVINO=OFF", "-DXEDGE_ORT=OFF")
    done("cmake", "-S", CMAKE, "-B", folder, "-DCMAKE_BUILD_TYPE=Debug", "-DBUILD_TESTING=OFF",
         *engines)  # fmt: skip
    done("cmake", "--build", folder, "--target", "xedge")
    said = done("abidw", "--exported-interfaces-only", "--no-corpus-path", "--no-comp-dir-path",
                "--no-show-locs", "--no-elf-needed", "--headers-dir", CMAKE / "include",
                folder / "libxedge.so")  # fmt: skip
    return re.sub(r" path='[^']*/cmake/", " path='", said)


def done(*command: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True
    ).stdout


def test_the_interface_is_the_committed_one(tmp_path) -> None:
    for program, package in (("cmake", "cmake"), ("c++", "g++"), ("make", "make"),
                             ("abidiff", "abigail-tools")):  # fmt: skip
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (on Debian: apt-get install {package})")
    if platform.machine() != "x86_64":
        pytest.skip("the reference is of x86_64")
    (tmp_path / "now.abi").write_text(interface(tmp_path / "build"))
    compared = subprocess.run(
        ["abidiff", REFERENCE, tmp_path / "now.abi"], capture_output=True, text=True, check=False
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        REFERENCE.write_text(interface(Path(temporary)))
    sys.stdout.write(f"{REFERENCE}\n")
