"""Where a graph is put on integers: which convolutions, which tensors, and who reads them so.

Three forms of one model, since no file is fast everywhere:

    int8        signed, before convolutions; float32 elsewhere: OpenVINO, and TensorRT 10.3 as a
                weakly typed network
    int8-fp16   the same in a half-precision graph: TensorRT 10.12 and later, TensorRT-RTX
    int8-u8s8   unsigned activations, and tensors between convolutions as well: ONNX Runtime on
                x86, which has a kernel for them and runs signed ones no faster than float32
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import onnx_ir as ir
from xedge_export.precision import consumers, is_constant, kept

from xedge.errors import CalibrationError, ConfigError
from xedge_calibration.kept import RULES, convolutions


@dataclass(frozen=True)
class Form:
    """One way to put a model on integers.

    Attributes:
        variant: The name that it has in a bundle.
        unsigned: Whether activations are unsigned.
        half: Whether the rest of the graph is in half precision.
        between: Whether what convolutions give is put on integers: where only sums, pools and
            concatenations lie between them and the next convolutions, and where nothing that reads
            it is a convolution in float.
    """

    variant: str
    unsigned: bool = False
    half: bool = False
    between: bool = False


FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        form.variant: form
        for form in (
            Form("int8"),
            Form("int8-fp16", half=True),
            Form("int8-u8s8", unsigned=True, between=True),
        )
    }
)
"""Variant to form."""

ACTIVATIONS: Final = frozenset({"Relu", "Clip"})
"""What an engine computes within the convolution before it."""
SAME_RANGE: Final = frozenset({"MaxPool", "Concat", "Resize"})
"""Operators that give nothing beyond what they read: one scale before and behind."""
BETWEEN: Final = SAME_RANGE | {"Add", "AveragePool"}


@dataclass(frozen=True)
class Placement:
    """What is put on integers, by name.

    Attributes:
        convolutions: Nodes that convolve integers.
        readers: Tensor to the nodes that read its integers; others read the float tensor.
        groups: Tensors that share a scale; one of its own is a group of one.
        floats: Convolutions that stay in float, with the reason.
    """

    convolutions: tuple[str, ...]
    readers: Mapping[str, tuple[str, ...]]
    groups: tuple[tuple[str, ...], ...]
    floats: Mapping[str, str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Tensors that need a range."""
        return tuple(self.readers)


def place(graph: ir.Graph, form: Form, keep: Collection[str] = ()) -> Placement:
    """Where a finished float32 graph is put on integers.

    Args:
        graph: With types and a name a node.
        form: Which way.
        keep: Names of convolutions that stay in float beside those of the precision map.

    Raises:
        ConfigError: When ``keep`` names something else.
        CalibrationError: When no convolution is left.
    """
    by_name = {str(node.name): node for node in convolutions(graph)}
    if unknown := sorted(set(keep) - set(by_name)):
        raise ConfigError(
            "there are no such convolutions to keep in float",
            found=", ".join(unknown),
            remedy="Take the names from the graph",
        )
    floats = {str(n.name): why for n, why in kept(graph, RULES).items()}
    floats |= dict.fromkeys(keep, "asked for")
    chosen = [node for name, node in by_name.items() if name not in floats]
    if not chosen:
        raise CalibrationError(
            "no convolution of the graph may be put on integers",
            found=", ".join(sorted(set(floats.values()))) or "no convolution",
            remedy="Ship the model in fp16",
        )
    readers: dict[ir.Value, set[ir.Node]] = {}
    for node in chosen:
        readers.setdefault(_activation(node), set()).add(node)
    if form.between:
        _between(graph, set(chosen), readers)
        _close(chosen, set(graph.outputs), readers)
    else:
        _shortcuts(graph, set(chosen), readers)
    order = {node: index for index, node in enumerate(graph)}

    def position(value: ir.Value) -> tuple[int, int]:
        producer = value.producer()
        return (-1, 0) if producer is None else (order[producer], value.index() or 0)

    values = sorted(readers, key=position)
    return Placement(
        tuple(str(node.name) for node in chosen),
        {
            str(v.name): tuple(str(n.name) for n in sorted(readers[v], key=order.__getitem__))
            for v in values
        },
        tuple(_groups(values, readers)),
        floats,
    )


def _activation(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _shortcuts(
    graph: ir.Graph, chosen: set[ir.Node], readers: dict[ir.Value, set[ir.Node]]
) -> None:
    """Let the sum behind a convolution read its other side as integers.

    TensorRT then computes the sum within the convolution, which keeps its own side in float. The
    other side is on integers already, or the answer of another convolution.
    """
    for node in graph:
        if node.op_type != "Add" or any(is_constant(v) for v in node.inputs):
            continue
        sides = [v for v in node.inputs if v is not None]
        for own, other in (sides, sides[::-1]):
            if own.producer() not in chosen or list(own.consumers()) != [node]:
                continue
            if other in readers or other.producer() in chosen:
                readers.setdefault(other, set()).add(node)
                break


def _between(graph: ir.Graph, chosen: set[ir.Node], readers: dict[ir.Value, set[ir.Node]]) -> None:
    """Put what lies between convolutions on integers, from the last to the first."""
    for node in reversed(graph):
        if node.op_type not in BETWEEN or not any(v in readers for v in _given(node)):
            continue
        if node.op_type == "Resize" and not _nearest(node):
            continue
        read = [v for v in node.inputs if v is not None and not is_constant(v)]
        if all(v in readers or _may_be(v, chosen) for v in read):
            for value in read:
                readers.setdefault(value, set()).add(node)


def _close(
    chosen: Collection[ir.Node], outputs: set[ir.Value], readers: dict[ir.Value, set[ir.Node]]
) -> None:
    """Put on integers what other convolutions give, as before a normalisation.

    ONNX Runtime computes a convolution on integers only when it gives integers as well. What a
    convolution in float reads, it is to read unrounded.
    """
    for node in chosen:
        *_, value = _given(node)
        users = set(value.consumers())
        if value in readers or value in outputs or any(u.op_type == "Conv" for u in users):
            continue
        readers[value] = users


def closes(node: ir.Node) -> bool:
    """Whether a DequantizeLinear restores what a convolution gave, maybe through an activation."""
    down = _producer(node.inputs[0])
    maker = None if down is None else _producer(down.inputs[0])
    if maker is not None and maker.op_type in ACTIVATIONS:
        maker = _producer(maker.inputs[0])
    return maker is not None and maker.op_type == "Conv"


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _given(node: ir.Node) -> Iterator[ir.Value]:
    """What a node gives, by itself or through an activation that alone reads it."""
    value = node.outputs[0]
    yield value
    users = consumers(node)
    if len(users) == 1 and users[0].op_type in ACTIVATIONS:
        yield users[0].outputs[0]


def _may_be(value: ir.Value, chosen: set[ir.Node]) -> bool:
    """Whether an engine can give this value as integers: from a convolution or what is between."""
    producer = value.producer()
    if producer is not None and producer.op_type in ACTIVATIONS and producer.inputs[0]:
        producer = producer.inputs[0].producer()
    return producer in chosen or (producer is not None and producer.op_type in BETWEEN)


def _nearest(node: ir.Node) -> bool:
    mode = node.attributes.get("mode")
    return mode is None or mode.as_string() == "nearest"


def _groups(
    values: list[ir.Value], readers: Mapping[ir.Value, set[ir.Node]]
) -> Iterator[tuple[str, ...]]:
    """Tensors that one scale must serve, since an operator only passes numbers on."""
    group_of: dict[ir.Value, list[ir.Value]] = {value: [value] for value in values}
    for value in values:
        for node in readers[value]:
            out = node.outputs[0]
            if node.op_type not in SAME_RANGE or out not in group_of:
                continue
            one, other = group_of[value], group_of[out]
            if one is not other:
                one.extend(other)
                for member in other:
                    group_of[member] = one
    seen: set[int] = set()
    for value in values:
        group = group_of[value]
        if id(group) not in seen:
            seen.add(id(group))
            yield tuple(str(member.name) for member in group)
