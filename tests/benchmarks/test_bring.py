"""What is carried to a machine without a registry arrives whole, or not at all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def bring() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bring", FOLDER / "bring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packed(bring: ModuleType, tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "package").mkdir(parents=True)
    (site / "package" / "__init__.py").write_text("answer = 42\n")
    (site / "large.bin").write_bytes(os.urandom(5 << 19))  # 2.5 MiB that compress to nothing less
    parts = bring.cut(bring.compressed(site), tmp_path / "parts", 1)
    assert len(parts) == 3
    assert all(part.stat().st_size <= 1 << 20 for part in parts)
    return tmp_path / "parts"


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FOLDER / "bring.py", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_parts_are_joined(packed: Path, tmp_path: Path) -> None:
    done = run("unpack", packed, tmp_path / "there")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "there/package/__init__.py").read_text() == "answer = 42\n"
    large = (tmp_path / "there/large.bin").read_bytes()
    assert large == (tmp_path / "site/large.bin").read_bytes()


@pytest.mark.parametrize("harm", ["missing", "short", "none"])
def test_what_is_not_whole_is_refused(harm: str, packed: Path, tmp_path: Path) -> None:
    parts = sorted(packed.iterdir())
    for part in parts[1:2] if harm == "missing" else parts if harm == "none" else ():
        part.unlink()
    if harm == "short":
        parts[-1].write_bytes(parts[-1].read_bytes()[:-100])
    done = run("unpack", packed, tmp_path / "there")
    assert done.returncode == 1
    assert done.stderr.startswith("bring: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "there").exists()


def test_parts_are_not_mixed(bring: ModuleType, packed: Path) -> None:
    with pytest.raises(SystemExit, match="holds parts already"):
        bring.cut(b"other", packed, 1)


def test_versions_are_those_of_here(bring: ModuleType) -> None:
    assert bring.wanted("numpy").startswith("numpy==")
    assert bring.wanted("no-such-package-of-xedge") == "no-such-package-of-xedge"


def test_what_packages_need_comes_along_but_not_pytorch(bring: ModuleType) -> None:
    found = bring.with_needs(["rich", "timm", "no-such-package-of-xedge"])
    assert {"rich", "pygments", "timm", "safetensors", "no-such-package-of-xedge"} <= set(found)
    assert len(found) == len(set(found))
    assert not {"torch", "torchvision", "numpy"} & set(found)


@pytest.mark.parametrize("args", [["--minutes", "soon"], ["--what"]])
def test_gpu_sh_says_how(args: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", FOLDER / "gpu.sh", *args], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "--minutes" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_gpu_sh_needs_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(
        "class cuda:\n    @staticmethod\n    def is_available(): return False\n"
    )
    done = subprocess.run(
        ["bash", FOLDER / "gpu.sh", "--out", tmp_path / "out"], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 1
    assert "PyTorch sees no GPU" in done.stderr
