"""A tiny detector in ONNX that keeps the graph contract: it boxes the darkest pixels."""

import pytest

from xedge.spec import Channels, ModelSpec

SIDE = 32
CANDIDATES = 8
BOX = 6


@pytest.fixture(scope="session")
def tiny_onnx() -> bytes:
    """Planes uint8 [1, 3, 32, 32] in; the 8 darkest pixels of plane 1 out.

    score = 1 - value / 255 (the darkest first, ties by position), label = column modulo 2,
    box = 6 x 6 pixels from the dark one to the right and down.
    """
    onnx = pytest.importorskip("onnx", reason="onnx (extra `export`) makes the test's model")
    h, t = onnx.helper, onnx.TensorProto

    def constant(name, kind, shape, values):
        return h.make_tensor(name, kind, shape, values)

    nodes = [
        h.make_node("Slice", ["planes", "one", "two", "axis"], ["plane"]),
        h.make_node("Cast", ["plane"], ["value"], to=t.FLOAT),
        h.make_node("Div", ["value", "full"], ["light"]),
        h.make_node("Sub", ["unit", "light"], ["dark"]),
        h.make_node("Reshape", ["dark", "flat"], ["row"]),
        h.make_node("TopK", ["row", "k"], ["scores", "where"], axis=1),
        h.make_node("Cast", ["where"], ["index"], to=t.INT32),
        h.make_node("Div", ["index", "side"], ["y"]),
        h.make_node("Mul", ["y", "side"], ["y_start"]),
        h.make_node("Sub", ["index", "y_start"], ["x"]),
        h.make_node("Div", ["x", "pair"], ["half"]),
        h.make_node("Mul", ["half", "pair"], ["even"]),
        h.make_node("Sub", ["x", "even"], ["labels"]),
        h.make_node("Cast", ["x"], ["x1"], to=t.FLOAT),
        h.make_node("Cast", ["y"], ["y1"], to=t.FLOAT),
        h.make_node("Add", ["x1", "box"], ["x2"]),
        h.make_node("Add", ["y1", "box"], ["y2"]),
        *[
            h.make_node("Unsqueeze", [name, "last"], [name + "_"])
            for name in ("x1", "y1", "x2", "y2")
        ],
        h.make_node("Concat", ["x1_", "y1_", "x2_", "y2_"], ["boxes"], axis=2),
    ]
    constants = [
        constant("one", t.INT64, [1], [1]),
        constant("two", t.INT64, [1], [2]),
        constant("axis", t.INT64, [1], [1]),
        constant("full", t.FLOAT, [], [255.0]),
        constant("unit", t.FLOAT, [], [1.0]),
        constant("flat", t.INT64, [2], [1, SIDE * SIDE]),
        constant("k", t.INT64, [1], [CANDIDATES]),
        constant("side", t.INT32, [], [SIDE]),
        constant("pair", t.INT32, [], [2]),
        constant("box", t.FLOAT, [], [float(BOX)]),
        constant("last", t.INT64, [1], [2]),
    ]
    graph = h.make_graph(
        nodes,
        "darkest-pixels",
        [h.make_tensor_value_info("planes", t.UINT8, [1, 3, SIDE, SIDE])],
        [
            h.make_tensor_value_info("boxes", t.FLOAT, [1, CANDIDATES, 4]),
            h.make_tensor_value_info("scores", t.FLOAT, [1, CANDIDATES]),
            h.make_tensor_value_info("labels", t.INT32, [1, CANDIDATES]),
        ],
        constants,
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """The description of `tiny_onnx`."""
    return ModelSpec(
        name="darkest-pixels",
        classes=("even", "odd"),
        height=SIDE,
        width=SIDE,
        channels=Channels.DUAL_ENERGY,
        binning=2,
        pixel_mm=1.24,
        candidates=CANDIDATES,
        score_threshold=0.3,
        alarm_threshold=0.5,
        nms_iou=0.5,
    )
