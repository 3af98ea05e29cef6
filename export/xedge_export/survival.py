"""How much of the label-aware update survives a number format: `x' = x + w x`, stored and read.

The update of a trained head is small, and x lies on the format's grid already. Where |w| is less
than half a step, x' rounds back to x, and the step is a no-op that passes every other gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from xedge.engines import load
from xedge.errors import ExportError
from xedge.types import F32, U8
from xedge_export.fp16 import to_fp16
from xedge_export.precision import is_constant
from xedge_export.rounding import rounded
from xedge_export.seed_scale import SCOPE, chains

F64 = npt.NDArray[np.float64]

FORMATS: Final = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True)
class Survival:
    """What became of the update at one level in one format, over all windows.

    Attributes:
        level: Scope of the step, ``P3/label_aware/``.
        number_format: Format that features are stored in.
        weight: Mean |w|, weighed by |x|: sum of |w x| over sum of |x|, in float32.
        computed: How much of float32's update the format's gradient gives, by projection: 1 when
            all is there, 0 when what is there has nothing to do with it. Labels that fall the
            other way at ties count as loss.
        moved: Share of the sum of |w x| at features that differ after storing.
        stored: How much of the update is there after storing, by projection.
    """

    level: str
    number_format: str
    weight: float
    computed: float
    moved: float
    stored: float


class _Step(NamedTuple):
    """Names of the values around one step: x, w x, and x'."""

    x: str
    change: str
    refined: str


def steps(graph: ir.Graph) -> Iterator[tuple[str, _Step]]:
    """Each label-aware step's scope, and the values that go in and come out.

    Raises:
        ExportError: When a step is not one addition to one value.
    """
    for scope, _ in chains(graph):
        inside = {n for n in graph if (n.name or "").startswith(scope)}
        inputs = {v for n in inside for v in n.inputs if v is not None and not is_constant(v)}
        reads = {v for v in inputs if v.producer() not in inside}
        outputs = {v for n in inside for v in n.outputs}
        leaves = {v for v in outputs if not inside.issuperset(v.consumers())}
        if len(reads) == len(leaves) == 1:
            (x,), (refined,) = reads, leaves
            last = refined.producer()
            if last is not None and last.op_type == "Add" and x in last.inputs:
                change = last.inputs[1 - list(last.inputs).index(x)]
                assert change is not None
                yield scope, _Step(str(x.name), str(change.name), str(refined.name))
                continue
        raise ExportError(f"{scope.rstrip('/')} is not x plus a change of x",
                          remedy="Measure a graph of the refined stage")  # fmt: skip


def measure_survival(model: ir.Model, windows: Iterable[U8]) -> list[Survival]:
    """What becomes of each level's update in float32, float16 and bfloat16.

    Args:
        model: A finished float32 graph of the refined stage.
        windows: Planes, uint8 ``[3, H, W]`` each, as they come in use.

    Raises:
        ExportError: When the graph has no label-aware step, or there is no window.
    """
    found, planes = dict(steps(model.graph)), list(windows)
    if not found or not planes:
        raise ExportError(
            "there is nothing to measure",
            expected=f"a graph with {SCOPE.rstrip('/')} nodes, and a window or more",
            found=f"{len(found)} steps, {len(planes)} windows",
        )
    half = to_fp16(model)
    graphs = {k: model if k is FORMATS[0] else rounded(half, k) for k in FORMATS}
    read = {kind: {scope: _as_stored(graph, step) for scope, step in found.items()}
            for kind, graph in graphs.items()}  # fmt: skip
    engines = {k: load(_exposing(g, read[k].values()), "onnxruntime") for k, g in graphs.items()}
    (name,) = (str(v.name) for v in model.graph.inputs if not v.is_initializer())
    sums = {(scope, kind): np.zeros(8) for scope in found for kind in FORMATS}
    try:
        for window in planes:
            answers = {kind: engine.run({name: window[None]}) for kind, engine in engines.items()}
            for (scope, kind), total in sums.items():
                x, change, _ = (answers[FORMATS[0]][n] for n in read[FORMATS[0]][scope])
                total += _sums(x, change, *(answers[kind][n] for n in read[kind][scope]))
    finally:
        for engine in engines.values():
            engine.close()
    return [_survival(scope, kind, total) for (scope, kind), total in sums.items()]


def _as_stored(model: ir.Model, step: _Step) -> _Step:
    """The step's values as `rounded` left them: x and x' after rounding, w x before."""
    known = {v.name for n in model.graph for v in n.outputs}
    x, refined = f"{step.x}/widened", f"{step.refined}/float16/widened"
    return _Step(x if x in known else step.x, step.change,
                 refined if refined in known else step.refined)  # fmt: skip


def _exposing(model: ir.Model, steps: Iterable[_Step]) -> bytes:
    """The model with the steps' values as its outputs."""
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    values = {v.name: v for n in copy.graph for v in n.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for step in steps for name in step)
    data: bytes = ir.serde.serialize_model(copy).SerializeToString()
    return data


def _sums(x0: F32, exact: F32, x: F32, change: F32, refined: F32) -> F64:
    """What a window adds to the sums that `_survival` divides."""
    d0, d, e = (a.astype(np.float64) for a in (exact, change, refined - x))
    return np.array(
        [np.abs(x0).sum(), np.abs(d0).sum(), (d0 * d0).sum(), (d0 * d).sum(),
         np.abs(d[e != 0]).sum(), np.abs(d).sum(), (d * d).sum(), (d * e).sum()]
    )  # fmt: skip


def _survival(scope: str, kind: ir.DataType, sums: F64) -> Survival:
    features, exact, exact2, both, moved, change, change2, stored = sums.tolist()
    return Survival(
        scope,
        kind.name.lower(),
        weight=exact / features if features else 0.0,
        computed=both / exact2 if exact2 else 0.0,
        moved=moved / change if change else 0.0,
        stored=stored / change2 if change2 else 0.0,
    )
