"""Stand-ins for TensorRT and cuda-core on a machine without a GPU.

The stand-in of a version has the names of that version (tensorrt_names.json) and no others, so
that a name which came later fails here as it would there. Copies and kernels wait in their stream
until somebody synchronises it, and memory of the "GPU" is other memory than the host's, so that a
forgotten copy or wait gives wrong answers. What it cannot show is that the real library agrees.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DIGEST = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
VERSIONS: list[str] = DIGEST["versions"]
ENUMS = {"BuilderFlag", "ComputeCapability", "CudaGraphStrategy", "DataType", "EngineValidity",
         "MemoryPoolType", "NetworkDefinitionCreationFlag", "ProfilingVerbosity",
         "TensorIOMode"}  # fmt: skip


def names_of(kind: str, version: str) -> set[str]:
    """Names that a class has in a version; empty where the version has no such class."""
    place = VERSIONS.index(version)
    return {name for name, there in DIGEST["names"].get(kind, {}).items() if there[place] == "1"}


class Stream:
    """Work in order, done when somebody waits for it."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._queue, self.recording = cuda, [], None
        self.handle = cuda.register(self)
        self.closed = False

    def push(self, work: Callable[[], None]) -> None:
        assert not self.closed
        (self._queue if self.recording is None else self.recording).append(work)

    def sync(self) -> None:
        assert self.recording is None, "a stream that is captured cannot be waited for"
        queue, self._queue = self._queue, []
        for work in queue:
            work()

    def close(self) -> None:
        self.closed = True

    def create_graph_builder(self) -> GraphBuilder:
        return GraphBuilder(self)


class GraphBuilder:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def begin_building(self, mode: str) -> GraphBuilder:
        assert mode in {"global", "thread_local", "relaxed"}
        self.stream.recording = []
        return self

    def push(self, work: Callable[[], None]) -> None:
        self.stream.push(work)

    def end_building(self) -> GraphBuilder:
        self._work, self.stream.recording = self.stream.recording, None
        return self

    def complete(self) -> Graph:
        return Graph(self._work)


class Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work

    def upload(self, stream: Stream) -> None:
        assert stream.recording is None

    def launch(self, stream: Stream) -> None:
        stream._cuda.launches += 1
        for work in self._work:
            stream.push(work)

    def close(self) -> None: ...


class Buffer:
    def __init__(self, cuda: Cuda, size: int) -> None:
        assert size > 0
        self._memory = (ctypes.c_uint8 * size)(*([0xEE] * size))
        self.handle = ctypes.addressof(self._memory)
        self.size, self._cuda = size, cuda
        cuda.buffers.append(self)

    def copy_from(self, source: Buffer, *, stream: Stream | GraphBuilder) -> None:
        assert source.size == self.size
        stream.push(lambda: ctypes.memmove(self.handle, source.handle, self.size))

    def close(self) -> None:
        self._cuda.buffers.remove(self)


class Cuda:
    """The module cuda.core, of one GPU."""

    def __init__(self, capability: tuple[int, int], integrated: bool) -> None:
        self.buffers: list[Buffer] = []
        self.launches = 0
        self.current: set[int] = set()
        self.allocated_on_device = 0
        self._streams: dict[int, Stream] = {}
        cuda, there = self, types.SimpleNamespace

        class Device:
            name = "a stand-in"
            compute_capability = there(major=capability[0], minor=capability[1])
            properties = there(
                integrated=integrated, can_map_host_memory=True, unified_addressing=True
            )

            def __init__(self, index: int) -> None:
                assert index == 0

            def set_current(self) -> None:
                cuda.current.add(threading.get_ident())

            def create_stream(self, *, options: object) -> Stream:
                assert options.nonblocking  # type: ignore[attr-defined]
                return Stream(cuda)

            def allocate(self, size: int, *, stream: Stream) -> Buffer:
                cuda.allocated_on_device += 1
                return Buffer(cuda, size)

        class Pinned:
            def allocate(self, size: int) -> Buffer:
                return Buffer(cuda, size)

        self.Device, self.LegacyPinnedMemoryResource = Device, Pinned
        self.StreamOptions = lambda *, nonblocking: there(nonblocking=nonblocking)

    def register(self, stream: Stream) -> int:
        self._streams[len(self._streams) + 1] = stream
        return len(self._streams)

    def stream(self, handle: int) -> Stream:
        assert isinstance(handle, int)
        return self._streams[handle]


class TensorRt:
    """The module tensorrt (or tensorrt_rtx) of one version, whose engines run a numpy function.

    Attributes:
        log: What was done: builds, contexts made, runs.
        refuse: Called with the network and configuration; text fails the build with that error.
    """

    def __init__(self, version: str, cuda: Cuda, tensors: Any, compute: Any) -> None:
        self.version, self.cuda = version, cuda
        self.tensors, self.compute = tensors, compute  # name -> (array of zeros, is input)
        self.log: list[str] = []
        self.refuse: Callable[[Any, Any], str] = lambda network, config: ""
        self.fail_run = False
        self.module = types.ModuleType("tensorrt")
        self.module.__version__ = version  # type: ignore[attr-defined]
        parts = _implementations(self)
        for kind in DIGEST["names"]:
            if names := names_of(kind, version):
                made = (
                    _enum(kind, names)
                    if kind in ENUMS
                    else _only(parts.get(kind, object), kind, names)
                )
                setattr(self.module, kind, made)

    def plan(self, text: str) -> bytes:
        return f"plan of {self.version}: {text}".encode()


def _enum(kind: str, names: set[str]) -> Any:
    return enum.IntEnum(kind, {name: number for number, name in enumerate(sorted(names))})


def _only(base: type, kind: str, names: set[str]) -> type:
    """A class with the members of ``base`` that the version has; others cannot be set either."""
    members = {
        name: value
        for name, value in vars(base).items()
        if name in names or (name.startswith("_") and name not in {"__dict__", "__weakref__"})
    }

    def assign(self: Any, name: str, value: object) -> None:
        if not name.startswith("_") and name not in names and type(self) is made:
            raise AttributeError(f"{kind} has no attribute {name!r} in this version")
        object.__setattr__(self, name, value)

    made = type(kind, (), {**members, "__setattr__": assign})
    return made


def _implementations(double: TensorRt) -> dict[str, type]:
    """What the classes do; which of it a version has is cut out afterwards."""
    trt, cuda = double.module, double.cuda

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self) -> None: ...

    class IProgressMonitor:
        def __init__(self) -> None: ...

    class IHostMemory(bytes): ...

    class INetworkDefinition:
        _strong, _model = False, b""

    class ParserError:
        def desc(self) -> str:
            return "No importer registered for op"

        def node_name(self) -> str:
            return "head/where"

        def node_operator(self) -> str:
            return "NonZero"

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network, self._bad = network, False

        def parse(self, model: bytes) -> bool:
            self._network._model = bytes(model)
            self._bad = not model.startswith(b"\x08")  # how ONNX files begin
            return not self._bad

        @property
        def num_errors(self) -> int:
            return int(self._bad)

        def get_error(self, index: int) -> Any:
            return trt.ParserError()

    class ITimingCache:
        def __init__(self, content: bytes = b"") -> None:
            self._content = content

        def serialize(self) -> bytes:
            return self._content

    class IBuilderConfig:
        builder_optimization_level = profiling_verbosity = progress_monitor = None
        num_compute_capabilities = 0

        def __init__(self) -> None:
            self._flags, self._targets, self._timings = {int(trt.BuilderFlag.TF32)}, [], None

        def set_flag(self, flag: int) -> None:
            self._flags.add(int(flag))

        def clear_flag(self, flag: int) -> None:
            self._flags.discard(int(flag))

        def set_memory_pool_limit(self, pool: int, size: int) -> None:
            double.log.append(f"limit {size}")

        def create_timing_cache(self, content: bytes) -> Any:
            return trt.ITimingCache(bytes(content))

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            foreign = cache._content and not cache._content.startswith(double.version.encode())
            # As in the library: whoever made it must keep it until the plan is built.
            self._timings = None if foreign else weakref.ref(cache)
            return not foreign

        def set_compute_capability(self, target: int, index: int) -> bool:
            self._targets.append((trt.ComputeCapability(target).name, index))
            return True

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int) -> Any:
            network = trt.INetworkDefinition()
            network._strong = bool(
                flags >> int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1
            )
            return network

        def create_builder_config(self) -> Any:
            return trt.IBuilderConfig()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            monitor, error = config.progress_monitor, double.refuse(network, config)
            monitor.phase_start("Building", None, 4)
            for step in range(4):
                monitor.phase_start("Timing", "Building", 2)
                going = all(monitor.step_complete("Timing", part) for part in range(2))
                monitor.phase_finish("Timing")
                if not (going and monitor.step_complete("Building", step)):
                    error = "stopped"
                    break
            monitor.phase_finish("Building")
            if error:
                self._logger.log(trt.ILogger.ERROR, error)
                return None
            known = set(trt.BuilderFlag)
            flags = ",".join(sorted(flag.name for flag in known if int(flag) in config._flags))
            if config._timings is not None:
                timings = config._timings()
                assert timings is not None, "the timing cache is gone before the plan is built"
                double.log.append(f"timings {len(timings._content)}")
                timings._content = double.version.encode() + b" timed"
            targets = ",".join(name for name, _ in config._targets)
            text = f"{'strong' if network._strong else 'weak'} [{flags}] [{targets}]"
            double.log.append("build " + text)
            return double.plan(text)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def get_engine_validity(self, plan: bytes) -> tuple[Any, str]:
            ours = plan.startswith(double.plan("")[:-1])
            kind = trt.EngineValidity
            return (kind.VALID if ours else kind.INVALID), "of another version"

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if plan.startswith(double.plan("")[:-1]):
                return trt.ICudaEngine()
            self._logger.log(trt.ILogger.ERROR, "Serialization assertion failed: version")
            return None

    class IRuntimeCache:
        def __init__(self) -> None:
            self._content = b""

        def deserialize(self, blob: bytes) -> bool:
            self._content = bytes(blob)
            double.log.append(f"kernels {len(blob)}")
            return True

        def serialize(self) -> bytes:
            return self._content or b"compiled"

    class IRuntimeConfig:
        cuda_graph_strategy = None

        def create_runtime_cache(self) -> Any:
            return trt.IRuntimeCache()

        def set_runtime_cache(self, cache: Any) -> bool:
            return True

    class ICudaEngine:
        @property
        def num_io_tensors(self) -> int:
            return len(double.tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(double.tensors)[index]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return double.tensors[name][0].shape

        def get_tensor_dtype(self, name: str) -> Any:
            kinds = {
                "float32": "FLOAT",
                "float16": "HALF",
                "uint8": "UINT8",
                "int32": "INT32",
                "int64": "INT64",
            }
            return trt.DataType[kinds[str(double.tensors[name][0].dtype)]]

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if double.tensors[name][1] else trt.TensorIOMode.OUTPUT

        def create_runtime_config(self) -> Any:
            return trt.IRuntimeConfig()

        def create_execution_context(self, settings: Any = None) -> Any:
            graph = getattr(settings, "cuda_graph_strategy", None)
            double.log.append(f"context {'plain' if graph is None else graph.name}")
            context = trt.IExecutionContext()
            context._addresses = {}
            return context

    class IExecutionContext:
        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = address
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            if double.fail_run:
                return False
            cuda.stream(stream_handle).push(self._compute)
            double.log.append("enqueue")
            return True

        def _compute(self) -> None:
            def memory(name: str) -> Any:
                like = double.tensors[name][0]
                raw = (ctypes.c_uint8 * like.nbytes).from_address(self._addresses[name])
                return np.frombuffer(raw, like.dtype).reshape(like.shape)

            inputs = {
                n: memory(n).copy() for n, (_, is_input) in double.tensors.items() if is_input
            }
            for name, array in double.compute(inputs).items():
                memory(name)[...] = array

    found = dict(locals())
    return {kind: found[kind] for kind in found if isinstance(found[kind], type)}


@pytest.fixture
def make_tensorrt(monkeypatch, tiny_engine) -> Callable[..., TensorRt]:
    """A function from a version to its stand-in, installed with cuda-core; it runs `tiny_onnx`."""

    def make(
        version: str, capability: tuple[int, int] = (8, 7), integrated: bool = False
    ) -> TensorRt:
        specs = [
            *((s, True) for s in tiny_engine.inputs),
            *((s, False) for s in tiny_engine.outputs),
        ]
        tensors = {spec.name: (np.zeros(spec.shape, spec.dtype), given) for spec, given in specs}
        cuda = Cuda(capability, integrated)
        double = TensorRt(version, cuda, tensors, tiny_engine.run)
        name = "tensorrt_rtx" if version.startswith("rtx") else "tensorrt"
        monkeypatch.setitem(sys.modules, name, double.module)
        monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
        monkeypatch.setitem(sys.modules, "cuda.core", cuda)
        return double

    return make


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    """Every version of TensorRT that xedge claims to run on."""
    return str(request.param)
