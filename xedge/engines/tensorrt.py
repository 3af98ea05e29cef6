"""TensorRT 10.3 to 11.4 and TensorRT-RTX: plans built on the device, run on a stream of their own.

    tensorrt             the graph's own precision (strongly typed)
    tensorrt-graph       the same, replayed as one CUDA graph
    tensorrt-weak        10.x alone: FP16 and INT8 chosen by the library, layer by layer
    tensorrt-rtx         TensorRT-RTX, for graphics cards of the RTX family
    tensorrt-rtx-graph   the same, as one CUDA graph

Nothing of this was ever run on a GPU by xedge's makers; the build was, for TensorRT-RTX, and the
rest against stand-ins that have the names of each version and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xedge.engines.base import Engine, TensorSpec, check_feeds
from xedge.engines.build import Progress, silent
from xedge.engines.cache import EngineCache
from xedge.engines.cuda import Exchange, Gpu, open_gpu
from xedge.engines.tensorrt_api import Api, failed, make_logger, open_api
from xedge.engines.tensorrt_build import BuildOptions, arithmetic_of, build_plan
from xedge.errors import EngineCacheError, EngineLoadError, EngineRunError


class TensorRtEngine:
    """A plan of TensorRT that runs on the first GPU.

    Args:
        api: The library.
        gpu: The device that the plan was built on.
        plan: The engine, serialised.
        graph: True replays one CUDA graph a run.
        kernels: Kernels that were compiled before, as `keep` was given them.
        keep: Called with the compiled kernels when a run compiled more of them.
    """

    module: ClassVar[str] = "tensorrt"
    name: ClassVar[str] = "TensorRT"
    extra: ClassVar[str] = "tensorrt"
    graph: ClassVar[bool] = False
    weak: ClassVar[bool] = False

    def __init__(
        self,
        api: Api,
        gpu: Gpu,
        plan: bytes,
        *,
        graph: bool = False,
        kernels: bytes = b"",
        keep: Callable[[bytes], None] | None = None,
    ) -> None:
        self._api, self._gpu, self._keep = api, gpu, keep
        self._logger = make_logger(api)
        self._closing = contextlib.ExitStack()
        self._context: Any = None
        self._kernel_cache: Any = None
        self._replay: Any = None
        # Where graphs are a setting of the library, nothing is captured here.
        self._captures = graph and not api.features.own_graphs
        with contextlib.ExitStack() as undo:
            undo.callback(self._closing.close)
            self._open(plan, graph, kernels)
            undo.pop_all()
        self._kept_kernels = kernels
        self._warm = False

    @classmethod
    def version(cls) -> str:
        """The library's version and the GPU's name.

        Raises:
            EngineNotInstalled: When the library or cuda-core is absent.
            EngineLoadError: When there is no GPU, or this version lacks what the back end needs.
        """
        api = open_api(cls.module, cls.name, cls.extra)
        if cls.weak and not api.features.weak_typing:
            raise EngineLoadError(
                f"{api.name} {api.version} does not choose precisions by itself",
                expected="TensorRT 10",
                remedy="Use --engine tensorrt",
            )
        return f"{api.name} {api.version} on {open_gpu(cls.extra).name}"

    @classmethod
    def facts(cls, threads: int | None) -> Mapping[str, str]:
        """What a plan depends on beside the model."""
        api, gpu = open_api(cls.module, cls.name, cls.extra), open_gpu(cls.extra)
        major, minor = gpu.capability
        return {
            "version": api.version,
            "device": gpu.name,
            "compute_capability": f"{major}.{minor}",
            "platform": f"{platform.system()} {platform.machine()}",
            "options": cls._options(api, gpu).text,
        }

    @classmethod
    def build(
        cls, model: bytes, threads: int | None, cache: EngineCache | None, progress: Progress
    ) -> bytes:
        """The plan of an ONNX file; see `xedge.engines.build.PlanBackEnd`.

        What was timed while building is kept beside the plans: a second model of the same layers
        builds faster, and takes the same kernels.
        """
        api, gpu = open_api(cls.module, cls.name, cls.extra), open_gpu(cls.extra)
        facts = {"kind": "timings", "module": cls.module, **cls.facts(threads)}
        before = (cache.get(facts) if cache else None) or b""
        built = build_plan(api, model, cls._options(api, gpu), before, progress)
        if cache and built.timings and built.timings != before:
            with contextlib.suppress(EngineCacheError):  # a full disk costs the next build time
                cache.put(facts, built.timings)
        return built.plan

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        """The engine of an ONNX file, built for this run alone: minutes, where nothing is kept."""
        return cls.open(cls.build(model, threads, None, silent), threads, None)

    @classmethod
    def open(cls, plan: bytes, threads: int | None, cache: EngineCache | None) -> Engine:
        """The engine of a plan; see `xedge.engines.build.PlanBackEnd`."""
        api, gpu = open_api(cls.module, cls.name, cls.extra), open_gpu(cls.extra)
        if cache is None or not api.features.kernel_cache:
            return cls(api, gpu, plan, graph=cls.graph)
        # Kernels of RTX are compiled by the driver's compiler: what is kept holds for one plan.
        facts = {"kind": "kernels", "module": cls.module, "plan": _digest(plan)}
        facts.update(cls.facts(threads))

        def keep(kernels: bytes) -> None:
            with contextlib.suppress(EngineCacheError):
                cache.put(facts, kernels)

        return cls(api, gpu, plan, graph=cls.graph, kernels=cache.get(facts) or b"", keep=keep)

    @classmethod
    def arithmetic(cls, model: bytes, threads: int | None) -> Mapping[str, int]:
        """What convolutions read, by the layers of a plan; see `TellsArithmetic`.

        Raises:
            EngineLoadError: When the library does not tell its layers while it builds.
        """
        api, gpu = open_api(cls.module, cls.name, cls.extra), open_gpu(cls.extra)
        # Full TensorRT describes layers in another form, and would build for minutes to do so.
        if not api.features.targets:
            raise EngineLoadError(
                f"{api.name} does not tell what it computes in",
                remedy="Look at the plan with trtexec --exportLayerInfo",
            )
        return arithmetic_of(build_plan(api, model, cls._options(api, gpu)).layers)

    @classmethod
    def _options(cls, api: Api, gpu: Gpu) -> BuildOptions:
        major, minor = gpu.capability
        target = f"SM{major}{minor}"
        known = api.features.targets and hasattr(api.trt.ComputeCapability, target)
        return BuildOptions(weak=cls.weak, targets=(target,) if known else ())

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
        if self._context is None:
            raise EngineRunError("the engine is closed", remedy="Load the model again")
        try:
            self._gpu.make_current()
            for name, array in feeds.items():
                np.copyto(self._memory[name].host, array)
            self._launch()
            self._stream.sync()
        except EngineRunError:
            raise
        except Exception as error:  # the driver's own errors share no base class but this
            raise EngineRunError(f"{self._api.name} failed while running", found=str(error)) from (
                error
            )
        if not self._warm:
            self._warm = True
            self._keep_kernels()
        return {spec.name: self._memory[spec.name].host.copy() for spec in self._outputs}

    def close(self) -> None:
        """Free the context, its memory and its stream; safe to call twice."""
        if self._context is None:
            return
        self._gpu.make_current()
        self._context = self._cuda_engine = self._kernel_cache = self._replay = None
        self._closing.close()

    def _open(self, plan: bytes, graph: bool, kernels: bytes) -> None:
        api, trt = self._api, self._api.trt
        runtime = trt.Runtime(self._logger)
        if api.features.validity:
            validity, reasons = runtime.get_engine_validity(plan)
            if validity == trt.EngineValidity.INVALID:
                self._logger.errors.append(str(reasons))
                raise self._foreign()
        cuda_engine = runtime.deserialize_cuda_engine(plan)
        if cuda_engine is None:
            raise self._foreign()
        self._inputs, self._outputs = _specs(api, cuda_engine)
        context = self._make_context(cuda_engine, graph, kernels)
        if context is None:
            raise failed(
                EngineLoadError,
                f"{api.name} has no room for the model",
                self._logger,
                expected="free memory on the GPU",
                remedy="Close other programs that use the GPU",
            )
        self._stream = self._gpu.stream()
        self._closing.callback(self._stream.close)
        self._memory: dict[str, Exchange] = {}
        for spec in (*self._inputs, *self._outputs):
            memory = self._memory[spec.name] = self._gpu.exchange(spec, self._stream)
            self._closing.callback(memory.close)
            if not context.set_tensor_address(spec.name, memory.address):
                raise failed(EngineLoadError, f"{api.name} refused memory", self._logger)
        # The runtime must outlive the engine, and the engine its context.
        self._context, self._cuda_engine, self._runtime = context, cuda_engine, runtime

    def _make_context(self, cuda_engine: Any, graph: bool, kernels: bytes) -> Any:
        trt, features = self._api.trt, self._api.features
        # Settings came with 10.13; without what RTX has they would only make a second way to go.
        if not features.kernel_cache:
            return cuda_engine.create_execution_context()
        settings = cuda_engine.create_runtime_config()
        kernel_cache = self._kernel_cache = settings.create_runtime_cache()
        if kernels:
            kernel_cache.deserialize(kernels)  # refused ones are compiled again
        settings.set_runtime_cache(kernel_cache)
        if graph and features.own_graphs:
            settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return cuda_engine.create_execution_context(settings)

    def _launch(self) -> None:
        """Queue one run on the stream: uploads, kernels, downloads."""
        if self._captures and self._warm:
            if self._replay is None:
                self._replay = self._capture()
            self._replay.launch(self._stream)
        else:
            # The first run allocates and compiles what it needs, which cannot be captured.
            self._enqueue(self._stream, self._stream)

    def _capture(self) -> Any:
        building = self._stream.create_graph_builder().begin_building("thread_local")
        self._enqueue(building, building.stream)
        replay = building.end_building().complete()
        self._closing.callback(replay.close)
        replay.upload(self._stream)
        return replay

    def _enqueue(self, copies: Any, stream: Any) -> None:
        """Queue one run: ``copies`` is the stream, or what records it; ``stream`` the stream."""
        context = self._context
        for spec in self._inputs:
            self._memory[spec.name].upload(copies)
        if not context.execute_async_v3(int(stream.handle)):
            raise failed(EngineRunError, f"{self._api.name} failed while running", self._logger)
        for spec in self._outputs:
            self._memory[spec.name].download(copies)

    def _keep_kernels(self) -> None:
        """Hand over the kernels that the first run compiled."""
        kernel_cache = self._kernel_cache
        if kernel_cache is None or self._keep is None:
            return
        kernels = bytes(kernel_cache.serialize() or b"")
        if kernels and kernels != self._kept_kernels:
            self._keep(kernels)

    def _foreign(self) -> EngineLoadError:
        return failed(
            EngineLoadError,
            f"{self._api.name} {self._api.version} cannot open the plan",
            self._logger,
            expected=f"one built by this version on {self._gpu.name}",
            remedy="Run: xedge compile --rebuild",
        )


class TensorRtGraphEngine(TensorRtEngine):
    """The same, replayed as one CUDA graph: less work for the processor a run."""

    graph = True


class TensorRtWeakEngine(TensorRtEngine):
    """TensorRT 10 that chooses FP16, and INT8 where the graph has scales, layer by layer."""

    weak = True


class TensorRtRtxEngine(TensorRtEngine):
    """TensorRT-RTX: plans build in seconds, kernels are compiled when the plan is opened."""

    module = "tensorrt_rtx"
    name = "TensorRT-RTX"
    extra = "tensorrt-rtx"


class TensorRtRtxGraphEngine(TensorRtRtxEngine):
    """The same, replayed as one CUDA graph."""

    graph = True


def _digest(plan: bytes) -> str:
    return hashlib.sha256(plan).hexdigest()


def _specs(api: Api, cuda_engine: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a plan."""
    trt, dtypes = api.trt, api.dtypes()
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(cuda_engine.num_io_tensors):
        name = cuda_engine.get_tensor_name(index)
        shape = tuple(int(side) for side in cuda_engine.get_tensor_shape(name))
        kind = cuda_engine.get_tensor_dtype(name)
        if kind not in dtypes or min(shape, default=0) < 0:
            raise EngineLoadError(
                f"tensor {name!r} of the model is outside the graph contract",
                expected=f"a static shape and one of {', '.join(map(str, dtypes.values()))}",
                found=f"{kind} {list(shape)}",
                remedy="Export it with `xedge export`",
            )
        is_input = cuda_engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(TensorSpec(name, dtypes[kind], shape))
    return tuple(inputs), tuple(outputs)
