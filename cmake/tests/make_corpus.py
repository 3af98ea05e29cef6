"""What the fuzzers start from, in FOLDER/bundle and FOLDER/strip.

The parts of a bundle, each with the byte that chooses its parser; and a small strip file with each
byte that says which CRCs are made right.

Usage: python cmake/tests/make_corpus.py BUNDLE FOLDER
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.types import Strip

WHOLE, UNPACK, INFLATE, JSON, NPY = range(5)  # as fuzz_bundle.cpp has them
LARGEST = 200_000
"""Bytes of a seed: weights teach a fuzzer nothing."""


REPAIRS = range(8)  # as fuzz_strip.cpp has them


def main() -> None:
    """Nothing; the seeds are in the folder that was named."""
    folder = Path(sys.argv[2])
    for name in ("bundle", "strip"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    from_bundle(Path(sys.argv[1]), folder / "bundle")
    from_strip(folder / "strip")


def from_strip(folder: Path) -> None:
    """Nothing; seeds of a strip file with both runs and two strips."""
    path = folder.parent / "seed.xstrip"
    counts = np.arange(6, dtype=np.uint16).reshape(2, 3)
    with StripWriter(path, StripFileHeader(3, 0.62, 1.5, 0.2)) as writer:
        writer.write_run("dark", counts, counts)
        writer.write_run("air", counts, counts)
        for first in (0, 2):
            writer.write(Strip(first, np.arange(2, dtype=np.int64), counts, counts, first))
    for which in REPAIRS:
        (folder / f"repair-{which}").write_bytes(bytes([which]) + path.read_bytes())


def from_bundle(bundle: Path, folder: Path) -> None:
    """Nothing; seeds of a bundle and of what is in it."""
    seeds = {"whole": (WHOLE, bundle.read_bytes()), "unpack": (UNPACK, bundle.read_bytes())}
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            stem = name.replace("/", "-")
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(data) + packer.flush()
            seeds[f"{stem}.deflate"] = (INFLATE + 5 * 50, packed)
            if name.endswith(".json"):
                seeds[stem] = (JSON, data)
            if name.endswith(".npy"):
                seeds[stem] = (NPY, data)
    for name, (parser, data) in seeds.items():
        if len(data) <= LARGEST:
            (folder / name).write_bytes(bytes([parser]) + data)


if __name__ == "__main__":
    main()
