from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.train.sample import Sample
from xedge.train.stored import stored


def sample(value: int = 7) -> Sample:
    boxes = np.array([[1, 2, 3, 4], [2, 2, 5, 6]], np.float32)
    labels, levels = np.array([3, 1], np.int32), np.array([0, 2], np.int32)
    planes, difficult = np.full((3, 8, 9), value, np.uint8), np.array([False, True])
    return Sample(planes, boxes, labels, levels, difficult, (8, 7))


def same(one: Sample, other: Sample) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(Sample)
    )


def unmade() -> Sample:
    raise AssertionError("it was to be read")


def test_a_sample_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "0.npz"
    assert same(stored(path, sample), sample())
    assert same(stored(path, unmade), sample())
    assert [p.name for p in tmp_path.iterdir()] == ["0.npz"]


def test_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    plain = dataclasses.replace(sample(), difficult=None, inside=None)
    stored(tmp_path / "0.npz", lambda: plain)
    read = stored(tmp_path / "0.npz", unmade)
    assert read.difficult is None
    assert read.inside is None


@pytest.mark.parametrize("left", ["nothing", "half", "text", "another archive", "strange header"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, left: str) -> None:
    path = tmp_path / "0.npz"
    stored(path, sample)
    whole = path.read_bytes()
    if left == "another archive":
        np.savez(path, planes=np.zeros(3))
    else:
        path.write_bytes(
            {
                "nothing": b"",
                "half": whole[: len(whole) // 2],
                "text": b"no archive",
                "strange header": whole.replace(b"descr", b"dexcr"),
            }[left]
        )
    assert same(stored(path, lambda: sample(9)), sample(9))
    assert same(stored(path, unmade), sample(9))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "0.npz"
    stored(path, sample)
    return path


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_single_byte_breaks_a_run(archive: Path, place: int, flip: int) -> None:
    whole = bytearray(archive.read_bytes())
    place %= len(whole)
    whole[place] ^= flip
    damaged = archive.with_name("damaged.npz")
    damaged.write_bytes(whole)
    got = stored(damaged, sample)
    assert same(got, sample())
