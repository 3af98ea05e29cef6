"""OpenVINO: the fastest back end on CPUs, and the one with bfloat16.

The precision is always set: left to itself OpenVINO takes bfloat16 on processors that have it,
and what looks like a model that drifted is then a model that was rounded.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xedge.engines.base import Engine, TensorSpec, check_feeds
from xedge.engines.build import Progress
from xedge.engines.cache import EngineCache
from xedge.engines.threads import physical_cores
from xedge.errors import EngineLoadError, EngineNotInstalled, EngineRunError

_CONVERTER = "openvino.tools.ovc"
_MULTIPLIES = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
_ARITHMETIC = {"f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16",
               "bf16": "bfloat16", "i8": "int8", "u8": "int8"}  # fmt: skip


class OpenVinoEngine:
    """A model in OpenVINO on the CPU, in float32."""

    precision: ClassVar[str] = "f32"

    def __init__(self, request: Any, model: Any) -> None:
        self._request = request
        self._inputs = tuple(_spec(port) for port in model.inputs)
        self._outputs = tuple(_spec(port) for port in model.outputs)

    @classmethod
    def version(cls) -> str:
        """The library's version.

        Raises:
            EngineNotInstalled: When the library is absent.
            EngineLoadError: When the processor lacks the precision.
        """
        library = _library()
        cls._require_precision(library.Core())
        # 2026.4.1-22982-e213a147257-releases/2026/4: the build number says nothing to a user.
        return f"OpenVINO {library.__version__.split('-')[0]}"

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        """The engine of an ONNX file.

        Raises:
            EngineNotInstalled: When the library is absent.
            EngineLoadError: When the library refuses the model, or the processor the precision.
        """
        compiled = cls._compile(model, threads)
        return cls(compiled.create_infer_request(), compiled)

    @classmethod
    def arithmetic(cls, model: bytes, threads: int | None) -> Mapping[str, int]:
        """What the layers run in, by the library's own execution graph; see `TellsArithmetic`."""
        types: Counter[str] = Counter()
        for node in cls._compile(model, threads).get_runtime_model().get_ops():
            told = {key: str(value.astype(str)) for key, value in node.get_rt_info().items()}
            if told.get("layerType") in _MULTIPLIES:
                precision = told.get("runtimePrecision", "").lower()
                types[_ARITHMETIC.get(precision, precision)] += 1
        return types

    @classmethod
    def facts(cls, threads: int | None) -> Mapping[str, str]:
        """What a plan depends on beside the model; the number of threads is set when it opens."""
        library = _library()
        processor = str(library.Core().get_property("CPU", "FULL_DEVICE_NAME"))
        return {"version": library.__version__, "device": processor, "precision": cls.precision}

    @classmethod
    def build(
        cls, model: bytes, threads: int | None, cache: EngineCache | None, progress: Progress
    ) -> bytes:
        """The compiled model as OpenVINO exports it; see `xedge.engines.build.PlanBackEnd`."""
        progress("compiling", 0.0)
        plan = io.BytesIO()
        cls._compile(model, threads).export_model(plan)
        progress("compiling", 1.0)
        return plan.getvalue()

    @classmethod
    def open(cls, plan: bytes, threads: int | None, cache: EngineCache | None) -> Engine:
        """The engine of an exported model; see `xedge.engines.build.PlanBackEnd`."""
        core = _library().Core()
        cls._require_precision(core)
        try:
            # As bytes: a stream is copied once more.
            compiled = core.import_model(plan, "CPU", cls._settings(threads))
            request = compiled.create_infer_request()
        except Exception as error:  # its exceptions share no base class but this
            raise EngineLoadError(
                "OpenVINO refused a model that it compiled before",
                expected="one of this version and processor",
                found=_first_line(error),
                remedy="Run: xedge compile --clear",
            ) from error
        return cls(request, compiled)

    @classmethod
    def _settings(cls, threads: int | None) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": cls.precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or physical_cores(),
        }

    @classmethod
    def _compile(cls, model: bytes, threads: int | None) -> Any:
        core = _library().Core()
        cls._require_precision(core)
        try:
            return core.compile_model(core.read_model(model), "CPU", cls._settings(threads))
        except Exception as error:  # its exceptions share no base class but this
            raise EngineLoadError(
                "OpenVINO refused the model",
                expected="an ONNX file that this version can compile",
                found=_first_line(error),
                remedy="Export it again, or try --engine onnxruntime",
            ) from error

    @classmethod
    def _require_precision(cls, core: Any) -> None:
        """Nothing: every processor has float32."""

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
        if self._request is None:
            raise EngineRunError("the engine is closed", remedy="Load the model again")
        try:
            results = self._request.infer(dict(feeds), share_inputs=True, share_outputs=False)
            return {
                spec.name: np.asarray(results[index]) for index, spec in enumerate(self._outputs)
            }
        except Exception as error:
            raise EngineRunError(
                "OpenVINO failed while running", found=_first_line(error)
            ) from error

    def close(self) -> None:
        """Free the request and with it the compiled model; safe to call twice."""
        self._request = None


class OpenVinoBf16Engine(OpenVinoEngine):
    """A model in OpenVINO on the CPU, in bfloat16: about twice as fast, where the CPU has it."""

    precision = "bf16"

    @classmethod
    def _require_precision(cls, core: Any) -> None:
        """Nothing; raise `EngineLoadError` on a processor without bfloat16.

        Asked for bfloat16 there, the library fails deep inside with a message of its own.
        """
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" not in capabilities:
            raise EngineLoadError(
                "this processor cannot compute in bfloat16",
                expected="AVX512-BF16 or AMX-BF16",
                found=", ".join(capabilities),
                remedy="Use --engine openvino",
            )


def _library() -> Any:
    """OpenVINO, without its converter of models until somebody asks for that.

    The converter, which no device needs, takes half of the library's import, and brings a client
    of Intel's telemetry into the process. The library does without it where it cannot be had.
    """
    spared = "openvino" not in sys.modules and _CONVERTER not in sys.modules
    if spared:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # what import takes as "none"
    try:
        library = importlib.import_module("openvino")
    except ImportError as error:
        raise EngineNotInstalled(
            "OpenVINO is not installed", remedy="Run: pip install 'xedge[openvino]'"
        ) from error
    finally:
        if spared:
            sys.modules.pop(_CONVERTER, None)
    if spared and not hasattr(library, "__getattr__"):
        library.__getattr__ = _convert_model_at_last  # type: ignore[method-assign]
    return library


def _convert_model_at_last(name: str) -> Any:
    """What `_library` spared, for others in this process who take it from ``openvino``."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return importlib.import_module(_CONVERTER).convert_model


def _first_line(error: Exception) -> str:
    # Its messages are a stack of "Exception from file:line" with the cause at the end.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _spec(port: Any) -> TensorSpec:
    if port.get_partial_shape().is_dynamic:
        raise EngineLoadError(
            f"tensor {port.get_any_name()!r} of the model is outside the graph contract",
            expected="a static shape",
            found=str(port.get_partial_shape()),
            remedy="Export it with `xedge export`",
        )
    dtype = np.dtype(port.get_element_type().to_dtype())
    return TensorSpec(port.get_any_name(), dtype, tuple(port.get_shape()))
