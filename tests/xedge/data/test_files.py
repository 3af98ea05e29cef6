from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from xedge.data.annotations import record
from xedge.data.files import files_digest, files_stamp
from xedge.data.image_set import ImageSet


def a_set(folder: Path, count: int = 6) -> ImageSet:
    """Files of ten bytes each."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{k}.png" for k in range(count)]
    for k, path in enumerate(paths):
        path.write_bytes(bytes([k] * 10))
    return ImageSet("s", "coco", ("a",), tuple(record(p.name, p, [], 1, group="g") for p in paths))


def test_the_digest_is_of_bytes_and_not_of_the_place(tmp_path: Path) -> None:
    one, other = a_set(tmp_path / "one"), a_set(tmp_path / "other")
    assert files_digest(one) == files_digest(other)
    assert len(files_digest(one)) == 64
    other.records[3].path.write_bytes(b"ten bytes.")
    assert files_digest(one) != files_digest(other)


def test_an_absent_file_is_part_of_the_digest(tmp_path: Path) -> None:
    images = a_set(tmp_path / "set")
    whole = files_digest(images), files_stamp(images)
    images.records[0].path.unlink()
    assert files_digest(images) != whole[0]
    assert files_stamp(images) != whole[1]


# 60 bytes, of which 20 may be read: every third file.
@pytest.mark.parametrize(("index", "seen"), [(0, True), (1, False), (2, False), (3, True)])
def test_of_a_large_set_a_part_is_read_and_every_size(
    tmp_path: Path, index: int, seen: bool
) -> None:
    images = a_set(tmp_path / "set")
    before, path = files_digest(images, 20), images.records[index].path
    path.write_bytes(b"ten bytes.")
    assert (files_digest(images, 20) != before) == seen
    path.write_bytes(b"eleven byte")
    assert files_digest(images, 21) != before


def test_the_stamp_follows_place_size_and_time(tmp_path: Path) -> None:
    one, other = a_set(tmp_path / "one"), a_set(tmp_path / "other")
    before, path = files_stamp(one), one.records[0].path
    assert before == files_stamp(one)
    assert before != files_stamp(other)
    state = path.stat()
    path.write_bytes(np.ones(10, np.uint8).tobytes())
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1000))
    assert files_stamp(one) != before
