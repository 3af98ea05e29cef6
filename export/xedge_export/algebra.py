"""Changes to a graph that leave its answers and make it faster, or make it run everywhere.

Each is exact in real numbers; in float32 the order of some sums changes. export/README.md has
what each was measured to bring.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx_ir as ir

PRESERVING: Final = ("nearest", "linear")
"""Modes of a Resize whose every output is a mean of inputs, with weights that sum to one."""


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    found = node.attributes.get(name)
    return default if found is None else found.value


def _is_pointwise(node: ir.Node) -> bool:
    """Whether a node is a 1x1 convolution of stride 1 without groups, its weights constant."""
    if node.op_type != "Conv" or node.inputs[1] is None or node.inputs[1].const_value is None:
        return False
    return (
        set(node.inputs[1].const_value.shape[2:]) == {1}
        and _attribute(node, "group", 1) == 1
        and set(_attribute(node, "strides", (1,))) == {1}
        and set(_attribute(node, "pads", (0,))) == {0}
        and _attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )


def _is_upsampling(node: ir.Node | None) -> bool:
    """Whether a node resizes maps ``[N, C, h, w]`` to larger ones and is read once."""
    if node is None or node.op_type != "Resize" or len(node.outputs[0].uses()) != 1:
        return False
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or target.shape is None:
        return False
    before, after = source.shape.numpy(), target.shape.numpy()
    return (
        _attribute(node, "mode", "nearest") in PRESERVING
        and _attribute(node, "coordinate_transformation_mode", "") != "tf_crop_and_resize"
        and len(before) == 4
        and before[:2] == after[:2]
        and before[2] * before[3] < after[2] * after[3]
    )


def _constant(
    graph: ir.Graph, name: str, numbers: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(numbers), name=name)
    value = ir.val(name, tensor.dtype, list(numbers.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def _like(old: ir.Node, op_type: str, inputs: list[ir.Value | None], name: str) -> ir.Node:
    """A node in the place of another: its scope, its output's type, and attributes of its kind."""
    attributes = dict(old.attributes) if op_type == old.op_type else {}
    node = ir.Node("", op_type, inputs, attributes.values())
    node.metadata_props.update(old.metadata_props)
    (out,) = node.outputs
    out.name, out.type, out.shape = name, old.outputs[0].type, old.outputs[0].shape
    return node


class WholePools(ir.passes.InPlacePass):
    """Let a pool that rounds its size up round down where nothing is left over.

    Backbones ask for rounding up so as to take any size; at the size of the graph the windows
    mostly cover the map exactly, and then both are the same. Afterwards a pool that rounds up has
    a window that the border cuts, over whose mean engines differ.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with such pools plain."""
        modified = False
        for node in model.graph:
            rounds_up = node.op_type.endswith("Pool") and _attribute(node, "ceil_mode", 0)
            if rounds_up and self._covers(node):
                node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 0)
                modified = True
        return ir.passes.PassResult(model, modified=modified)

    @staticmethod
    def _covers(node: ir.Node) -> bool:
        source = node.inputs[0]
        if source is None or source.shape is None or not source.shape.is_static():
            return False
        kernel = _attribute(node, "kernel_shape", ())
        sides, places = source.shape.numpy()[2:], len(kernel)
        strides = _attribute(node, "strides", (1,) * places)
        pads = _attribute(node, "pads", (0,) * 2 * places)
        dilations = _attribute(node, "dilations", (1,) * places)
        return all(
            (side + pads[k] + pads[k + places] - dilations[k] * (kernel[k] - 1) - 1) % strides[k]
            == 0
            for k, side in enumerate(sides)
        )


class SplitConcatenations(ir.passes.InPlacePass):
    """Let a 1x1 convolution take apart what was concatenated for it, and add what comes out.

    ``conv(cat(a, b)) = conv_a(a) + conv_b(b)``. Only where a part is an upsampling that nobody
    else reads, since otherwise two small convolutions and a sum are no faster than one. Afterwards
    no such concatenation is left, and the bias is added once.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with such concatenations gone."""
        graph, modified = model.graph, False
        for node in list(graph):
            joined = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
            if joined is not None and _is_pointwise(node) and self._worth(joined):
                self._split(graph, node, joined)
                modified = True
        return ir.passes.PassResult(model, modified=modified)

    @staticmethod
    def _worth(joined: ir.Node) -> bool:
        parts = [v for v in joined.inputs if v is not None]
        return (
            joined.op_type == "Concat"
            and _attribute(joined, "axis", None) in (1, -3)
            and len(joined.outputs[0].uses()) == 1
            and all(v.shape is not None and isinstance(v.shape[1], int) for v in parts)
            and any(_is_upsampling(v.producer()) for v in parts)
        )

    @staticmethod
    def _split(graph: ir.Graph, conv: ir.Node, joined: ir.Node) -> None:
        _, weight, *rest = conv.inputs
        assert weight is not None
        assert weight.const_value is not None
        kernel, (out,) = weight.const_value.numpy(), conv.outputs
        total: ir.Value | None = None
        start, added = 0, []
        # The finest part has the bias: it is the one that stays at this size.
        for index, part in enumerate(joined.inputs):
            assert part is not None
            assert part.shape is not None
            stop = start + int(part.shape[1])  # type: ignore[arg-type]
            own = _constant(graph, f"{weight.name}/{start}", kernel[:, start:stop])
            bias = rest if index == len(joined.inputs) - 1 else []
            apart = _like(conv, "Conv", [part, own, *bias], f"{out.name}/part{index}")
            added.append(apart)
            if total is None:
                total = apart.outputs[0]
            else:
                added.append(_like(conv, "Add", [total, apart.outputs[0]], f"{out.name}/{index}"))
                total = added[-1].outputs[0]
            start = stop
        assert total is not None
        graph.insert_before(conv, added)
        ir.convenience.replace_all_uses_with(out, total, replace_graph_outputs=True)
        graph.remove([conv, joined], safe=True)


class CommuteUpsampling(ir.passes.InPlacePass):
    """Convolve before upsampling where a 1x1 convolution follows it.

    ``conv(up(x)) = up(conv(x))``: an upsampling takes means over places, a 1x1 convolution sums
    over channels, and a mean of a bias is the bias. Afterwards no 1x1 convolution reads an
    upsampling of its own; the convolution runs at the small size.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with such convolutions in front."""
        graph, modified = model.graph, False
        for node in list(graph):
            resize = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
            if resize is not None and _is_pointwise(node) and _is_upsampling(resize):
                self._swap(graph, node, resize)
                modified = True
        return ir.passes.PassResult(model, modified=modified)

    @staticmethod
    def _swap(graph: ir.Graph, conv: ir.Node, resize: ir.Node) -> None:
        small, (out,) = resize.inputs[0], conv.outputs
        assert small is not None
        assert small.shape is not None
        assert out.shape is not None
        before = _like(conv, "Conv", [small, *conv.inputs[1:]], f"{out.name}/small")
        n, _, height, width = small.shape.numpy()
        channels = out.shape.numpy()[1]
        before.outputs[0].shape = ir.Shape([n, channels, height, width])
        inputs = [before.outputs[0], *resize.inputs[1:]]
        if len(inputs) > 3 and inputs[3] is not None:
            sizes = np.array(out.shape.numpy(), np.int64)
            inputs[3] = _constant(graph, f"{out.name}/sizes", sizes)
        after = _like(resize, "Resize", inputs, f"{out.name}/large")
        after.outputs[0].shape = out.shape
        graph.insert_before(conv, [before, after])
        ir.convenience.replace_all_uses_with(out, after.outputs[0], replace_graph_outputs=True)
        graph.remove([conv, resize], safe=True)


class WriteOutNorms(ir.passes.InPlacePass):
    """Write a batch norm that no convolution precedes as a product and a sum.

    Those behind a convolution were folded into it. DenseNet's stand behind concatenations.
    Requires the norm's four parameters to be constant. Afterwards there is no BatchNormalization.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model without batch norms."""
        graph, modified = model.graph, False
        for node in list(graph):
            constants = [v.const_value for v in node.inputs[1:] if v is not None]
            if node.op_type != "BatchNormalization" or None in constants:
                continue
            gamma, beta, mean, variance = (
                c.numpy().astype(np.float64) for c in constants if c is not None
            )
            epsilon = _attribute(node, "epsilon", 1e-5)
            factor = gamma / np.sqrt(variance + epsilon)
            (out,) = node.outputs[:1]
            numbers = {"factor": factor, "shift": beta - mean * factor}
            by, shift = (
                _constant(graph, f"{out.name}/{k}", v.astype(np.float32).reshape(1, -1, 1, 1))
                for k, v in numbers.items()
            )
            product = _like(node, "Mul", [node.inputs[0], by], f"{out.name}/scaled")
            total = _like(node, "Add", [product.outputs[0], shift], f"{out.name}/shifted")
            graph.insert_before(node, [product, total])
            ir.convenience.replace_all_uses_with(out, total.outputs[0], replace_graph_outputs=True)
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified=modified)


ALGEBRA: Final[tuple[ir.passes.InPlacePass, ...]] = (
    WriteOutNorms(),
    WholePools(),
    SplitConcatenations(),
    CommuteUpsampling(),
)
"""What every exported graph goes through, in this order."""
