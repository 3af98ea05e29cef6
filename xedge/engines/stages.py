"""Where a label-aware model may stop: after the first classification pass, before everything else.

    first stage   planes -> class scores of the first pass, and the values that the rest needs
    second stage  those values -> backward pass, moved features, towers, decoding -> the outputs

The nodes of an exported graph carry the names of their modules, through every precision; so the
file itself needs no mark, and neither its outputs nor its digest change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xedge.engines.cut import Parts, Value, take_apart
from xedge.errors import EngineLoadError
from xedge.graph import LABEL_AWARE, Node

CARRIED: Final = frozenset({"float32", "float16"})
"""Types that values between the stages may have: what every engine takes and gives."""

CHEAP: Final = frozenset(
    {"Add", "Cast", "Constant", "DequantizeLinear", "Equal", "Greater", "Identity", "Less", "Mul",
     "QuantizeLinear", "Relu", "Reshape", "Sub"}
)  # fmt: skip
"""What is computed again in the second stage rather than carried: it costs no more than a copy, and
a window that stops is spared the copy."""


@dataclass(frozen=True, eq=False)
class Stages:
    """A graph in two.

    Attributes:
        first: The ONNX file of the first stage.
        second: That of the second.
        scores: Outputs of the first that are class scores, 0..1, ``[1, C, h, w]`` a level.
        carried: Outputs of the first that are the second's inputs.
    """

    first: bytes
    second: bytes
    scores: tuple[str, ...]
    carried: tuple[str, ...]


def in_two(model: bytes, classes: int) -> Stages:
    """A graph in two at the end of its first classification pass.

    Args:
        model: The ONNX file.
        classes: Number of the model's classes.

    Raises:
        EngineLoadError: When it has no such pass: a model without the label-aware step, or one
            whose step asks something else than classes.
        BundleError: When it is no sound ONNX file, or cannot be cut there.
    """
    parts = take_apart(model)
    scores = first_scores(parts, classes)
    if not scores:
        raise _no_first_pass(classes, "none")
    carried = _carried(parts, scores)
    return Stages(
        first=parts.between(parts.inputs, (*scores, *carried)),
        second=parts.between(carried, parts.outputs),
        scores=scores,
        carried=carried,
    )


def first_scores(parts: Parts, classes: int) -> tuple[str, ...]:
    """The class scores that label-aware steps begin with, one value a level; none without them.

    Raises:
        EngineLoadError: When a step has scores, and none that are seen to be of classes: a window
            must not stop for what the other levels say.
    """
    found: dict[str, str] = {}
    other: dict[str, Value | None] = {}
    for node in parts.nodes:
        scope = LABEL_AWARE.match(node.name)
        if scope is None or node.operator != "Sigmoid" or scope[0] in found:
            continue
        value = parts.value(node.outputs[0])
        if value is not None and len(value.shape) == 4 and value.shape[1] == classes:
            found[scope[0]] = node.outputs[0]
        else:
            other.setdefault(scope[0], value)
    for name in sorted(other.keys() - found.keys()):
        value = other[name]
        shape = "unknown shape" if value is None else f"shape {list(value.shape)}"
        raise _no_first_pass(classes, f"scores of {shape} in {name}")
    return tuple(found.values())


def _no_first_pass(classes: int, found: str) -> EngineLoadError:
    return EngineLoadError(
        "the model has no first pass that it could stop after",
        expected=f"a label-aware step that begins with the scores of {classes} classes",
        found=found,
        remedy="Refine every window: use the bundle as it is",
    )


def _carried(parts: Parts, scores: tuple[str, ...]) -> tuple[str, ...]:
    """What the second stage takes of the first, in the order in which it is made."""
    makers = {name: node for node in parts.nodes for name in node.outputs if name}
    first: set[str] = set()
    ends = list(scores)
    while ends:
        if (node := makers.get(ends.pop())) is not None and not first.issuperset(node.outputs):
            first |= {name for name in node.outputs if name}
            ends += node.inputs
    after = _after(parts, makers, first)
    order = [name for node in parts.nodes for name in node.outputs if name in after]
    carried = set(order)
    for name in reversed(order):
        others = carried - {name}
        if _again(name, others, parts, makers):
            carried = others
    unfit = [n for n in order if n in carried and not _fits(parts, n)]
    if unfit:
        raise EngineLoadError(
            "the model cannot be run in two stages",
            expected=f"values of {' or '.join(sorted(CARRIED))} between them",
            found=", ".join(unfit),
            remedy="Refine every window: use the bundle as it is",
        )
    return tuple(name for name in order if name in carried)


def _after(parts: Parts, makers: Mapping[str, Node], first: set[str]) -> set[str]:
    """Values of the first stage that the rest reads."""
    seen: set[str] = set()
    read: set[str] = set()
    ends = list(parts.outputs)
    while ends:
        name = ends.pop()
        if name in first:
            read.add(name)
        elif name not in seen and name in makers:
            seen.add(name)
            ends += makers[name].inputs
    return read


def _again(name: str, carried: set[str], parts: Parts, makers: Mapping[str, Node]) -> bool:
    """Whether a value comes cheaply out of the others that are carried."""
    if not name or name in carried or name in parts.weights:
        return True
    node = makers.get(name)
    return (
        node is not None
        and node.operator in CHEAP
        and all(_again(i, carried, parts, makers) for i in node.inputs)
    )


def _fits(parts: Parts, name: str) -> bool:
    value = parts.value(name)
    return value is not None and value.dtype in CARRIED
