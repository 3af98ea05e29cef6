"""Samples on disk, one file each, so that they are made once."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from xedge.train.sample import Sample

_DAMAGED: Final = (ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile)
"""What NumPy and zipfile raise at a file that is cut off or overwritten."""


def stored(path: Path, make: Callable[[], Sample]) -> Sample:
    """The sample in a file, made and written now where there is none or a damaged one.

    Several processes may ask for one file at once: a file is whole as soon as it has its name.

    Args:
        path: Where it lies, ``.npz``.
        make: Makes it.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except _DAMAGED:
        path.unlink(missing_ok=True)
    sample = make()
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(temporary, planes=sample.planes, boxes=sample.boxes,
             labels=sample.labels, levels=sample.levels,
             difficult=() if sample.difficult is None else sample.difficult,
             inside=() if sample.inside is None else sample.inside)  # fmt: skip
    temporary.replace(path)
    return sample


def _read(path: Path) -> Sample:
    # NumPy leaves a file that it opened itself open when it is damaged.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        difficult, inside = file["difficult"], tuple(int(side) for side in file["inside"])
        return Sample(
            file["planes"],
            file["boxes"],
            file["labels"],
            file["levels"],
            difficult if difficult.any() else None,
            (inside[0], inside[1]) if inside else None,
        )
