"""A part of an ONNX file as a file of its own: what lies between some of its values.

Engines know whole files only. With the file cut where a run may end, every engine runs it in parts,
and no engine has to be told how. Nothing is copied but what the part uses: a weight that two parts
use is in both, in memory, and once in the file. Field numbers: onnx/onnx.proto, IR version 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from xedge import wire
from xedge.errors import BundleError
from xedge.graph import DTYPES, Node, node_of

_GRAPH, _NODE, _WEIGHT, _INPUT, _OUTPUT, _VALUE = 7, 1, 5, 11, 12, 13
_WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators that hold graphs of their own, whose use of outer values no node names."""


@dataclass(frozen=True)
class Value:
    """What a file says of one of its values.

    Attributes:
        dtype: As numpy names it; "other" for types that xedge does not use.
        shape: Its sides; None where the file does not say.
    """

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Parts:
    """An ONNX file taken apart; nothing of it is copied.

    Attributes:
        nodes: In the order in which they run.
        weights: Names of the tensors that it holds.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, memoryview]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    _around: tuple[bytes, ...]
    _messages: tuple[memoryview, ...]
    _values: Mapping[str, memoryview]

    def value(self, name: str) -> Value | None:
        """What the file says of a value; None when it says nothing."""
        if name not in self._values:
            return None
        # ValueInfoProto.type (2), TypeProto.tensor_type (1): elem_type (1), shape (2).
        entry = wire.values(self._values[name])
        for number in (2, 1):
            inner = wire.messages(entry.get(number, []))
            if not inner:
                return None
            entry = wire.values(inner[-1])
        shape = wire.messages(entry.get(2, []))
        if not shape:
            return None
        sides = wire.messages(wire.values(shape[-1]).get(1, []))
        lengths = (wire.values(side).get(1) for side in sides)  # dim_value (1); 2 is a name
        return Value(
            DTYPES.get(wire.number(entry.get(1, [])), "other"),
            tuple(None if length is None else wire.number(length) for length in lengths),
        )

    def between(self, inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
        """The file of the nodes that lead from some values to others, with all that they need.

        Args:
            inputs: Values that become the part's inputs.
            outputs: Values that become its outputs.

        Raises:
            BundleError: When a value is unknown or of an unknown type, or the outputs need
                something that is not among the inputs.
        """
        given, wanted = tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(outputs))
        needed = self._needed(given, wanted)
        used = {name for k in needed for name in self.nodes[k].inputs}
        made = {name for k in needed for name in self.nodes[k].outputs}
        body = [wire.field(_NODE, self._messages[k]) for k in needed]
        body.append(wire.field(2, b"part"))
        body += [wire.field(_WEIGHT, self.weights[n]) for n in self.weights if n in used]
        for number, names in ((_INPUT, given), (_OUTPUT, wanted)):
            body += [wire.field(number, self._typed(name)) for name in names]
        inner = made - set(wanted)
        body += [wire.field(_VALUE, self._values[n]) for n in self._values if n in inner]
        return b"".join((*self._around, wire.field(_GRAPH, b"".join(body))))

    def _typed(self, name: str) -> memoryview:
        value = self.value(name)
        if value is None or value.dtype == "other" or None in value.shape:
            raise _cannot(f"the type of {name!r} is not in the file")
        return self._values[name]

    def _needed(self, given: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
        """Places of the nodes between, in their order."""
        makers = {name: k for k, node in enumerate(self.nodes) for name in node.outputs if name}
        needed: set[int] = set()
        open_ends = [name for name in wanted if name not in given]
        while open_ends:
            name = open_ends.pop()
            if not name or name in given or name in self.weights:
                continue
            if name not in makers:
                raise _cannot(f"{name!r} is needed, and is neither given nor made")
            place = makers[name]
            if place in needed:
                continue
            needed.add(place)
            node = self.nodes[place]
            if node.operator in _WITH_GRAPHS:
                raise _cannot(f"the node {node.name!r} holds a graph of its own ({node.operator})")
            open_ends += node.inputs
        return sorted(needed)


def take_apart(model: bytes) -> Parts:
    """An ONNX file taken apart.

    Raises:
        BundleError: When it is no sound ONNX file.
    """
    try:
        return _parts(memoryview(model))
    except (ValueError, IndexError, KeyError) as error:
        raise BundleError(
            "the model cannot be read",
            expected="an ONNX file",
            found=str(error) or "one that was cut short",
            remedy="Export the model again",
        ) from error


def _parts(data: memoryview) -> Parts:
    around, graph = [], None
    for number, kind, value in wire.fields(data):
        if number == _GRAPH and isinstance(value, memoryview):
            graph = value
        else:
            around.append(wire.field(number, value, kind))
    if graph is None:
        raise ValueError("no graph inside")
    entry = wire.values(graph)
    messages = tuple(wire.messages(entry.get(_NODE, [])))
    inputs, outputs, inner = (
        dict(_named(entry.get(number, []), 1)) for number in (_INPUT, _OUTPUT, _VALUE)
    )
    weights = dict(_named(entry.get(_WEIGHT, []), 8))
    return Parts(
        nodes=tuple(map(node_of, messages)),
        weights=weights,
        inputs=tuple(name for name in inputs if name not in weights),
        outputs=tuple(outputs),
        _around=tuple(around),
        _messages=messages,
        _values={**inner, **inputs, **outputs},
    )


def _named(values: list[int | memoryview], number: int) -> Iterator[tuple[str, memoryview]]:
    """Messages by the text in one of their fields."""
    for message in wire.messages(values):
        yield wire.text(wire.values(message).get(number, [])), message


def _cannot(found: str) -> BundleError:
    return BundleError(
        "the model cannot be cut there",
        expected="values whose types and shapes are in the file, and no way around them",
        found=found,
        remedy="Export it again with `xedge export`, or refine every window",
    )
