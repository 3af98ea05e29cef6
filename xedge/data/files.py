"""What tells the files of a set's pictures from other files."""

from __future__ import annotations

import hashlib
import math
from typing import Final

from xedge.data.image_set import ImageSet

WHOLE_BYTES: Final = 5_000_000_000
"""Of a set that is larger, `files_digest` reads only a part of about this many bytes."""


def files_digest(images: ImageSet, limit: int = WHOLE_BYTES) -> str:
    """Sha256, 64 hex digits, of the pictures' bytes; not of where the set lies.

    Of a set of more than ``limit`` bytes it covers the sizes of all files, and the bytes of every
    k-th one, such that about ``limit`` bytes are read. An absent file counts as such.

    Args:
        images: The set; all its files are read.
        limit: Bytes.
    """
    sizes = [r.path.stat().st_size if r.path.is_file() else -1 for r in images.records]
    step = max(math.ceil(sum(sizes) / limit), 1)
    digest = hashlib.sha256()
    for k, (record, size) in enumerate(zip(images.records, sizes, strict=True)):
        digest.update(f"\n{record.name}\0{size}\0".encode())
        if size >= 0 and k % step == 0:
            digest.update(hashlib.sha256(record.path.read_bytes()).digest())
    return digest.hexdigest()


def files_stamp(images: ImageSet) -> str:
    """Sha256, 64 hex digits, of where the files lie, their sizes and when they were written.

    It costs no reading, and changes when a file is replaced; for caches on this machine.
    """
    digest = hashlib.sha256()
    for record in images.records:
        digest.update(f"\n{record.name}\0{record.path.resolve()}\0".encode())
        if record.path.is_file():
            state = record.path.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()
