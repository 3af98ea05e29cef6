"""TensorRT and TensorRT-RTX as execution providers of ONNX Runtime.

    onnxruntime-tensorrt      in the package onnxruntime-gpu, beside an installed TensorRT 10
    onnxruntime-tensorrt-rtx  a plug-in beside the package onnxruntime (1.24 or newer)

ONNX Runtime gives the provider what it can take of a graph and runs the rest elsewhere. The
engines that the provider built come back within a model ("EP context"), which is what is kept as
the plan. None of this was ever run on a GPU by xedge's makers.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from xedge.engines.base import Engine
from xedge.engines.build import Progress
from xedge.engines.cache import EngineCache
from xedge.engines.onnxruntime import OnnxRuntimeEngine
from xedge.errors import EngineLoadError, EngineNotInstalled
from xedge.machine import read_machine


class OnnxRuntimeTensorRtEngine(OnnxRuntimeEngine):
    """A model in ONNX Runtime's TensorRT provider, the rest of it on CUDA.

    The provider chooses the types of an FP16 graph by itself: its networks are weakly typed unless
    a newer ONNX Runtime makes them otherwise, which the golden answer judges.
    """

    provider = "TensorrtExecutionProvider"
    extra = "ort-gpu"

    @classmethod
    def facts(cls, threads: int | None) -> Mapping[str, str]:
        """What a plan depends on beside the model."""
        return {"version": cls.version(), "device": "; ".join(read_machine().gpus)}

    @classmethod
    def build(
        cls, model: bytes, threads: int | None, cache: EngineCache | None, progress: Progress
    ) -> bytes:
        """The model with the provider's engines in it; see `xedge.engines.build.PlanBackEnd`."""
        cls.version()
        library = importlib.import_module("onnxruntime")
        if not hasattr(library, "ModelCompiler"):
            raise EngineLoadError(
                "this ONNX Runtime cannot keep what its provider builds",
                expected="1.22 or newer",
                found=library.__version__,
                remedy="Update it, or use --engine tensorrt",
            )
        options = library.SessionOptions()
        options.log_severity_level = 4  # its own lines on stderr repeat what we raise
        progress("compiling", 0.0)
        try:
            for name, settings in cls._compilers(library, options):
                options.add_provider(name, settings)
            compiler = library.ModelCompiler(options, model, embed_compiled_data_into_model=True)
            plan = bytes(compiler.compile_to_bytes())
        except Exception as error:  # its exceptions share no base class but this
            raise EngineLoadError(
                "ONNX Runtime could not compile the model",
                expected=f"a graph that {cls.provider} takes",
                found=str(error),
                remedy="Try another precision or engine",
            ) from error
        progress("compiling", 1.0)
        return plan

    @classmethod
    def open(cls, plan: bytes, threads: int | None, cache: EngineCache | None) -> Engine:
        """The engine of a compiled model; see `xedge.engines.build.PlanBackEnd`."""
        return cls.load(plan, threads)

    @classmethod
    def arithmetic(cls, model: bytes, threads: int | None) -> Mapping[str, int]:
        """Nothing: the provider does not tell what its engines compute in.

        Raises:
            EngineLoadError: Always.
        """
        raise EngineLoadError(
            f"{cls.provider} does not tell what it computes in", remedy="Use --engine tensorrt"
        )

    @classmethod
    def _compilers(cls, library: Any, options: Any) -> list[tuple[str, dict[str, str]]]:
        """Providers that are added by name while compiling."""
        return [(cls.provider, {})]

    @classmethod
    def _device(cls, library: Any, options: Any) -> dict[str, Any]:
        return {"providers": [cls.provider, "CUDAExecutionProvider", "CPUExecutionProvider"]}


class OnnxRuntimeTensorRtRtxEngine(OnnxRuntimeTensorRtEngine):
    """A model in NVIDIA's plug-in of ONNX Runtime for TensorRT-RTX."""

    provider = "NvTensorRTRTXExecutionProvider"
    extra = "ort"

    @classmethod
    def version(cls) -> str:
        """The versions of ONNX Runtime and of the plug-in.

        Raises:
            EngineNotInstalled: When one of them is absent, or finds no GPU.
        """
        library, plugin = cls._plugin()
        cls._devices(library, plugin)
        return f"ONNX Runtime {library.__version__} with {cls.provider}"

    @classmethod
    def _plugin(cls) -> tuple[Any, Any]:
        try:
            library = importlib.import_module("onnxruntime")
            return library, importlib.import_module("onnxruntime_ep_nv_tensorrt_rtx")
        except ImportError as error:
            raise EngineNotInstalled(
                "ONNX Runtime's plug-in for TensorRT-RTX is not installed",
                expected="the packages onnxruntime and onnxruntime-ep-nv-tensorrt-rtx",
                found=str(error),
                remedy="Run: pip install 'xedge[ort]' onnxruntime-ep-nv-tensorrt-rtx",
            ) from error

    @classmethod
    def _devices(cls, library: Any, plugin: Any) -> list[Any]:
        """The GPUs that the plug-in drives; it is registered once a process."""
        name = str(plugin.get_ep_name())
        try:
            found = [device for device in library.get_ep_devices() if device.ep_name == name]
            if not found:
                library.register_execution_provider_library(name, plugin.get_library_path())
                found = [device for device in library.get_ep_devices() if device.ep_name == name]
        except Exception as error:  # its exceptions share no base class but this
            raise EngineNotInstalled(
                "ONNX Runtime's plug-in for TensorRT-RTX cannot be loaded",
                expected="a GPU, its driver, and ONNX Runtime 1.24 or newer",
                found=str(error),
                remedy="Check `nvidia-smi`, and: pip install -U onnxruntime",
            ) from error
        if not found:
            raise EngineNotInstalled(
                "ONNX Runtime's plug-in for TensorRT-RTX finds no GPU",
                expected="an NVIDIA GPU of compute capability 8.0 or newer",
                remedy="Check `nvidia-smi`",
            )
        return found

    @classmethod
    def _compilers(cls, library: Any, options: Any) -> list[tuple[str, dict[str, str]]]:
        cls._device(library, options)
        return []

    @classmethod
    def _device(cls, library: Any, options: Any) -> dict[str, Any]:
        options.add_provider_for_devices(cls._devices(*cls._plugin()), {})
        return {}
