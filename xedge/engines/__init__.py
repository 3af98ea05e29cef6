"""Engines: one protocol (`xedge.engines.base.Engine`), and a table of the back ends by name.

    onnxruntime         CPU; the portable default
    onnxruntime-cuda    NVIDIA GPU through ONNX Runtime
    onnxruntime-tensorrt, onnxruntime-tensorrt-rtx
                        NVIDIA GPU through ONNX Runtime's providers of TensorRT
    openvino            CPU in float32; chosen by ``auto`` where it is installed, for its speed
    openvino-bf16       CPU in bfloat16, on processors that have it
    tensorrt            NVIDIA GPU, TensorRT 10.3 to 11.4: Jetson, graphics cards, servers
    tensorrt-graph      the same, replayed as one CUDA graph
    tensorrt-weak       the same, precision left to TensorRT 10
    tensorrt-rtx        NVIDIA graphics cards of the RTX family
    tensorrt-rtx-graph  the same, replayed as one CUDA graph
    fake                no model at all: known answers, and faults on demand, for tests

The table holds strings: importing this module imports no library, and `load` only the one asked
for.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from xedge.engines.base import Engine, TellsArithmetic, TensorSpec
from xedge.engines.build import Building, Join, PlanBackEnd, joined, load_built_joined, only
from xedge.errors import EngineError, EngineLoadError, EngineNotInstalled

__all__ = [
    "AUTO",
    "BACK_ENDS",
    "Availability",
    "Building",
    "Engine",
    "TensorSpec",
    "available",
    "fingerprint",
    "load",
    "load_joined",
    "usable",
]

BACK_ENDS: Final[Mapping[str, str]] = types.MappingProxyType(
    {
        "onnxruntime": "xedge.engines.onnxruntime:OnnxRuntimeEngine",
        "onnxruntime-cuda": "xedge.engines.onnxruntime:OnnxRuntimeCudaEngine",
        "onnxruntime-tensorrt": "xedge.engines.onnxruntime_tensorrt:OnnxRuntimeTensorRtEngine",
        "onnxruntime-tensorrt-rtx": (
            "xedge.engines.onnxruntime_tensorrt:OnnxRuntimeTensorRtRtxEngine"
        ),
        "openvino": "xedge.engines.openvino:OpenVinoEngine",
        "openvino-bf16": "xedge.engines.openvino:OpenVinoBf16Engine",
        "tensorrt": "xedge.engines.tensorrt:TensorRtEngine",
        "tensorrt-graph": "xedge.engines.tensorrt:TensorRtGraphEngine",
        "tensorrt-weak": "xedge.engines.tensorrt:TensorRtWeakEngine",
        "tensorrt-rtx": "xedge.engines.tensorrt:TensorRtRtxEngine",
        "tensorrt-rtx-graph": "xedge.engines.tensorrt:TensorRtRtxGraphEngine",
        "fake": "xedge.engines.fake:FakeEngine",
    }
)
"""Name of a back end to ``module:class``."""

AUTO: Final = ("openvino", "onnxruntime")
"""What ``auto`` tries, in this order."""


class _BackEnd(Protocol):
    @staticmethod
    def version() -> str: ...

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine: ...


@dataclass(frozen=True)
class Availability:
    """Whether a back end can be used on this machine.

    Attributes:
        usable: True when its library is there and the processor or GPU has what it needs.
        detail: The library's version when usable, otherwise the reason and the remedy.
    """

    usable: bool
    detail: str

    def __str__(self) -> str:
        return self.detail


def available() -> dict[str, Availability]:
    """Every back end of the table, and whether it can be used here. Imports their libraries."""
    found = {}
    for name in BACK_ENDS:
        try:
            found[name] = Availability(True, _back_end(name).version())
        except EngineError as error:
            found[name] = Availability(False, str(error))
    return found


def fingerprint(name: str, threads: int | None = None) -> dict[str, str]:
    """What the speed and the answers of a back end depend on here: its version and its device.

    Raises:
        EngineError: When the back end cannot be used.
    """
    back_end = _back_end(name)
    if isinstance(back_end, PlanBackEnd):
        return dict(back_end.facts(threads))
    return {"version": back_end.version()}


def load(
    model: bytes | Path,
    name: str = "auto",
    threads: int | None = None,
    building: Building | None = None,
) -> Engine:
    """A loaded model that runs.

    Args:
        model: The ONNX file, as bytes or as a path.
        name: A back end of `BACK_ENDS`, or ``auto``: the first of `AUTO` that is installed.
        threads: Threads of one run; None for every physical core. Leave one to the detector's
            lines while a belt is screened: `xedge.engines.threads.lane_threads`.
        building: Where engines that are built on the device are kept, and what they must pass;
            None keeps nothing.

    Raises:
        EngineNotInstalled: When the library is absent.
        EngineLoadError: When the name is unknown, or the library refuses the model.
        EngineCacheError: When others could have written to where engines are kept.
    """
    content = model if isinstance(model, bytes) else _read(model)
    return load_joined((content,), name, threads, building, only)


def load_joined(
    models: Sequence[bytes],
    name: str,
    threads: int | None,
    building: Building | None,
    join: Join,
) -> Engine:
    """One engine of several models, as `load` of one.

    Args:
        models: ONNX files.
        name: As in `load`.
        threads: Threads of one run, of each.
        building: As in `load`; what must be passed is passed by the engine of them all.
        join: Makes one engine of theirs.

    Raises:
        EngineError: As `load` says, or as ``join`` does.
    """
    if threads is not None and threads < 1:
        raise EngineLoadError(
            "an engine cannot run on so few threads", expected="1 or more", found=str(threads)
        )
    name = usable()[0] if name == "auto" else name
    back_end = _back_end(name)
    if building is None or not isinstance(back_end, PlanBackEnd):
        return joined((functools.partial(back_end.load, m, threads) for m in models), join)
    return load_built_joined(back_end, name, models, threads, building, join)


def usable(name: str = "auto") -> tuple[str, str]:
    """The back end that a name stands for, and its library's version; imports no other library.

    Raises:
        EngineNotInstalled: When the library is absent.
        EngineError: When the name is unknown, or the back end cannot be used here.
    """
    if name != "auto":
        return name, _back_end(name).version()
    for choice in AUTO:
        try:
            return choice, _back_end(choice).version()
        except EngineError:
            continue
    raise EngineNotInstalled(
        "no library that runs models is installed",
        expected=" or ".join(AUTO),
        found="neither",
        remedy="Run: pip install 'xedge[cpu]'",
    )


def arithmetic(model: bytes, name: str, threads: int | None = None) -> dict[str, int] | None:
    """Type to number of layers of a model that really ran in it; None where that is not told.

    Raises:
        EngineError: When the back end cannot be used, or refuses the model.
    """
    back_end = _back_end(name)
    if not isinstance(back_end, TellsArithmetic):
        return None
    return dict(back_end.arithmetic(model, threads))


def _back_end(name: str) -> _BackEnd:
    if name not in BACK_ENDS:
        near = difflib.get_close_matches(name, BACK_ENDS, n=1)
        raise EngineLoadError(
            f"there is no engine {name!r}",
            expected=", ".join(["auto", *BACK_ENDS]),
            found=repr(name),
            remedy=f"Did you mean {near[0]!r}?" if near else "Choose one of these",
        )
    module, _, attribute = BACK_ENDS[name].partition(":")
    return cast(_BackEnd, getattr(importlib.import_module(module), attribute))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineLoadError(
            f"the model {path} cannot be read", found=error.strerror or str(error)
        ) from error
