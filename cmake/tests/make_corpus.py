"""What the fuzzer starts from: the parts of a bundle, each with the byte that chooses its parser.

Usage: python cmake/tests/make_corpus.py BUNDLE FOLDER
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from pathlib import Path

WHOLE, UNPACK, INFLATE, JSON, NPY = range(5)  # as fuzz_bundle.cpp has them
LARGEST = 200_000
"""Bytes of a seed: weights teach a fuzzer nothing."""


def main() -> None:
    """Nothing; the seeds are in the folder that was named."""
    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
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
