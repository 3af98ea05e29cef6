"""Plans of TensorRT, built of ONNX files.

A graph says its precision itself: the network is strongly typed, in every version. Where 10.x
runs such a graph badly, the weakly typed network lets the library choose FP16 (and INT8, where
the graph has scales) layer by layer; 11 has no such thing any more.

TF32 is off: with it a "float32" graph would keep 10 bits of each factor, and LA's update, a few
thousandths of the weights, would be rounded away without anybody having asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from xedge.engines.build import Progress, silent
from xedge.engines.tensorrt_api import Api, failed, make_logger, make_monitor
from xedge.errors import EngineLoadError

_MULTIPLIES: Final = re.compile(r"^correlation|^gemm|^matmul|^__myl_\w*?(Corr|Gemm|Matm)", re.I)
_TYPES: Final = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Int8": "int8"}


@dataclass(frozen=True)
class BuildOptions:
    """What a plan is built for.

    Attributes:
        weak: True leaves the precision to the library; False takes the graph's own.
        targets: Compute capabilities, as ``SM86``, where the library builds for named ones; none
            takes the library's default: 8.0 and later.
        workspace_mib: Memory that a layer may use, mebibytes; 0 takes the library's default: all.
    """

    weak: bool = False
    targets: tuple[str, ...] = ()
    workspace_mib: int = 0

    @property
    def text(self) -> str:
        """The options as a part of a cache key."""
        typing = "weak" if self.weak else "strong"
        return f"{typing} {','.join(self.targets) or 'default'} {self.workspace_mib}"


@dataclass(frozen=True)
class Layer:
    """One layer of a plan, after fusion.

    Attributes:
        name: Of the layer, from the names of the nodes in it.
        kind: ``correlation`` for convolutions, ``kgen`` for generated code, and others.
        inputs: Types of what it reads, ``Half`` or ``Int8`` for two, weights left out.
        outputs: Types of what it writes.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """What a build gives.

    Attributes:
        plan: The engine, serialised.
        timings: The timing cache after it; empty where the library keeps none.
        layers: What was fused to what, as the library's log tells it while it builds: the engine
            inspector would have to open the plan, which takes a GPU. Empty in other formats
            than TensorRT-RTX's.
    """

    plan: bytes
    timings: bytes
    layers: tuple[Layer, ...]


def build_plan(
    api: Api,
    model: bytes,
    options: BuildOptions | None = None,
    timings: bytes = b"",
    progress: Progress = silent,
) -> Built:
    """The plan of an ONNX file.

    Args:
        api: The library.
        model: The file's bytes.
        options: What it is built for.
        timings: A timing cache of this device and version; one of another is left aside.
        progress: Called with a phase's name and how much of it is done.

    Raises:
        EngineLoadError: When the library refuses the model, by the names of its nodes.
    """
    options = options or BuildOptions()
    trt = api.trt
    logger = make_logger(api)
    builder = trt.Builder(logger)
    strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(0 if options.weak else strong)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise _refused(api, parser, logger)
    config = builder.create_builder_config()
    _configure(api, config, model, options)
    monitor = make_monitor(api, progress)
    config.progress_monitor = monitor
    # The configuration does not own the timing cache: it must live until the plan is there.
    timing_cache = _give_timings(api, config, timings)
    plan = builder.build_serialized_network(network, config)
    if monitor.interrupted is not None:
        raise monitor.interrupted
    if plan is None:
        raise failed(
            EngineLoadError,
            f"{api.name} {api.version} could not build the model",
            logger,
            expected="a graph that it has kernels for",
            remedy="Try another precision or engine, and report this",
        )
    after = bytes(timing_cache.serialize()) if timing_cache else b""
    return Built(bytes(plan), after, _layers(logger.layers))


def _configure(api: Api, config: Any, model: bytes, options: BuildOptions) -> None:
    trt, features = api.trt, api.features
    config.clear_flag(trt.BuilderFlag.TF32)
    # Names and types of layers in the plan cost kilobytes, and tell what was fused.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mib:
        pool = trt.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, options.workspace_mib << 20)
    if options.weak:
        if not features.weak_typing:
            raise EngineLoadError(
                f"{api.name} {api.version} does not choose precisions by itself",
                expected="TensorRT 10",
                found="a version whose networks are all strongly typed",
                remedy="Use --engine tensorrt with a bundle that has an fp16 variant",
            )
        if features.weak_typing:
            config.set_flag(trt.BuilderFlag.FP16)
            # Without scales in the graph the flag would ask for a calibrator.
            if b"QuantizeLinear" in model:
                config.set_flag(trt.BuilderFlag.INT8)
    if options.targets and features.targets:
        config.num_compute_capabilities = len(options.targets)
        for index, target in enumerate(options.targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target), index)


def _give_timings(api: Api, config: Any, timings: bytes) -> Any:
    """The timing cache that the build uses; None where targets are named and nothing is timed."""
    if api.features.targets:
        return None
    for content in (timings, b""):
        timing_cache = config.create_timing_cache(content)
        if timing_cache and config.set_timing_cache(timing_cache, ignore_mismatch=False):
            return timing_cache
    return None


def _refused(api: Api, parser: Any, logger: Any) -> EngineLoadError:
    reasons = []
    for index in range(min(int(parser.num_errors), 3)):
        problem = parser.get_error(index)
        node, operator = problem.node_name(), problem.node_operator()
        where = f" (node {node!r}, {operator})" if node or operator else ""
        reasons.append(problem.desc() + where)
    logger.errors.clear()
    return EngineLoadError(
        f"{api.name} {api.version} refused the model",
        expected="an ONNX file whose nodes it knows",
        found="; ".join(reasons) or "no reason",
        remedy="Export it again with `xedge export`",
    )


def arithmetic_of(layers: Iterable[Layer]) -> dict[str, int]:
    """Type, as ``float16``, to number of convolutions and matrix products that read it."""
    types: dict[str, int] = {}
    for layer in layers:
        # A convolution is of its own kind, or named within what was fused at run time.
        if _MULTIPLIES.search(layer.kind) or _MULTIPLIES.search(layer.name.partition("_myl0")[0]):
            theirs = layer.inputs[0] if layer.inputs else "unknown"
            ours = _TYPES.get(theirs, theirs.lower())
            types[ours] = types.get(ours, 0) + 1
    return types


def _layers(lines: Iterable[str]) -> tuple[Layer, ...]:
    found = []
    for line in lines:
        if head := re.match(r"Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: ", line):
            inputs, _, rest = line[head.end() :].partition(", Constants: ")
            outputs = rest.partition(", Outputs: ")[2]
            types = [tuple(re.findall(r"Datatype: (\w+)", part)) for part in (inputs, outputs)]
            found.append(Layer(head["name"], head["kind"], types[0], types[1]))
    return tuple(found)
