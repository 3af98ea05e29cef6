"""A small residual network as an ONNX graph, every number of which can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.lib.stride_tricks import sliding_window_view

Put = Callable[[str, str, np.ndarray], np.ndarray]
"""What a reader sees of a tensor: their names, and the tensor."""

SHAPES: dict[str, tuple[int, ...]] = {
    "first": (8, 3, 3, 3), "c1": (8, 8, 3, 3), "c2": (8, 8, 3, 3), "c3": (16, 8, 3, 3),
    "c4": (16, 16, 3, 3), "down": (16, 8, 1, 1), "top": (8, 16, 1, 1), "side": (8, 8, 1, 1),
    "smooth": (8, 8, 3, 3), "predict": (4, 8, 3, 3),
}  # fmt: skip

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
net (uint8[1, 3, 16, 16] planes) => (float[1, 4, 8, 8] scores)
<float mean = {128}, float size = {0.015625}, float[4] up = {1, 1, 2, 2}>
{
    cast = Cast <to = 1> (planes)
    less = Sub (cast, mean)
    x = Mul (less, size)
    a = Conv <pads = [1, 1, 1, 1]> (x, first_w, first_b)
    a_relu = Relu (a)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a_relu)
    b = Conv <pads = [1, 1, 1, 1]> (p, c1_w, c1_b)
    b_relu = Relu (b)
    c = Conv <pads = [1, 1, 1, 1]> (b_relu, c2_w, c2_b)
    c_sum = Add (c, p)
    c_relu = Relu (c_sum)
    d = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (c_relu, c3_w, c3_b)
    d_relu = Relu (d)
    e = Conv <pads = [1, 1, 1, 1]> (d_relu, c4_w, c4_b)
    q = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c_relu)
    f = Conv (q, down_w, down_b)
    e_sum = Add (e, f)
    e_relu = Relu (e_sum)
    g = Conv (e_relu, top_w, top_b)
    g_up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
                   nearest_mode = "floor"> (g, , up)
    h = Conv (c_relu, side_w, side_b)
    h_sum = Add (h, g_up)
    i = Conv <pads = [1, 1, 1, 1]> (h_sum, smooth_w, smooth_b)
    i_relu = Relu (i)
    j = Conv <pads = [1, 1, 1, 1]> (i_relu, predict_w, predict_b)
    scores = Sigmoid (j)
}
"""


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int = 1) -> np.ndarray:
    """A convolution that keeps the size but for its stride, ``[C, H, W]``."""
    pad = w.shape[-1] // 2
    views = sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), w.shape[2:], (1, 2))
    y = np.einsum("chwij,ocij->ohw", views[:, ::stride, ::stride], w)
    return y + b[:, None, None]


class Net:
    """The network: its graph, and the same in NumPy with a say in what readers see.

    Weights of a channel are whole numbers of 64ths, the largest 127 of them, and so are scales,
    inputs and biases: every sum is exact in float32, in any order.
    """

    def __init__(self, seed: int = 4) -> None:
        rng = np.random.default_rng(seed)
        self.weights: dict[str, np.ndarray] = {}
        for name, shape in SHAPES.items():
            w = rng.integers(-9, 10, shape)
            w[:, 0, 0, 0] = 127 * rng.choice([-1, 1], shape[0])
            self.weights[f"{name}_w"] = (w / 64).astype(np.float32)
            self.weights[f"{name}_b"] = (rng.integers(-32, 33, shape[0]) / 64).astype(np.float32)

    def model(self, changed: Mapping[str, np.ndarray] = {}) -> ir.Model:
        """The graph; weights may be exchanged."""
        proto = onnx.parser.parse_model(GRAPH)
        for name, numbers in (self.weights | dict(changed)).items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
        model = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))
        for node in model.graph:
            node.name = str(node.outputs[0].name)
        return model

    def logits(self, planes: np.ndarray, put: Put = lambda _, __, x: x) -> np.ndarray:
        """What comes before the sigmoid, float64 ``[4, 8, 8]``; weights and biases are exact."""
        conv = self._conv
        a = np.maximum(conv("first", (planes.astype(np.float64) - 128) / 64), 0)
        p = a.reshape(8, 8, 2, 8, 2).max(axis=(2, 4))
        b = np.maximum(conv("c1", put("p", "b", p)), 0)
        c = put("c", "c_sum", conv("c2", put("b_relu", "c", b)))
        c = np.maximum(c + put("p", "c_sum", p), 0)
        d = np.maximum(conv("c3", put("c_relu", "d", c), 2), 0)
        e = put("e", "e_sum", conv("c4", put("d_relu", "e", d)))
        q = put("c_relu", "q", c).reshape(8, 4, 2, 4, 2).mean(axis=(2, 4))
        e = np.maximum(e + put("f", "e_sum", conv("down", put("q", "f", q))), 0)
        g = put("g", "g_up", conv("top", put("e_relu", "g", e)))
        g = put("g_up", "h_sum", g.repeat(2, axis=1).repeat(2, axis=2))
        h = put("h", "h_sum", conv("side", put("c_relu", "h", c)))
        i = conv("smooth", put("h_sum", "i", h + g))
        return conv("predict", np.maximum(i, 0))

    def _conv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        return convolved(x, self.weights[f"{name}_w"], self.weights[f"{name}_b"], stride)


@pytest.fixture(scope="session")
def net() -> Net:
    return Net()


@pytest.fixture(scope="session")
def windows() -> list[np.ndarray]:
    """Four windows of planes."""
    return list(np.random.default_rng(5).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8))
