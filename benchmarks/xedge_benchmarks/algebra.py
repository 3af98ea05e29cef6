"""`xedge bench algebra`: what each pass over an exported graph brings, and a mechanism's overhead.

The same model is exported without the passes and with one after the other; all of these graphs and
the plain backbone run in turn on one engine. Weights are drawn, not trained, and planes are noise:
neither changes what such a graph takes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir
from xedge_export.algebra import ALGEBRA
from xedge_export.contract import OUTPUTS
from xedge_export.deployed import deploy
from xedge_export.drawn import drawn_checkpoint
from xedge_export.passes import finish
from xedge_export.to_onnx import trace

from xedge import engines
from xedge.errors import ConfigError
from xedge.spec import ModelSpec
from xedge.train.recipe import load_recipe
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import engine_contender
from xedge_benchmarks.record import BenchRecord, new_record
from xedge_benchmarks.two_clocks import timed_by_both

PLAIN: Final = "plain"
NEEDED: Final = 2
"""Passes of `ALGEBRA` that make a graph run everywhere, not faster."""


@dataclass(frozen=True, kw_only=True)
class AlgebraSettings:
    """How graphs are measured.

    Attributes:
        engine: The engine that runs them.
        rounds: How often each is timed.
        warmup: Untimed rounds beforehand.
        threads: Threads of one run; None for every physical core.
        within_s: Seconds after which no more round begins; None sets no end.
    """

    engine: str = "auto"
    rounds: int = 30
    warmup: int = 3
    threads: int | None = None
    within_s: float | None = None


def graphs_of(recipe: str) -> tuple[ModelSpec, dict[str, ir.Model]]:
    """A recipe's model as a graph without the passes, and with them up to each that changes it.

    Args:
        recipe: Name of a shipped recipe, or a TOML file; weights are drawn.
    """
    checkpoint = drawn_checkpoint(load_recipe(Path(recipe), ["model.trunk.pretrained=false"])[1])
    module, spec = deploy(checkpoint.model(), checkpoint.spec("0" * 64))
    raw = ir.serde.serialize_model(trace(module, spec.height, spec.width, OUTPUTS[spec.kind]))
    # Without the first two some engines would not run the graph, or not alike.
    graphs = {"as traced": finish(ir.serde.deserialize_model(raw), spec, ALGEBRA[:NEEDED])}
    for count in range(NEEDED + 1, len(ALGEBRA) + 1):
        name = type(ALGEBRA[count - 1]).__name__
        graph = finish(ir.serde.deserialize_model(raw), spec, ALGEBRA[:count])
        if _operators(graph) != _operators(list(graphs.values())[-1]):
            graphs[f"+ {name}"] = graph
    return spec, graphs


def without_own_layer(graph: ir.Model) -> ir.Model:
    """The backbone alone, of a graph of system chr without hierarchy: its 1x1 layer taken out.

    Raises:
        ConfigError: When there is no such layer.
    """
    own = next((n for n in graph.graph if n.name == "own/0/Conv"), None)
    before = None if own is None else own.inputs[0]
    if own is None or before is None:
        raise ConfigError(
            "this is no plain backbone",
            expected='a recipe of system "chr" with hierarchy "none", such as backbone-resnet50',
            found=f"a graph of {graph.graph.name}",
        )
    # Its ReLU stays: what a backbone gives is not negative, and comes out as it went in.
    ir.convenience.replace_all_uses_with(own.outputs[0], before)
    graph.graph.remove(own, safe=True)
    return graph


def _operators(model: ir.Model) -> list[tuple[str, object]]:
    return [(node.op_type, node.outputs[0].shape) for node in model.graph]


def _data(model: ir.Model) -> bytes:
    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data


def _contenders(recipe: str, plain: str | None) -> Iterator[tuple[str, bytes, ModelSpec]]:
    if plain is not None:
        spec, graphs = graphs_of(plain)
        yield PLAIN, _data(without_own_layer(graphs["as traced"])), spec
    spec, graphs = graphs_of(recipe)
    for name, graph in graphs.items():
        yield name, _data(graph), spec


def bench_algebra(
    recipe: str, plain: str | None = None, settings: AlgebraSettings = AlgebraSettings()
) -> BenchRecord:
    """A record of a recipe's graph before and after each pass, in turn with the plain backbone.

    Args:
        recipe: Name of a shipped recipe, or a TOML file.
        plain: Recipe of the plain backbone, whose graph is what the others are compared with;
            without it, the graph as traced is.
        settings: Engine, rounds and threads.

    Raises:
        ConfigError: When a recipe is absent, or the two take other planes.
        EngineError: When the engine is absent or refuses a graph.
    """
    budget = Budget(settings.within_s)
    built = list(_contenders(recipe, plain))
    names, specs = [name for name, _, _ in built], [spec for _, _, spec in built]
    sizes = {(spec.height, spec.width) for spec in specs}
    if len(sizes) != 1:
        raise ConfigError("the graphs take other planes", found=str(sorted(sizes)))
    (height, width), random = sizes.pop(), np.random.default_rng(0)
    planes = random.integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    with ExitStack() as stack:
        contenders = []
        for name, data, _ in built:
            engine = engines.load(data, settings.engine, settings.threads)
            stack.enter_context(closing(engine))
            contenders.append(engine_contender(name, engine, [planes]))
        with Watch() as watch:
            rows = timed_by_both(
                contenders, names[:1] * len(names), rounds=settings.rounds,
                warmup=settings.warmup, enough=budget.over,
            )  # fmt: skip
    return new_record(
        "algebra",
        models={name: hashlib.sha256(data).hexdigest() for name, data, _ in built},
        settings={"recipe": recipe, "plain": plain or "", **dataclasses.asdict(settings)},
        results={"graphs": rows},
        conditions=watch.conditions,
        notes=budget.stopped("rounds", rows[0]["rounds"], settings.rounds),
    )
