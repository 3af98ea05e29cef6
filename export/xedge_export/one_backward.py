"""LA's two gradients as one, where the sigmoid is as good as a straight line over them.

Equation 7 adds ``(b tanh(g1/2) - c tanh(g2/2)) / 2`` times x to x. Where both gradients are small,
tanh(g/2) is g/2, and ``(b g1 - c g2) / 4`` is the gradient of one seed, since a gradient is linear
in its seed: half of the backward pass goes. What that costs is bounded by the series of tanh,

    |tanh(g/2)/2 - g/4| <= |g|^3 / 48,

so x' is off by ``(|b| + |c|) |g|^3 / 48`` of x at most. It is done where that is below what storing
x' in the format rounds off anyway, half a unit in the last place, at gradients some times as large
as any that was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from xedge.errors import ExportError
from xedge.types import U8
from xedge_export.ranges import HEADROOM, Range, measure_ranges
from xedge_export.seed_scale import chains
from xedge_export.to_onnx import Exported
from xedge_export.verifier import verify

ROUNDING: Final[Mapping[str, float]] = MappingProxyType(
    {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
)
"""Number format to what rounding in it changes at most, as a share of the number."""
CURVATURE: Final = 48.0


def largest_gradient(share: float, number_format: str = "float32") -> float:
    """The |g| up to which one backward pass changes x' by no more than rounding does.

    Args:
        share: ``(|b| + |c|) / |a + (b - c) / 2|`` of equation 7; 2 for the authors' LAcls.
        number_format: What x' is stored in, a name of `ROUNDING`.

    >>> round(largest_gradient(2.0), 4), round(largest_gradient(2.0, "float16"), 4)
    (0.0113, 0.2271)
    """
    return float((CURVATURE * ROUNDING[number_format] / share) ** (1 / 3))


class Gradients(NamedTuple):
    """The two gradients of one step: what is taken out, and what stays.

    Attributes:
        joined: Concatenation of the seeds.
        convolutions: From the seeds to the gradients.
        factors: k of ``sum k tanh(g / 2)``, one a gradient.
        total: That sum.
        between: Nodes from the gradients to it, it included.
        idle: Factor of x beside it: ``a + (b - c) / 2``.
    """

    joined: ir.Node
    convolutions: list[ir.Node]
    factors: list[float]
    total: ir.Node
    between: list[ir.Node]
    idle: float

    @property
    def share(self) -> float:
        """``(|b| + |c|) / |a + (b - c) / 2|``."""
        return 2 * sum(abs(k) for k in self.factors) / abs(self.idle)


def pairs(graph: ir.Graph) -> Iterator[tuple[str, Gradients]]:
    """Each step's scope and its two gradients; nothing for a step that takes one."""
    for scope, convolutions in chains(graph):
        found = _gradients(convolutions)
        if found is not None:
            yield scope, found


@dataclass(frozen=True)
class Decision:
    """Whether a step's two backward passes became one.

    Attributes:
        scope: ``P3/label_aware/``.
        seen: Largest |g|; NaN where none was measured.
        limit: Up to which it may go, headroom included.
        one: Whether they did.
    """

    scope: str
    seen: float
    limit: float
    one: bool


@dataclass
class OneBackward(ir.passes.InPlacePass):
    """Take one gradient of both seeds in a step whose gradients are small enough.

    Requires nodes named by `NameNodes`. Afterwards such a step has one backward pass, and x' is
    off by less than rounding to the number format; other steps stay as they are.

    Attributes:
        ranges: What the graph's nodes held on real windows (`xedge_export.ranges`).
        number_format: What x' is stored in, a name of `ROUNDING`.
        headroom: How many times larger than seen a gradient may get.
        decisions: What was done with each step, after a call.
    """

    ranges: Collection[Range]
    number_format: str = "float32"
    headroom: float = HEADROOM
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.number_format not in ROUNDING or not self.headroom >= 1:
            raise ExportError(
                "there is no telling how small a gradient must be",
                expected=f"one of {', '.join(ROUNDING)}, and a headroom of 1 or more",
                found=f"{self.number_format!r}, {self.headroom:g}",
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with such steps shortened."""
        peaks = {r.node: r.largest for r in self.ranges}
        self.decisions = []
        for scope, found in list(pairs(model.graph)):
            seen = peaks.get(str(found.convolutions[-1].name), float("nan"))
            limit = largest_gradient(found.share, self.number_format) / self.headroom
            one = seen <= limit  # a NaN is not
            self.decisions.append(Decision(scope, seen, limit, one))
            if one:
                merge(model.graph, scope, found)
        modified = any(decision.one for decision in self.decisions)
        return ir.passes.PassResult(model, modified=modified)


def with_one_backward(exported: Exported, windows: Iterable[U8]) -> tuple[Exported, list[Decision]]:
    """An exported float32 model through `OneBackward`, and what was done with each step.

    Args:
        exported: The model.
        windows: Planes as they come in use, uint8 ``[3, H, W]`` each, at least one.

    Raises:
        ExportError: When no step takes two gradients, or a number is not finite on a window.
    """
    model = ir.serde.deserialize_model(onnx.load_model_from_string(exported.model))
    if not any(pairs(model.graph)):
        raise ExportError(
            "there are no two backward passes to make one of",
            expected="a model with LAcls, coefficients b and c other than 0, of the refined stage",
            found=f"{exported.spec.name}, stage {exported.spec.stage}",
            remedy="Leave out --one-backward",
        )
    shorten = OneBackward(measure_ranges(model, windows))
    if shorten(model).modified:
        verify(model)
        data = ir.serde.serialize_model(model).SerializeToString()
        exported = replace(exported, model=data, nodes=model.graph.num_nodes())
    return exported, shorten.decisions


def merge(graph: ir.Graph, scope: str, found: Gradients) -> None:
    """Nothing; the step's two backward passes are one afterwards, whatever its gradients are."""
    first, last = found.convolutions[0], found.convolutions[-1]
    seeds = [v for v in found.joined.inputs if v is not None]
    parts = [
        _node(graph, "Mul", [seed, _constant(graph, f"{scope}share{index}", k / 2)], seed.shape,
              f"{scope}seed{index}/Mul")
        for index, (seed, k) in enumerate(zip(seeds, found.factors, strict=True))
    ]  # fmt: skip
    seed = _node(graph, "Add", [part.outputs[0] for part in parts], seeds[0].shape,
                 f"{scope}seed/Add")  # fmt: skip
    graph.insert_before(first, [*parts, seed])
    first.replace_input_with(0, seed.outputs[0])
    ir.convenience.replace_all_uses_with(found.total.outputs[0], last.outputs[0])
    graph.remove([*found.between, found.joined], safe=True)
    for node in _from(first, last):
        if node.op_type == "Reshape":
            shape = node.inputs[1]
            assert shape is not None
            assert shape.const_value is not None
            sides = [1, *shape.const_value.numpy()[1:].tolist()]
            name = f"{node.name}/shape"
            node.replace_input_with(1, _constant(graph, name, np.array(sides, np.int64)))
        for value in node.outputs:
            assert value.shape is not None
            value.shape = ir.Shape([1, *value.shape[1:]])


def _gradients(convolutions: list[ir.Node]) -> Gradients | None:
    joined = convolutions[0].inputs[0].producer() if convolutions[0].inputs[0] else None
    readers = list(convolutions[-1].outputs[0].consumers())
    if joined is None or joined.op_type != "Concat" or len(joined.inputs) != 2:
        return None
    if [node.op_type for node in readers] != ["Split"]:
        return None
    (split,) = readers
    between: list[ir.Node] = [split]
    factors: list[float] = []
    sums: set[ir.Node] = set()
    for part in split.outputs:
        walked: list[ir.Node] = []
        value: ir.Value = part
        for _ in range(3):
            readers = list(value.consumers())
            if len(readers) != 1:
                return None
            walked += readers
            value = readers[0].outputs[0]
        half, tanh, scaled = walked
        by = _factor(half), _factor(scaled)
        if by[0] != 0.5 or tanh.op_type != "Tanh" or by[1] is None:
            return None
        between += walked
        factors.append(by[1])
        sums.update(value.consumers())
    if len(sums) != 1 or (total := sums.pop()).op_type != "Add":
        return None
    return Gradients(joined, convolutions, factors, total, [*between, total], _idle(total))


def _idle(total: ir.Node) -> float:
    """The factor of x beside the update: of the product in the sum behind it, else 1."""
    (product,) = total.outputs[0].consumers()
    (last,) = product.outputs[0].consumers()
    beside = [v.producer() for v in last.inputs if v is not None and v is not product.outputs[0]]
    factor = None if beside[0] is None else _factor(beside[0])
    return 1.0 if factor is None else factor


def _factor(node: ir.Node) -> float | None:
    """The number that a node multiplies its input by, or None."""
    constants = [v.const_value for v in node.inputs if v is not None and v.const_value is not None]
    if node.op_type != "Mul" or len(constants) != 1 or constants[0].size != 1:
        return None
    return float(constants[0].numpy().reshape(()))


def _from(first: ir.Node, last: ir.Node) -> list[ir.Node]:
    """All nodes between two, both included: what the first leads to without passing the last."""
    reached, frontier = [first], [first]
    while frontier:
        node = frontier.pop()
        for user in () if node is last else node.successors():
            if user not in reached:
                reached.append(user)
                frontier.append(user)
    return reached


def _constant(graph: ir.Graph, name: str, number: object) -> ir.Value:
    numbers = np.asarray(number)
    if numbers.dtype == np.float64:
        numbers = numbers.astype(np.float32)
    tensor = ir.tensor(numbers, name=name)
    value = ir.val(name, tensor.dtype, list(numbers.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def _node(
    graph: ir.Graph, op_type: str, inputs: list[ir.Value], shape: ir.Shape | None, name: str
) -> ir.Node:
    node = ir.node(op_type, inputs)
    node.name = name
    (out,) = node.outputs
    out.name, out.dtype, out.shape = f"{name}/out", ir.DataType.FLOAT, shape
    return node
