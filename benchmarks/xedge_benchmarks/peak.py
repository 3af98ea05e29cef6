"""`xedge bench peak`: the highest rates that this machine reaches, which others are held against.

Arithmetic: chains of convolutions through the engines, the same operators that networks are made
of, and matrix products through PyTorch (oneDNN on a processor, cuBLAS on a GPU). Memory: arrays
much larger than caches, copied. The peak is that of the best contender's best run; a busy machine's
is too low, and its record says that it was busy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
import torch

from xedge import engines
from xedge.engines.deploy import ARITHMETIC
from xedge.engines.threads import physical_cores
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import engine_contender, measurable_engines, noise
from xedge_benchmarks.interleave import Contender, interleave, summarize
from xedge_benchmarks.limits import MEMORY
from xedge_benchmarks.record import BenchRecord, Json, new_record
from xedge_benchmarks.speed_graphs import on_integers
from xedge_benchmarks.work import INT8, work_of

CPU: Final = "cpu"
GPU: Final = "cuda"
FLOAT: Final = "fp32"
_FORMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "onnxruntime": (FLOAT, "int8-u8s8"),
        "openvino": (FLOAT, "int8"),
        "openvino-bf16": (FLOAT,),
    }
)
"""Back end to the forms of a graph that it is fast with."""
_TORCH: Final = ("float32", "tf32", "float16", "bfloat16", INT8)


@dataclass(frozen=True, kw_only=True)
class PeakSettings:
    """How peaks are measured.

    Attributes:
        threads: Numbers of threads on the processor; None stands for every physical core.
        rounds: How often each contender is timed.
        warmup: Untimed rounds beforehand.
        channels: Of the convolutions.
        side: Height and width of their maps.
        depth: How many follow each other.
        matrix: Rows and columns of a matrix on the processor.
        gpu_matrix: The same on a GPU.
        copied_mib: Size of the array that is copied.
        within_s: Seconds after which no more round begins; None sets no end.
    """

    threads: tuple[int | None, ...] = (1, None)
    rounds: int = 20
    warmup: int = 2
    channels: int = 128
    side: int = 64
    depth: int = 8
    matrix: int = 1024
    gpu_matrix: int = 8192
    copied_mib: int = 256
    within_s: float | None = None


@dataclass(frozen=True)
class _Rate:
    """A contender, and what one run of it does."""

    run: Callable[[], object]
    device: str
    threads: int
    arithmetic: str
    amount: float


def bench_peak(
    settings: PeakSettings = PeakSettings(), tell: Callable[[str], None] = lambda what: None
) -> BenchRecord:
    """A record of the machine's peaks; ``results.rows`` has a row a contender.

    Args:
        settings: Sizes and rounds.
        tell: Told what is measured next.
    """
    threads = dict.fromkeys(count or physical_cores() for count in settings.threads)
    rows: list[Json] = []
    digests: dict[str, str] = {}
    budget = Budget(settings.within_s)
    with Watch() as watch:
        for left, count in zip(range(len(threads), 0, -1), threads, strict=True):
            tell(f"processor, {count} threads")
            with ExitStack() as stack:
                rates = dict(_engines(settings, count, stack, digests))
                rates |= _torch_rates(CPU, settings.matrix, count)
                rates["copying"] = _copying(settings.copied_mib, count)
                rows += _rows(rates, settings, budget.part(left))
        if torch.cuda.is_available():
            tell("GPU")
            size = settings.gpu_matrix
            rates = _torch_rates(GPU, size, 0) | {"copying": _gpu_copying(settings.copied_mib)}
            rows += _rows(rates, settings, budget)
    return new_record(
        "peak",
        models=digests,
        settings=dataclasses.asdict(settings) | {"threads": list(threads)},
        results={"rows": rows},
        conditions=watch.conditions,
        notes=budget.stopped("rounds", min(row["rounds"] for row in rows), settings.rounds),
    )


def chain(channels: int, side: int, depth: int, kernel: int) -> bytes:
    """A graph of convolutions after each other, weights drawn, with the planes of a detector.

    One from three channels stands before them and one to a single channel behind: quantisers
    leave the first and the last of a network in floating point.

    Args:
        channels: Of the convolutions in between.
        side: Height and width of the maps.
        depth: How many are in between.
        kernel: Height and width of their kernels, odd.
    """
    random, nodes, weights = np.random.default_rng(0), [], []
    nodes.append(
        onnx.helper.make_node("Cast", ["planes"], ["x0"], "cast", to=onnx.TensorProto.FLOAT)
    )
    widths = [3, *[channels] * (depth + 1), 1]
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        shape = (after, before, kernel, kernel)
        drawn = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(drawn, f"w{k}"))
        pads = [kernel // 2] * 4
        nodes.append(onnx.helper.make_node("Conv", [f"x{k}", f"w{k}"], [f"c{k}"], f"conv{k}",
                                           pads=pads))  # fmt: skip
        nodes.append(onnx.helper.make_node("Relu", [f"c{k}"], [f"x{k + 1}"], f"relu{k}"))
    nodes.append(
        onnx.helper.make_node("ReduceMax", [f"x{depth + 2}"], ["greatest"], "max", keepdims=0)
    )
    planes = onnx.helper.make_tensor_value_info(
        "planes", onnx.TensorProto.UINT8, (1, 3, side, side)
    )
    greatest = onnx.helper.make_tensor_value_info("greatest", onnx.TensorProto.FLOAT, ())
    graph = onnx.helper.make_graph(nodes, "chain", [planes], [greatest], weights)
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    data: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return data


def _engines(
    settings: PeakSettings, threads: int, stack: ExitStack, digests: dict[str, str]
) -> Iterator[tuple[str, _Rate]]:
    usable = [name for name, state in measurable_engines().items() if state.usable]
    planes = [noise(settings.side, settings.side)[0][None]]
    for kernel in (1, 3):
        plain = chain(settings.channels, settings.side, settings.depth, kernel)
        for engine_name in usable:
            for form in _FORMS.get(engine_name, ()):
                model = plain if form == FLOAT else on_integers(plain, form)
                name = f"{engine_name} {form}, {kernel} x {kernel}"
                digests[name] = hashlib.sha256(model).hexdigest()
                engine = engines.load(model, engine_name, threads)
                stack.enter_context(closing(engine))
                work = work_of(model)
                assert work is not None, "its shapes are fixed"
                kind, count = max(work.operations.items(), key=lambda item: item[1])
                if kind != INT8:
                    kind = ARITHMETIC.get(engine_name, kind)
                contender = engine_contender(name, engine, planes)
                yield name, _Rate(contender.run, CPU, threads, kind, count)


def _torch_rates(device: str, size: int, threads: int) -> dict[str, _Rate]:
    """Products of two square matrices in each arithmetic that PyTorch has there."""
    found = {}
    for kind in _TORCH:
        try:
            run = _product(device, size, threads, kind)
            run()
        except RuntimeError:  # not on this device
            continue
        found[f"PyTorch {kind}"] = _Rate(run, device, threads, kind, 2.0 * size**3)
    return found


def _product(device: str, size: int, threads: int, kind: str) -> Callable[[], object]:
    if kind == "tf32" and device == CPU:
        raise RuntimeError("a processor has no TF32")
    dtype = {"tf32": torch.float32, INT8: torch.int8}.get(kind) or getattr(torch, kind)
    generator = torch.Generator().manual_seed(0)
    if kind == INT8:
        drawn = torch.randint(-127, 128, (2, size, size), generator=generator).to(dtype).to(device)
    else:
        drawn = torch.randn(2, size, size, generator=generator).to(dtype).to(device)
    multiply = torch._int_mm if kind == INT8 else torch.mm  # noqa: SLF001  # it has no other name

    def run() -> None:
        if device == CPU:
            torch.set_num_threads(threads)
            multiply(drawn[0], drawn[1])
        else:
            torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
            multiply(drawn[0], drawn[1])
            torch.cuda.synchronize()

    return run


def _copying(mib: int, threads: int) -> _Rate:
    """Copy an array by so many threads; each byte is read once and written once."""
    source = np.ones((threads, mib * 2**20 // threads), np.uint8)
    target = np.zeros_like(source)
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        list(pool.map(np.copyto, target, source))

    return _Rate(run, CPU, threads, MEMORY, 2.0 * source.size)


def _gpu_copying(mib: int) -> _Rate:
    source = torch.ones(mib * 2**20, dtype=torch.uint8, device=GPU)
    target = torch.zeros_like(source)

    def run() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    return _Rate(run, GPU, 0, MEMORY, 2.0 * source.numel())


def _rows(rates: Mapping[str, _Rate], settings: PeakSettings, budget: Budget) -> list[Json]:
    contenders = [Contender(name, rate.run) for name, rate in rates.items()]
    samples = interleave(contenders, rounds=settings.rounds, warmup=settings.warmup,
                         enough=budget.over)  # fmt: skip
    return [
        _row(rate, dataclasses.asdict(summary))
        for rate, summary in zip(rates.values(), summarize(list(rates), samples), strict=True)
    ]


def _row(rate: _Rate, told: Mapping[str, Any]) -> Json:
    """Rates in billions of operations, or GB, a second; the slow end of a time is the low rate."""
    unit = "gb_s" if rate.arithmetic == MEMORY else "gop_s"

    def per_second(key: str) -> float | None:
        return None if told[key] is None else float(rate.amount / told[key] * 1e3 / 1e9)

    return {
        "name": told["name"],
        "device": rate.device,
        "threads": rate.threads,
        "arithmetic": rate.arithmetic,
        unit: per_second("median_ms"),
        f"{unit}_low": per_second("median_ms_high"),
        f"{unit}_high": per_second("median_ms_low"),
        "best": per_second("min_ms"),
        "median_ms": told["median_ms"],
        "rounds": told["rounds"],
    }
