"""Correction files: what comes back, and what is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from xedge.errors import CorrectionError
from xedge.scanner.correctionfile import Correction, load_correction, save_correction
from xedge.scanner.flatfield import FlatField


def correction(elements: int = 8, serial: str = "D-7", lag: int = -2) -> Correction:
    rng = np.random.default_rng(elements)
    shape = (2, elements)
    dead = np.zeros(shape, np.bool_)
    dead[1, 3] = True
    flat = FlatField(rng.uniform(400, 600, shape).astype(np.float32),
                     rng.uniform(1, 2, shape).astype(np.float32), dead, (0.0, 0.25))  # fmt: skip
    return Correction(flat, serial, lag)


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "d7.xflat"
    saved = save_correction(path, correction())
    loaded = load_correction(path)
    for name in ("offset", "gain", "dead"):
        np.testing.assert_array_equal(
            getattr(loaded.flat_field, name), getattr(saved.flat_field, name)
        )
    assert loaded.flat_field.saturated_share == (0.0, 0.25)
    assert (loaded.serial, loaded.lag_lines) == ("D-7", -2)
    assert loaded.made_utc == saved.made_utc != ""
    assert [p.name for p in tmp_path.iterdir()] == ["d7.xflat"]
    assert path.read_bytes()[:20] == b"\x89XFLAT\n\x1a" + struct.pack(
        "<HHII", 1, 2, 8, path.stat().st_size - 20 - 18 * 8 - 4
    )


def test_another_detectors_correction_is_refused_by_serial_and_by_width() -> None:
    mine = correction()
    assert mine.check(8, "D-7", "it") is mine
    assert mine.check(8, "", "it") is mine  # a detector that does not say
    with pytest.raises(CorrectionError, match=r"d7 is .*another.*serial D-8, 8.*serial D-7, 8"):
        mine.check(8, "D-8", "d7")
    with pytest.raises(CorrectionError, match=r"another.*serial D-7, 9 elements.*D-7, 8 elements"):
        mine.check(9, "D-7", "d7")


def test_every_flipped_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "d7.xflat"
    save_correction(path, correction())
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        with pytest.raises(CorrectionError):
            load_correction(path)
        path.write_bytes(good[:at])
        with pytest.raises(CorrectionError):
            load_correction(path)


def test_what_is_sealed_and_still_no_correction(tmp_path: Path) -> None:
    path = tmp_path / "d7.xflat"
    save_correction(path, correction())
    body = path.read_bytes()[:-4]
    for changed, said in (
        (body[:8] + b"\x02" + body[9:], "another version.*found version 2"),
        (body[:12] + b"\x09" + body[13:], "cannot be a correction"),
        (body.replace(b'"serial"', b'"serail"'), "metadata.*serial"),
        (body.replace(b'"lag_lines": -2', b'"lag_lines": 99'), "lag of the energies.*99"),
    ):
        assert len(changed) == len(body)
        path.write_bytes(sealed(changed))
        with pytest.raises(CorrectionError, match=said):
            load_correction(path)
    with pytest.raises(CorrectionError, match=r"cannot be read.*xedge flatfield make"):
        load_correction(tmp_path / "none")
    path.write_bytes(b"something else entirely")
    with pytest.raises(CorrectionError, match="no correction file"):
        load_correction(path)
    with pytest.raises(CorrectionError, match="cannot be written"):
        save_correction(tmp_path / "none" / "it", correction())
