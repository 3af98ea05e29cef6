"""The wheel with libxedge: a program in C is built against what pip installed, and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

from xedge.engines import available

ROOT: Final = Path(__file__).resolve().parent.parent.parent
EXAMPLES: Final = ROOT / "cmake" / "examples"

pytestmark = [pytest.mark.install, pytest.mark.full, pytest.mark.timeout(1800)]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A wheel of the tree as it is, with libxedge."""
    for program, package in (("cmake", "cmake"), ("c++", "g++")):
        if shutil.which(program) is None:
            pytest.skip(f"needs cmake and a compiler: no {program} (on Debian: apt-get install "
                        f"{package})")  # fmt: skip
    out = tmp_path_factory.mktemp("native")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, source,
        "-C", "wheel.cmake=true")  # fmt: skip
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with that wheel; engines are those of the tests' own."""
    folder = tmp_path_factory.mktemp("vendor")
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel)
    return python


def place(python: Path, what: str) -> str:
    # -I: neither the checkout nor PYTHONPATH may lend a module.
    return run(python, "-I", python.with_name("xedge"), "libxedge", what).strip()


def test_it_is_the_pure_wheel_and_libxedge(wheel: Path, pure_wheel: Path) -> None:
    def names(path: Path) -> set[str]:
        with zipfile.ZipFile(path) as archive:
            return {name for name in archive.namelist() if not name.endswith("/")}

    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert "-py3-none-linux_" in wheel.name
    added = names(wheel) - names(pure_wheel)
    assert names(pure_wheel) <= names(wheel)
    assert all(name.startswith("xedge/libxedge/") for name in added)
    assert {"include/xedge/xedge.h", "include/xedge/xedge.hpp", "lib/libxedge.so",
            "lib/cmake/xedge/xedge-config.cmake", "lib/pkgconfig/xedge.pc",
            } <= {name.removeprefix("xedge/libxedge/") for name in added}  # fmt: skip
    # No path of the machine that built it.
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("xedge/libxedge/lib/libxedge.so")
    assert os.fsencode(ROOT) not in content
    assert os.fsencode(Path(sys.prefix).resolve()) not in content


def test_a_program_in_c_is_built_and_run(python: Path, tmp_path: Path) -> None:
    """By pkg-config and cc, and by CMake, with the engine that lies beside it."""
    engine = available()["openvino"]
    if not engine.usable:
        pytest.skip(f"needs openvino: {engine}")
    import openvino

    # As an installation into the same environment would have it.
    site = Path(place(python, "prefix")).parent.parent
    (site / "openvino").symlink_to(Path(openvino.__file__).parent)
    bundle = site / "xedge" / "bundles" / "default.xedge"
    run("cmake", "-S", EXAMPLES, "-B", tmp_path / "build",
        f"-DCMAKE_PREFIX_PATH={place(python, 'prefix')}")  # fmt: skip
    run("cmake", "--build", tmp_path / "build", "--target", "detect")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("XEDGE_")}
    found = run(tmp_path / "build" / "detect", bundle, env=clean)
    assert found.strip()
    if shutil.which("pkg-config") is None:
        pytest.skip("needs pkg-config (on Debian: apt-get install pkg-config)")
    flags = run("pkg-config", "--cflags", "--libs", "xedge",
                env=clean | {"PKG_CONFIG_PATH": place(python, "pkgconfig-dir")})  # fmt: skip
    run("cc", EXAMPLES / "detect.c", *flags.split(), "-o", tmp_path / "detect")
    again = run(tmp_path / "detect", bundle,
                env=clean | {"LD_LIBRARY_PATH": place(python, "lib-dir")})  # fmt: skip
    assert again == found


def test_the_installation_says_where_it_is(python: Path, tmp_path: Path) -> None:
    script = "import xedge.native; print(xedge.native.find_libxedge().cmake_dir)"
    assert run(python, "-I", "-c", script, cwd=tmp_path).strip() == place(python, "cmake-dir")
    assert Path(place(python, "cmake-dir"), "xedge-config.cmake").is_file()
    assert Path(place(python, "include-dir"), "xedge", "xedge.h").is_file()
