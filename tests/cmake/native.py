"""libxedge through ctypes: its header's structs, and calls that raise what the library says."""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge.types import U8, U16, Detections

DETECTION = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i4")])


class Options(c.Structure):
    _fields_ = (
        ("struct_size", c.c_size_t), ("engine", c.c_char_p), ("library", c.c_char_p),
        ("variant", c.c_char_p), ("threads", c.c_int32), ("score_threshold", c.c_float),
        ("null_latency_us", c.c_uint32), ("reserved", c.c_uint32),
    )  # fmt: skip


class Scan(c.Structure):
    _fields_ = (
        ("struct_size", c.c_size_t), ("low", c.c_void_p), ("high", c.c_void_p),
        ("lines", c.c_size_t), ("elements", c.c_size_t),
        ("low_stride", c.c_size_t), ("high_stride", c.c_size_t),
    )  # fmt: skip


class Window(c.Structure):
    _fields_ = (
        ("struct_size", c.c_size_t), ("planes", c.c_void_p * 3), ("height", c.c_size_t),
        ("width", c.c_size_t), ("row_stride", c.c_size_t), ("pixel_stride", c.c_size_t),
    )  # fmt: skip


class NativeError(Exception):
    """What a call answered that failed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Native:
    """The library in a file."""

    def __init__(self, path: Path) -> None:
        self.library = c.CDLL(str(path))
        self.library.xedge_last_error.restype = c.c_char_p

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            raise NativeError(status, self.library.xedge_last_error().decode())

    def planes(self, low: U16, high: U16, binning: int) -> U8:
        """What `xedge_planes` makes of two images that may have strides."""
        out = np.empty((3, low.shape[0] // binning, low.shape[1] // binning), np.uint8)
        self.call("xedge_planes", c.c_void_p(out.ctypes.data), c.c_size_t(out.size),
                  c.byref(scan_of(low, high)), binning)  # fmt: skip
        return out

    def open_bundle(self, content: bytes, public_key: bytes | None = None) -> c.c_void_p:
        """A handle of the bundle in ``content``, with a key (32 bytes) only when it is its."""
        bundle, size = c.c_void_p(), c.c_size_t(len(content))
        if public_key is None:
            self.call("xedge_bundle_parse", c.byref(bundle), content, size)
        else:
            self.call("xedge_bundle_parse_signed", c.byref(bundle), content, size, public_key)
        return bundle

    def public_key(self, path: Path) -> bytes:
        """The 32 raw bytes of the key in a PEM file."""
        key = c.create_string_buffer(32)
        self.call("xedge_public_key", key, str(path).encode())
        return key.raw

    def open_detector(self, bundle: c.c_void_p, **options: Any) -> c.c_void_p:
        detector = c.c_void_p()
        chosen = Options(c.sizeof(Options), threads=1, score_threshold=-1.0)
        for key, value in options.items():
            setattr(chosen, key, value)
        self.call("xedge_detector_open", c.byref(detector), bundle, c.byref(chosen))
        return detector

    def detect_scan(self, detector: c.c_void_p, low: U16, high: U16) -> Detections:
        return self._detect("xedge_detect_scan", detector, scan_of(low, high))

    def detect_window(self, detector: c.c_void_p, planes: U8) -> Detections:
        """``planes`` uint8 ``[3, h, w]``, strided as numpy has it."""
        _, rows, pixels = planes.strides
        window = Window(c.sizeof(Window), (c.c_void_p * 3)(*(p.ctypes.data for p in planes)),
                        *planes.shape[1:], rows, pixels)  # fmt: skip
        return self._detect("xedge_detect_window", detector, window)

    def _detect(self, name: str, detector: c.c_void_p, given: c.Structure) -> Detections:
        found, count = np.zeros(1000, DETECTION), c.c_size_t()
        self.call(name, detector, c.byref(given), c.c_void_p(found.ctypes.data),
                  c.c_size_t(found.size), c.byref(count))  # fmt: skip
        rows = found[: count.value]
        return Detections(rows["box"].copy(), rows["score"].copy(), rows["label"].copy())


def scan_of(low: npt.NDArray[np.uint16], high: npt.NDArray[np.uint16]) -> Scan:
    """The struct of two images whose elements lie side by side; the images must outlive it."""
    return Scan(c.sizeof(Scan), low.ctypes.data, high.ctypes.data, *low.shape,
                low.strides[0], high.strides[0])  # fmt: skip
