"""Models in PyTorch as they were trained: what runs without any of xedge's exports."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xedge.engines.threads import physical_cores
from xedge.models.base import Classifier, Detector, top_candidates
from xedge.spec import ModelSpec
from xedge_benchmarks.contenders import noise
from xedge_benchmarks.speed_graphs import Subject


class Whole(nn.Module):
    """A model from planes to what an engine answers: nothing unrolled, nothing rewritten.

    Args:
        model: A model of the zoo; LA takes its gradient by autograd.
        candidates: K, of a detector.
    """

    def __init__(self, model: Detector | Classifier, candidates: int) -> None:
        super().__init__()
        self.model, self.candidates = model, candidates

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        """Boxes, scores and labels of a detector; scores and maps of a classifier."""
        model, outputs = self.model, self.model(planes)
        if isinstance(model, Classifier):
            return model.scores(outputs), model.locate(outputs)
        boxes, scores = model.decode(outputs)
        return top_candidates(boxes, scores, min(self.candidates, scores[0].numel()))


def whole(subject: Subject) -> tuple[Whole, ModelSpec]:
    """The whole model of a subject, to be run, and its description."""
    checkpoint = subject.drawn()
    spec = checkpoint.spec("0" * 64)
    return Whole(checkpoint.model().eval(), spec.candidates).eval(), spec


def plain_export(subject: Subject) -> bytes:
    """What `torch.onnx.export` makes of the whole model by its defaults.

    Raises:
        Exception: Whatever the exporter raises; with LA, whose gradient cannot leave PyTorch, its
            own error around AutogradInGraph.
    """
    module, spec = whole(subject)
    planes = torch.from_numpy(noise(spec.height, spec.width)[0][None])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, (planes,), dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch exported nothing")
    data: bytes = program.model_proto.SerializeToString()
    return data


def torch_run(
    subject: Subject,
    threads: int | None,
    *,
    device: str = "cpu",
    half: bool = False,
    tf32: bool = False,
    compiled: str = "",
) -> Callable[[], object]:
    """A call that runs the model once, from planes in the host's memory to answers there.

    Args:
        subject: The model.
        threads: Of PyTorch; None for every physical core.
        device: ``cpu`` or ``cuda``.
        half: Under autocast: float16 on a GPU, bfloat16 on a CPU, which has no fast float16.
        tf32: Whether float32 products and convolutions may be rounded to TF32 on a GPU.
        compiled: Mode of `torch.compile`; empty runs eagerly. ``reduce-overhead`` is CUDA graphs.

    Raises:
        Exception: Whatever PyTorch raises.
    """
    # Compiling in this process alone: a pool of compilers would load the machine between runs.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch.set_num_threads(threads or physical_cores())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    module, spec = whole(subject)
    module = module.to(device)
    forward: Any = torch.compile(module, mode=compiled) if compiled else module
    kind = torch.float16 if device == "cuda" else torch.bfloat16
    planes = torch.from_numpy(noise(spec.height, spec.width)[0][None])

    def run() -> list[Tensor]:
        # Not inference mode: LA takes a gradient.
        with torch.no_grad(), torch.autocast(device, kind, enabled=half):
            return [answer.cpu() for answer in forward(planes.to(device))]

    return run
