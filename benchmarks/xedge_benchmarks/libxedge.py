"""libxedge from Python: its functions through ctypes, and the file to call them in.

Only what a benchmark needs; structs are those of ``cmake/include/xedge/xedge.h``.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from xedge.errors import ConfigError, XedgeError
from xedge.native import find_libxedge
from xedge.types import U16, Detections
from xedge_benchmarks.record import checkout

DETECTION: Final = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i4")])
MOST_FOUND: Final = 1000
TOOLS: Final = (("cmake", "cmake"), ("c++", "g++"), ("make", "make"))
"""Programs that a build needs, and Debian's packages of them."""
_LAST_LINES: Final = 8


class Options(c.Structure):
    """``xedge_options``."""

    _fields_ = (
        ("struct_size", c.c_size_t), ("engine", c.c_char_p), ("library", c.c_char_p),
        ("variant", c.c_char_p), ("threads", c.c_int32), ("score_threshold", c.c_float),
        ("null_latency_us", c.c_uint32), ("reserved", c.c_uint32),
    )  # fmt: skip


class Scan(c.Structure):
    """``xedge_scan``."""

    _fields_ = (
        ("struct_size", c.c_size_t), ("low", c.c_void_p), ("high", c.c_void_p),
        ("lines", c.c_size_t), ("elements", c.c_size_t),
        ("low_stride", c.c_size_t), ("high_stride", c.c_size_t),
    )  # fmt: skip


class NativeError(XedgeError):
    """A call that failed: the library's sentence, and ``status``, its number."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Native:
    """The library in a file.

    Args:
        path: libxedge.so, of whatever name.

    Raises:
        ConfigError: When it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.library = c.CDLL(str(path))
            self.library.xedge_last_error.restype = c.c_char_p
            self.library.xedge_version.restype = c.c_char_p
        except (OSError, AttributeError) as error:
            raise ConfigError(f"{path} is no libxedge", found=str(error)) from error

    @property
    def version(self) -> str:
        """What the library says of itself."""
        return str(self.library.xedge_version().decode())

    def call(self, name: str, *arguments: Any) -> None:
        """Nothing; call a function that returns a status.

        Raises:
            NativeError: When it is not XEDGE_OK.
        """
        status = getattr(self.library, name)(*arguments)
        if status:
            raise NativeError(status, self.library.xedge_last_error().decode())

    def open_bundle(self, content: bytes) -> c.c_void_p:
        """A handle of the bundle in ``content``."""
        bundle, size = c.c_void_p(), c.c_size_t(len(content))
        self.call("xedge_bundle_parse", c.byref(bundle), content, size)
        return bundle

    def open_detector(self, bundle: c.c_void_p, **options: Any) -> c.c_void_p:
        """A handle of a detector; ``options`` are fields of `Options`, one thread if not said."""
        detector = c.c_void_p()
        chosen = Options(c.sizeof(Options), threads=1, score_threshold=-1.0)
        for key, value in options.items():
            setattr(chosen, key, value)
        self.call("xedge_detector_open", c.byref(detector), bundle, c.byref(chosen))
        return detector

    @contextlib.contextmanager
    def detector(self, content: bytes, **options: Any) -> Iterator[c.c_void_p]:
        """A detector on the bundle in ``content``, closed at the end; see `open_detector`."""
        bundle = self.open_bundle(content)
        try:
            detector = self.open_detector(bundle, **options)
        finally:
            self.call("xedge_bundle_close", bundle)
        try:
            yield detector
        finally:
            self.call("xedge_detector_close", detector)

    def engine_of(self, detector: c.c_void_p) -> str:
        """What a detector runs on, such as ``OpenVINO 2026.4.1``."""
        name = c.c_char_p()
        self.call("xedge_detector_engine", c.byref(name), detector)
        return (name.value or b"").decode()

    def detect_scan(self, detector: c.c_void_p, low: U16, high: U16) -> Detections:
        """What is found in corrected counts uint16 ``[lines, elements]``."""
        return self.detected("xedge_detect_scan", detector, scan_of(low, high))

    def detected(self, name: str, detector: c.c_void_p, given: c.Structure) -> Detections:
        """What a function of the library finds in a struct."""
        found, count = np.zeros(MOST_FOUND, DETECTION), c.c_size_t()
        self.call(name, detector, c.byref(given), c.c_void_p(found.ctypes.data),
                  c.c_size_t(found.size), c.byref(count))  # fmt: skip
        rows = found[: count.value]
        return Detections(rows["box"].copy(), rows["score"].copy(), rows["label"].copy())


def scan_of(low: U16, high: U16) -> Scan:
    """The struct of two images whose elements lie side by side; the images must outlive it."""
    return Scan(c.sizeof(Scan), low.ctypes.data, high.ctypes.data, *low.shape,
                low.strides[0], high.strides[0])  # fmt: skip


def library_to_measure() -> Path:
    """File of libxedge: in a checkout built of its sources, elsewhere the one that is installed.

    Raises:
        ConfigError: As `build_library` says, or when there is neither.
    """
    return build_library(build_folder()) if checkout() else find_libxedge().library


def build_library(folder: Path) -> Path:
    """File of libxedge, built of the checkout's sources; what is up to date is not built again.

    Args:
        folder: Of the build; it is kept.

    Raises:
        ConfigError: When this is no checkout, a tool is missing, or the build fails.
    """
    root = checkout()
    remedy = "Name a libxedge.so that was built elsewhere with --library"
    if root is None:
        raise ConfigError("libxedge cannot be built: its sources are in a checkout alone",
                          remedy=remedy)  # fmt: skip
    if missing := [package for program, package in TOOLS if shutil.which(program) is None]:
        raise ConfigError(
            "libxedge cannot be built",
            expected="cmake, a C++ compiler and make",
            found=f"no {', no '.join(missing)}",
            remedy=f"On Debian: apt-get install {' '.join(missing)}. {remedy}",
        )
    # The engine's library is the one that this Python loads: the same bits run for both.
    _done("cmake", "-S", str(root / "cmake"), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release",
          "-DBUILD_TESTING=OFF", f"-DXEDGE_PYTHON={sys.executable}")  # fmt: skip
    _done("cmake", "--build", str(folder), "--target", "xedge")
    return folder / "libxedge.so"


def build_folder() -> Path:
    """``xedge/libxedge/CHECKOUT`` in the user's cache folder (XDG).

    CMake refuses a folder in which it built from other sources, so each checkout has its own.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    sources = hashlib.sha256(str(checkout()).encode()).hexdigest()[:12]
    return Path(cache) / "xedge" / "libxedge" / sources


def _done(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise ConfigError(f"{command[0]} failed: libxedge was not built", found="\n".join(lines))
