"""libxedge as benchmarks call it, and what tests alone ask for: planes, windows, keys."""

from __future__ import annotations

import ctypes as c
from pathlib import Path

import numpy as np
from xedge_benchmarks import libxedge
from xedge_benchmarks.libxedge import NativeError, scan_of

from xedge.types import U8, U16, Detections

__all__ = ["Native", "NativeError"]


class Window(c.Structure):
    _fields_ = (
        ("struct_size", c.c_size_t), ("planes", c.c_void_p * 3), ("height", c.c_size_t),
        ("width", c.c_size_t), ("row_stride", c.c_size_t), ("pixel_stride", c.c_size_t),
    )  # fmt: skip


class Native(libxedge.Native):
    """The library in a file."""

    def planes(self, low: U16, high: U16, binning: int) -> U8:
        """What `xedge_planes` makes of two images that may have strides."""
        out = np.empty((3, low.shape[0] // binning, low.shape[1] // binning), np.uint8)
        self.call("xedge_planes", c.c_void_p(out.ctypes.data), c.c_size_t(out.size),
                  c.byref(scan_of(low, high)), binning)  # fmt: skip
        return out

    def open_bundle(self, content: bytes, public_key: bytes | None = None) -> c.c_void_p:
        """A handle of the bundle in ``content``, with a key (32 bytes) only when it is its."""
        if public_key is None:
            return super().open_bundle(content)
        bundle, size = c.c_void_p(), c.c_size_t(len(content))
        self.call("xedge_bundle_parse_signed", c.byref(bundle), content, size, public_key)
        return bundle

    def public_key(self, path: Path) -> bytes:
        """The 32 raw bytes of the key in a PEM file."""
        key = c.create_string_buffer(32)
        self.call("xedge_public_key", key, str(path).encode())
        return key.raw

    def detect_window(self, detector: c.c_void_p, planes: U8) -> Detections:
        """``planes`` uint8 ``[3, h, w]``, strided as numpy has it."""
        _, rows, pixels = planes.strides
        window = Window(c.sizeof(Window), (c.c_void_p * 3)(*(p.ctypes.data for p in planes)),
                        *planes.shape[1:], rows, pixels)  # fmt: skip
        return self.detected("xedge_detect_window", detector, window)
