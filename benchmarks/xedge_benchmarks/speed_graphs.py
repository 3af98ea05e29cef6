"""Graphs of recipes with drawn weights, in the forms that are timed, and the model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

import onnx
import onnx_ir as ir
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_export.contract import OUTPUTS
from xedge_export.deployed import deploy
from xedge_export.drawn import drawn_checkpoint
from xedge_export.fp16 import to_fp16
from xedge_export.one_backward import merge, pairs
from xedge_export.passes import finish
from xedge_export.ranges import measure_ranges, overflowing, seed_exponent
from xedge_export.to_onnx import trace

from xedge.spec import ModelSpec
from xedge.train.checkpoint import Checkpoint
from xedge.train.recipe import load_recipe
from xedge.types import U8
from xedge_benchmarks.contenders import noise


@dataclass(frozen=True)
class Subject:
    """A model that is timed.

    Attributes:
        recipe: Name of a shipped recipe.
        changes: To it, ``key=value`` each; nothing is downloaded with ``pretrained`` off.
    """

    recipe: str
    changes: tuple[str, ...] = ()

    def drawn(self) -> Checkpoint:
        """A checkpoint with weights drawn."""
        return drawn_checkpoint(load_recipe(Path(self.recipe), list(self.changes))[1])

    def deployed(self, candidates: int | None = None) -> tuple[torch.nn.Module, ModelSpec]:
        """The model in PyTorch as it is traced, from planes to outputs, and its description."""
        checkpoint = self.drawn()
        spec = checkpoint.spec("0" * 64)
        return deploy(checkpoint.model(), replace(spec, candidates=candidates or spec.candidates))

    def graph(self, batch: int = 1, candidates: int | None = None) -> bytes:
        """Its float32 graph as `xedge export` makes it.

        Args:
            batch: Windows of one run.
            candidates: Rows that it gives for a window; None for as many as in a bundle.
        """
        module, spec = self.deployed(candidates)
        traced = trace(module, spec.height, spec.width, OUTPUTS[spec.kind], batch)
        return _data(finish(traced, spec))


def sides(model: bytes) -> tuple[int, int]:
    """Height and width of a graph's planes."""
    (planes,) = onnx.load_model_from_string(model).graph.input
    _, _, height, width = (side.dim_value for side in planes.type.tensor_type.shape.dim)
    return int(height), int(width)


def on_integers(model: bytes, form: str) -> bytes:
    """A graph in one of `xedge_calibration`'s forms, ranges from noise."""
    graph = _graph(model)
    tensors = place(graph.graph, FORMS[form]).tensors
    windows = noise(*sides(model))
    histograms = observe(graph, tensors, windows)
    keep: list[str] = []
    if FORMS[form].half:
        keep = overflowing(measure_ranges(graph, windows))
    return _data(to_int8(graph, histograms, FORMS[form], "minmax", keep_single=keep))


def in_half(model: bytes) -> bytes:
    """A graph in half precision, ranges from noise; that it answers alike is not proved."""
    graph = _graph(model)
    ranges = measure_ranges(graph, noise(*sides(model)))
    return _data(
        to_fp16(graph, keep=overflowing(ranges), seed_exponent=seed_exponent(graph, ranges))
    )


def by_onnxruntime(model: bytes, **options: Any) -> bytes:
    """A graph as ONNX Runtime's own static quantiser makes it, by its defaults but ``options``."""
    feeds = iter([{"planes": planes[None]} for planes in noise(*sides(model))])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, U8] | None:
            return next(feeds, None)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(onnx.load_model_from_string(model), path, Reader(), **options)
        return path.read_bytes()


def as_advised(model: bytes) -> bytes:
    """The same as its documentation advises on x86: unsigned activations, weights by channel."""
    return by_onnxruntime(
        model,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def one_backward(model: bytes) -> bytes:
    """A graph with LA's two backward passes made one, whatever its gradients: for timing alone."""
    graph = _graph(model)
    for scope, found in list(pairs(graph.graph)):
        merge(graph.graph, scope, found)
    return _data(graph)


def _graph(model: bytes) -> ir.Model:
    return ir.serde.deserialize_model(onnx.load_model_from_string(model))


def _data(model: ir.Model) -> bytes:
    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data


FORMS_OF: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        "fp32": lambda model: model,
        "one-backward": one_backward,
        "fp16": in_half,
        "one-backward-fp16": lambda model: in_half(one_backward(model)),
        "int8": lambda model: on_integers(model, "int8"),
        "int8-u8s8": lambda model: on_integers(model, "int8-u8s8"),
        "int8-fp16": lambda model: on_integers(model, "int8-fp16"),
        "int8-onnxruntime": as_advised,
        "int8-onnxruntime-defaults": by_onnxruntime,
    }
)
"""Form to what makes it of the float32 graph."""
