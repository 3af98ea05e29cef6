"""What an ONNX file says of its graph: names, operators, weights. No package needed, no run.

An ONNX file is a protocol buffer. Only what is shown to people, or named to an engine, is read;
weights stay where they are. Field numbers: onnx/onnx.proto of the ONNX project, IR version 10.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from xedge import wire
from xedge.errors import BundleError

DTYPES: Final[Mapping[int, str]] = MappingProxyType(
    {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
     9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"}
)  # fmt: skip
"""`TensorProto.DataType`."""

LABEL_AWARE: Final = re.compile(r"(?:.*/)?(?:label_aware|early)(?=/)")
"""Scope of the nodes of a label-aware step, as exports name them."""


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Attributes:
        name: As exports name it: the path of its module, then a name of its own.
        operator: Its operator.
        inputs: Names of what it takes; empty for what is left out.
        outputs: Names of what it gives.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def module(self) -> str:
        """The first two parts of the module's path, or one; empty without a path."""
        return "/".join(self.name.split("/")[:-1][:2])


@dataclass(frozen=True)
class Weight:
    """A tensor that a graph holds.

    Attributes:
        dtype: As numpy names it; "other" for types that xedge does not use.
        parameters: Number of its values.
    """

    dtype: str
    parameters: int


@dataclass(frozen=True)
class Module:
    """The nodes of one module.

    Attributes:
        name: Its path.
        nodes: Number of its nodes.
        parameters: Values of the weights that it is the first to use.
        operators: Operator to number of nodes, most frequent first.
    """

    name: str
    nodes: int
    parameters: int
    operators: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Graph:
    """An ONNX file without its weights' values.

    Attributes:
        opset: Version of the operators.
        ir_version: Version of the file format.
        nodes: In the order in which they run.
        weights: Weights by name.
        inputs: Names of the graph's inputs.
        outputs: Names of its outputs.
        metadata: ``metadata_props``.
    """

    opset: int
    ir_version: int
    nodes: tuple[Node, ...]
    weights: Mapping[str, Weight]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str]

    def modules(self) -> tuple[Module, ...]:
        """The graph by module, in the order in which they run; weights count where first used."""
        members: dict[str, list[Node]] = {}
        for node in self.nodes:
            members.setdefault(node.module or "graph", []).append(node)
        seen: set[str] = set()
        rows = []
        for name, nodes in members.items():
            used = {i for node in nodes for i in node.inputs if i in self.weights} - seen
            seen |= used
            operators = dict(Counter(node.operator for node in nodes).most_common())
            parameters = sum(self.weights[i].parameters for i in used)
            rows.append(Module(name, len(nodes), parameters, operators))
        return tuple(rows)

    def parameters_by_type(self) -> dict[str, int]:
        """Values of all weights by dtype, most first."""
        count: Counter[str] = Counter()
        for weight in self.weights.values():
            count[weight.dtype] += weight.parameters
        return dict(count.most_common())

    def label_aware(self) -> dict[str, tuple[str, str]]:
        """Scope of each label-aware step to the features before it, and those that others read.

        A step ends in ``x + w x``, so its input is what its last node adds something to. Casts
        are looked through: in a half-precision graph they stand at its borders.
        """
        casts = {o: n.inputs[0] for n in self.nodes if n.operator == "Cast" for o in n.outputs}
        constants = {o for n in self.nodes if n.operator == "Constant" for o in n.outputs}

        def source(name: str) -> str:
            while name in casts:
                name = casts[name]
            return name

        real = [node for node in self.nodes if node.operator != "Cast"]
        scopes: dict[str, list[Node]] = {}
        for node in real:
            if found := LABEL_AWARE.match(node.name):
                scopes.setdefault(found[0], []).append(node)
        steps = {}
        for scope, nodes in scopes.items():
            inside = {output for node in nodes for output in node.outputs}
            fed = {source(i) for node in nodes for i in node.inputs} - inside - constants - {""}
            fed -= self.weights.keys()
            mine = set(nodes)
            reads = [i for node in real if node not in mine for i in node.inputs]
            read = {source(name): name for name in reversed([*reads, *self.outputs])}
            ends = [
                (before, read[output])
                for node in nodes if node.operator == "Add"
                for output in node.outputs if output in read
                for before in map(source, node.inputs) if before in fed
            ]  # fmt: skip
            if len(ends) == 1:
                steps[scope] = ends[0]
        return steps


def read_graph(model: bytes) -> Graph:
    """What an ONNX file says of its graph.

    Raises:
        BundleError: When it is no sound ONNX file.
    """
    try:
        return _model(memoryview(model))
    except (ValueError, IndexError, KeyError) as error:
        raise BundleError(
            "the model cannot be read",
            expected="an ONNX file",
            found=str(error) or "one that was cut short",
            remedy="Export the model again",
        ) from error


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """The ONNX file with more of its values as outputs; their types are left to be inferred.

    Raises:
        BundleError: When it is no sound ONNX file.
    """
    more = b"".join(wire.field(12, wire.field(1, name.encode())) for name in names)
    parts = []
    try:
        for number, kind, value in wire.fields(memoryview(model)):
            body = bytes(value) if isinstance(value, memoryview) else value
            if number == 7 and isinstance(body, bytes):
                body += more
            parts.append(wire.field(number, body, kind))
    except (ValueError, IndexError) as error:
        raise BundleError("the model cannot be read", expected="an ONNX file",
                          found=str(error)) from error  # fmt: skip
    return b"".join(parts)


def _model(data: memoryview) -> Graph:
    numbers = {1: 0}
    opset, graph = 0, None
    metadata = {}
    for number, _, value in wire.fields(data):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 7:
            graph = value
        elif number == 8:
            entry = wire.values(value)
            if not wire.text(entry.get(1, [])):
                opset = wire.number(entry.get(2, []))
        elif number == 14:
            entry = wire.values(value)
            metadata[wire.text(entry[1])] = wire.text(entry[2])
    if graph is None or not numbers[1]:
        raise ValueError("no graph inside")
    parts = wire.values(graph)
    weights = dict(map(_weight, wire.messages(parts.get(5, []))))
    return Graph(
        opset=opset,
        ir_version=numbers[1],
        nodes=tuple(map(node_of, wire.messages(parts.get(1, [])))),
        weights=weights,
        inputs=_names(parts.get(11, [])),
        outputs=_names(parts.get(12, [])),
        metadata=metadata,
    )


def node_of(message: memoryview) -> Node:
    """A node of an ONNX file: a message of field 1 of its graph."""
    entry = wire.values(message)
    return Node(
        name=wire.text(entry.get(3, [])),
        operator=wire.text(entry.get(4, [])),
        inputs=tuple(wire.text([value]) for value in entry.get(1, [])),
        outputs=tuple(wire.text([value]) for value in entry.get(2, [])),
    )


def _weight(message: memoryview) -> tuple[str, Weight]:
    entry = wire.values(message)
    count = 1
    for value in entry.get(1, []):
        for side in [value] if isinstance(value, int) else wire.varints(value):
            count *= side
    dtype = DTYPES.get(wire.number(entry.get(2, [])), "other")
    return wire.text(entry.get(8, [])), Weight(dtype, count)


def _names(values: list[int | memoryview]) -> tuple[str, ...]:
    return tuple(wire.text(wire.values(message).get(1, [])) for message in wire.messages(values))
