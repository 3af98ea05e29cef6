"""ONNX Runtime: the portable back end, on CPUs and on NVIDIA GPUs."""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xedge.engines.base import Engine, TensorSpec, check_feeds, zero_feeds
from xedge.engines.threads import physical_cores
from xedge.errors import EngineLoadError, EngineNotInstalled, EngineRunError

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
}

_MULTIPLIES = re.compile(r"Conv|Gemm|MatMul")
_ARITHMETIC = {"float": "float32", "uint8": "int8"}


class OnnxRuntimeEngine:
    """A model in ONNX Runtime on the CPU. Threads do not spin between runs.

    Spinning gains 5 % on an idle machine and costs more than twice the median latency when one
    core is busy, which is the normal state of a lane.
    """

    provider: ClassVar[str] = "CPUExecutionProvider"
    extra: ClassVar[str] = "ort"

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        self._outputs = tuple(_spec(node) for node in session.get_outputs())
        self._names = [spec.name for spec in self._outputs]

    @classmethod
    def version(cls) -> str:
        """The library's version.

        Raises:
            EngineNotInstalled: When the library is absent or was built without the provider.
        """
        library = _library(cls.extra)
        if cls.provider not in library.get_available_providers():
            raise EngineNotInstalled(
                "the installed ONNX Runtime cannot drive this device",
                expected=cls.provider,
                found=", ".join(library.get_available_providers()),
                remedy="Run: pip uninstall onnxruntime && "
                f"pip install 'xedge[{cls.extra}]' (both own one Python module)",
            )
        return f"ONNX Runtime {library.__version__}"

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        """The engine of an ONNX file.

        Raises:
            EngineNotInstalled: When the library is absent.
            EngineLoadError: When the library refuses the model or the device.
        """
        return cls(cls._session_of(model, threads, _library(cls.extra).SessionOptions()))

    @classmethod
    def arithmetic(cls, model: bytes, threads: int | None) -> Mapping[str, int]:
        """What the layers ran in, by the library's own profile of one run; see `TellsArithmetic`.

        The profile names the kernels that ran, so it shows the casts around a float16 graph on
        a processor that has no float16.
        """
        options = _library(cls.extra).SessionOptions()
        options.enable_profiling = True
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = cls._session_of(model, threads, options)
            engine = cls(session)
            engine.run(zero_feeds(engine.inputs))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        types: Counter[str] = Counter()
        for event in events:
            told = event.get("args", {})
            if _MULTIPLIES.search(told.get("op_name", "")) and told.get("input_type_shape"):
                first = next(iter(told["input_type_shape"][0]))
                types[_ARITHMETIC.get(first, first)] += 1
        return types

    @classmethod
    def _device(cls, library: Any, options: Any) -> dict[str, Any]:
        """How a session is told where to run: arguments of it, or something in ``options``."""
        return {"providers": [cls.provider]}

    @classmethod
    def _session_of(cls, model: bytes, threads: int | None, options: Any) -> Any:
        cls.version()
        library = _library(cls.extra)
        options.intra_op_num_threads = threads or physical_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its own lines on stderr repeat what we raise
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            session = library.InferenceSession(model, options, **cls._device(library, options))
        except Exception as error:  # its exceptions share no base class but this
            raise EngineLoadError(
                "ONNX Runtime refused the model",
                expected="an ONNX file that this version can run",
                found=str(error),
                remedy="Export it again, or update onnxruntime",
            ) from error
        if cls.provider not in session.get_providers():
            raise EngineLoadError(
                "ONNX Runtime fell back to another device",
                expected=cls.provider,
                found=", ".join(session.get_providers()),
                remedy="Check the driver and the CUDA libraries",
            )
        return session

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._outputs

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name for one set of inputs; see `xedge.engines.base.Engine.run`."""
        check_feeds(self._inputs, feeds)
        if self._session is None:
            raise EngineRunError("the engine is closed", remedy="Load the model again")
        try:
            arrays = self._session.run(self._names, dict(feeds))
        except Exception as error:
            raise EngineRunError("ONNX Runtime failed while running", found=str(error)) from error
        return dict(zip(self._names, arrays, strict=True))

    def close(self) -> None:
        """Free the session; safe to call twice."""
        self._session = None


class OnnxRuntimeCudaEngine(OnnxRuntimeEngine):
    """A model in ONNX Runtime on an NVIDIA GPU (the package onnxruntime-gpu)."""

    provider = "CUDAExecutionProvider"
    extra = "ort-gpu"


def _library(extra: str) -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineNotInstalled(
            "ONNX Runtime is not installed", remedy=f"Run: pip install 'xedge[{extra}]'"
        ) from error


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES or not all(isinstance(side, int) for side in node.shape):
        raise EngineLoadError(
            f"tensor {node.name!r} of the model is outside the graph contract",
            expected=f"a static shape and one of {', '.join(_DTYPES)}",
            found=f"{node.type} {node.shape}",
            remedy="Export it with `xedge export`",
        )
    return TensorSpec(node.name, np.dtype(_DTYPES[node.type]), tuple(node.shape))
