"""What xedge needs of others, for a machine that reaches no package registry.

    python3 benchmarks/bring.py pack FOLDER --python 3.12     # where there is a registry
    python3 benchmarks/bring.py unpack FOLDER SITE            # where there is none

`pack` downloads wheels for the other machine's Python and writes them as parts of a size that can
be carried by hand; `unpack` joins them into a folder for PYTHONPATH. PyTorch, torchvision and NumPy
are not among them: they are there already, and another build would not fit the driver.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKAGES = (
    "click", "rich", "opencv-python-headless", "onnx", "onnx-ir", "onnxscript", "onnxruntime",
    "timm", "dacite", "tomli-w", "threadpoolctl", "scikit-learn", "cuda-core", "cuda-bindings",
    "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings",
)  # fmt: skip
"""What the benchmarks import; what those need in turn is looked up where they are installed."""

THERE = re.compile(r"torch|torchvision|numpy|triton|nvidia-.*|cuda-toolkit|setuptools|sympy")
"""What comes with PyTorch: another build would not fit the driver, or one another."""

RTX = "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"
"""The module `tensorrt_rtx`, which is a source distribution of its own."""
NAME = "site.part"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")


def pack(folder: Path, python: str, packages: Sequence[str], part_mib: int) -> list[Path]:
    """The parts that were written: one archive of all packages, cut into pieces."""
    with tempfile.TemporaryDirectory() as work:
        wheels, site = Path(work) / "wheels", Path(work) / "site"
        download(packages, python, wheels)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        if (site / "tensorrt_rtx_bindings").is_dir() and not (site / "tensorrt_rtx").exists():
            (site / "tensorrt_rtx").mkdir()
            (site / "tensorrt_rtx" / "__init__.py").write_text(RTX)
        return cut(compressed(site), folder, part_mib)


def download(packages: Sequence[str], python: str, wheels: Path) -> None:
    """Nothing; wheels for the other machine's Python lie in a folder, of the versions used here."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
               "--implementation", "cp", "--python-version", python, "-d", str(wheels)]  # fmt: skip
    for platform in PLATFORMS:
        command += ["--platform", platform]
    for name in packages:
        subprocess.run([*command, wanted(name)], check=True)


def with_needs(packages: Iterable[str]) -> list[str]:
    """The packages and all that they need, as far as it is installed here and not with PyTorch."""
    found: list[str] = []
    waiting = list(packages)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop(0)).lower()
        if name in found or THERE.fullmatch(name):
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            if name not in packages:  # its marker is for another system
                continue
            needs = []
        found.append(name)
        waiting += [
            re.split(r"[\s\[<>=!~;(]", need.strip())[0]
            for need in needs
            if not re.search(r"\bextra\s*==", need)
        ]
    return found


def wanted(name: str) -> str:
    """The requirement for a package: the version that is installed here, or any."""
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def compressed(site: Path) -> bytes:
    """A folder as an xz archive; x86 code is turned into what compresses better."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.add(site, ".")
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6,
                                         "dict_size": 1 << 26}]  # fmt: skip
    return lzma.compress(target.getvalue(), lzma.FORMAT_XZ, filters=filters)


def cut(content: bytes, folder: Path, part_mib: int) -> list[Path]:
    """The parts of an archive, in a folder that had none."""
    folder.mkdir(parents=True, exist_ok=True)
    if list(folder.glob(f"{NAME}*")):
        sys.exit(f"bring: {folder} holds parts already; name another folder")
    size, parts = part_mib << 20, []
    for number, begin in enumerate(range(0, len(content), size)):
        parts.append(folder / f"{NAME}{number:03d}")
        parts[-1].write_bytes(content[begin : begin + size])
    return parts


def unpack(folder: Path, site: Path) -> int:
    """The number of parts that were joined and unpacked."""
    parts = sorted(folder.glob(f"{NAME}*"))
    if not parts:
        sys.exit(f"bring: there is no {NAME}000 in {folder}; write it with `bring.py pack`")
    try:
        content = lzma.decompress(b"".join(part.read_bytes() for part in parts))
    except (lzma.LZMAError, EOFError) as error:
        sys.exit(f"bring: the {len(parts)} parts in {folder} make no archive ({error}); "
                 "one may be missing or cut short")  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        # Python before 3.10.12 and 3.11.4 cannot be told to refuse paths out of the folder.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(site, filter="data")
        else:
            archive.extractall(site)
    return len(parts)


def main(arguments: Sequence[str]) -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(prog="bring.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack")
    one.add_argument("folder", type=Path)
    one.add_argument("--python", default="3.12", help="of the other machine")
    one.add_argument("--part-mib", type=int, default=20, help="MiB of a part")
    one.add_argument("--package", action="append", help="this one, not the usual ones")
    other = commands.add_parser("unpack")
    other.add_argument("folder", type=Path)
    other.add_argument("site", type=Path)
    told = parser.parse_args(arguments)
    if told.command == "pack":
        packages = told.package or with_needs(PACKAGES)
        parts = pack(told.folder, told.python, packages, told.part_mib)
        size = sum(part.stat().st_size for part in parts)
        sys.stdout.write(f"{len(parts)} parts, {size / 2**20:.0f} MiB, in {told.folder}\n")
    else:
        count = unpack(told.folder, told.site)
        sys.stdout.write(f"unpacked {count} parts into {told.site}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
