"""Who is compared: PyTorch and plain exports as a user has them without xedge, and our engines.

A contender is a function of a host, of the file that it reads and of the threads; it is called in
a process of its own, and gives a call that runs the model once. Nothing heavy is imported here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from xedge import engines
from xedge.engines.threads import physical_cores
from xedge.errors import ConfigError
from xedge_benchmarks.contenders import noise

Run = Callable[[], object]
PLAIN: Final = "plain"
NNCF: Final = "nncf"
"""Forms of a graph that are not made from our float32 graph by `FORMS_OF`, or not as ONNX."""


@dataclass(frozen=True)
class Rival:
    """A contender.

    Attributes:
        title: For people.
        load: Makes the call, of a host's name, the file (None where ``form`` is empty) and threads.
        form: Of the graph that it reads; empty for a model in PyTorch.
        libraries: Distributions whose versions belong to the row.
        ours: Whether it is an engine of xedge on a graph of xedge.
        gpu: Whether it needs an NVIDIA GPU.
        only_label_aware: Whether it says something on hosts with LA alone.
    """

    title: str
    load: Callable[[str, Path | None, int | None], Run]
    form: str = ""
    libraries: tuple[str, ...] = ()
    ours: bool = False
    gpu: bool = False
    only_label_aware: bool = False


def _torch(host: str, file: Path | None, threads: int | None, **options: Any) -> Run:
    from xedge_benchmarks.hosts import HOSTS
    from xedge_benchmarks.torch_rivals import torch_run

    return torch_run(HOSTS[host].subject, threads, **options)


def _in_torch(title: str, **options: Any) -> Rival:
    gpu = options.get("device") == "cuda"
    load = functools.partial(_torch, **options)
    return Rival(title, load, libraries=("torch",), gpu=gpu)


def _session(
    host: str, file: Path | None, threads: int | None, provider: str = "CPUExecutionProvider"
) -> Run:
    """ONNX Runtime by its defaults, but for the threads."""
    import onnxruntime

    assert file is not None, "a form makes a file"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or physical_cores()
    session = onnxruntime.InferenceSession(file, options, providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime has no {provider}")
    (planes,) = session.get_inputs()
    feeds = {planes.name: noise(*planes.shape[2:])[0][None]}
    return lambda: session.run(None, feeds)


def _openvino(host: str, file: Path | None, threads: int | None) -> Run:
    """OpenVINO for latency, otherwise by its defaults: it chooses bfloat16 where there is some."""
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or physical_cores(),
    }
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
    _, _, height, width = request.model_inputs[0].shape
    planes = noise(height, width)[0][None]
    return lambda: request.infer([planes])


def _engine(host: str, file: Path | None, threads: int | None, name: str) -> Run:
    assert file is not None, "a form makes a file"
    engine = engines.load(file, name, threads)
    (planes,) = engine.inputs
    feeds = {planes.name: noise(*planes.shape[2:])[0][None]}
    return lambda: engine.run(feeds)


def _ours(name: str, form: str, *libraries: str, gpu: bool = False, la: bool = False) -> Rival:
    load = functools.partial(_engine, name=name)
    return Rival(f"xedge: {name}, {form}", load, form, libraries, True, gpu, la)


_ORT, _OV, _RTX, _TRT = "onnxruntime", "openvino", "tensorrt-rtx-cu13", "tensorrt"
_EXPORT: Final = "torch.onnx.export and ONNX Runtime"

_CPU: Final = {
    "torch": _in_torch("PyTorch eager, float32"),
    "torch-bf16": _in_torch("PyTorch eager, autocast to bfloat16", half=True),
    "torch-compile": _in_torch("torch.compile, float32", compiled="default"),
    "plain-export": Rival(f"{_EXPORT}, fp32", _session, PLAIN, ("torch", _ORT)),
    "onnxruntime-int8-defaults": Rival("ONNX Runtime's INT8 by its defaults (signed, by tensor)",
                                       _session, "int8-onnxruntime-defaults", (_ORT,)),
    "onnxruntime-int8-advised": Rival("ONNX Runtime's INT8 as advised (unsigned, by channel)",
                                      _session, "int8-onnxruntime", (_ORT,)),
    "openvino-nncf": Rival("OpenVINO and NNCF's INT8 by their defaults", _openvino, NNCF,
                           (_OV, "nncf")),
    "onnxruntime:fp32": _ours("onnxruntime", "fp32", _ORT),
    "onnxruntime:one-backward": _ours("onnxruntime", "one-backward", _ORT, la=True),
    "onnxruntime:int8-u8s8": _ours("onnxruntime", "int8-u8s8", _ORT),
    "openvino:fp32": _ours("openvino", "fp32", _OV),
    "openvino:one-backward": _ours("openvino", "one-backward", _OV, la=True),
    "openvino-bf16:fp32": _ours("openvino-bf16", "fp32", _OV),
    "openvino:int8": _ours("openvino", "int8", _OV),
    "openvino-bf16:int8": _ours("openvino-bf16", "int8", _OV),
}  # fmt: skip

_TORCH_GPU: Final = {
    "cuda": _in_torch("PyTorch eager on CUDA, float32 without TF32", device="cuda"),
    "cuda-tf32": _in_torch("PyTorch eager on CUDA, float32 with TF32", device="cuda", tf32=True),
    "cuda-graphs-fp16": _in_torch("torch.compile with CUDA graphs, autocast to float16",
                                  device="cuda", half=True, compiled="reduce-overhead"),
    "cuda-fp16": _in_torch("PyTorch eager on CUDA, autocast to float16", device="cuda", half=True),
    "cuda-graphs-tf32": _in_torch("torch.compile with CUDA graphs, float32 with TF32",
                                  device="cuda", tf32=True, compiled="reduce-overhead"),
    "plain-export-cuda": Rival(f"{_EXPORT} on CUDA, fp32",
                               functools.partial(_session, provider="CUDAExecutionProvider"),
                               PLAIN, ("torch", "onnxruntime-gpu"), gpu=True),
}  # fmt: skip

_HALF: Final = ("fp16", "one-backward-fp16", "int8-fp16")
_OURS_GPU: Final = {
    f"{name}:{form}": _ours(name, form, library, gpu=True, la=form.startswith("one-backward"))
    for name, library, forms in (
        ("tensorrt-rtx-graph", _RTX, _HALF),
        ("tensorrt-graph", _TRT, _HALF),
        ("onnxruntime-cuda", "onnxruntime-gpu", ("fp32", "fp16")),
        ("tensorrt-rtx", _RTX, ("fp16", "fp32", "int8-fp16")),
        ("tensorrt", _TRT, ("fp16", "fp32", "int8-fp16")),
        ("tensorrt-weak", _TRT, ("fp32",)),
        ("onnxruntime-tensorrt-rtx", _ORT, ("fp16",)),
        ("onnxruntime-tensorrt", "onnxruntime-gpu", ("fp16",)),
    )
    for form in forms
}

# What goals are about comes first: where time is short, the last are left out.
_EAGER_TWICE: Final = ("cuda", "cuda-tf32")
_GPU: Final = {
    **{name: _TORCH_GPU[name] for name in _EAGER_TWICE},
    **{name: rival for name, rival in _OURS_GPU.items() if "-graph:" in name},
    **{name: rival for name, rival in _TORCH_GPU.items() if name not in _EAGER_TWICE},
    **{name: rival for name, rival in _OURS_GPU.items() if "-graph:" not in name},
}

RIVALS: Final[Mapping[str, Rival]] = MappingProxyType({**_CPU, **_GPU})
"""Name of a contender to what it is; others are compared with the first of those asked for."""


def chosen_rivals(names: Sequence[str], *, gpu: bool) -> tuple[str, ...]:
    """The names, each once; where there are none, all of the CPU's or of the GPU's.

    Raises:
        ConfigError: When there is no such contender.
    """
    unknown = [name for name in names if name not in RIVALS]
    if unknown:
        raise ConfigError(
            "there is no such contender", expected=", ".join(RIVALS), found=unknown[0]
        )
    return tuple(dict.fromkeys(names)) or tuple(_GPU if gpu else _CPU)
