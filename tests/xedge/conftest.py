"""A tiny detector that keeps the graph contract, in ONNX and in numpy, and a bundle of it."""

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xedge.bundle import Variant, open_bundle, write_bundle
from xedge.encode import dual_energy_planes
from xedge.engines.fake import FakeEngine
from xedge.packing import pack_bundle
from xedge.quiet import Quiet
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS, U8, Detections

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


def _darkest(planes: U8) -> Detections:
    dark = np.float32(1) - planes[1].reshape(-1).astype(np.float32) / np.float32(255)
    best = np.argsort(-dark, kind="stable")[:CANDIDATES]
    y, x = best // SIDE, best % SIDE
    boxes = np.stack([x, y, x + BOX, y + BOX], 1).astype(np.float32)
    return Detections(boxes, dark[best], (x % 2).astype(np.int32))


@pytest.fixture(scope="session")
def tiny_answer() -> Callable[[U8], Detections]:
    """What `tiny_onnx` computes, in numpy: planes [3, 32, 32] to all 8 candidates."""
    return _darkest


@pytest.fixture
def tiny_engine() -> FakeEngine:
    """A fake engine that answers like `tiny_onnx`."""
    return FakeEngine(_darkest, height=SIDE, width=SIDE, candidates=CANDIDATES)


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


@pytest.fixture(scope="session")
def tiny_parts(tiny_onnx: bytes, tiny_spec: ModelSpec) -> dict[str, object]:
    """Arguments of `write_bundle` for `tiny_onnx`, without the path."""
    generator = np.random.default_rng(7)
    high = generator.integers(3000, AIR_COUNTS, (64, 60)).astype(np.uint16)
    low = (high * generator.uniform(0.4, 0.9, high.shape)).astype(np.uint16)
    planes = np.empty((3, SIDE, SIDE), np.uint8)
    planes[...] = 234  # columns 30 and 31 are beyond the 60 elements: air
    planes[2] = dual_energy_planes(*(np.full((1, 1), AIR_COUNTS, np.uint16),) * 2)[2, 0, 0]
    planes[:, :, :30] = dual_energy_planes(low, high, 2)
    answer = _darkest(planes)
    golden = {
        "boxes": answer.boxes[None],
        "scores": answer.scores[None],
        "labels": answer.labels[None],
    }
    return {
        "spec": tiny_spec,
        "variants": {"fp32": Variant(tiny_onnx, golden)},
        "golden_low": low,
        "golden_high": high,
        "licence": "Apache License 2.0 ...",
        "created": datetime.date(2026, 11, 21),
        "recipe": "epochs = 1\n",
        "measured": {"ap50": 0.5},
    }


@pytest.fixture(scope="session")
def tiny_bundle(tiny_parts: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `tiny_onnx`, unsigned."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.xedge"
    write_bundle(path, **tiny_parts)  # type: ignore[arg-type]
    return path


LABEL_AWARE = """
<ir_version: 10, opset_import: ["" : 20]>
la (uint8[1, 3, 32, 32] planes) => (float[1, 8, 4] boxes, float[1, 8] scores, int32[1, 8] labels)
<float full = {255}, float one = {1}, float zero = {0}, int64[2] flat = {1, 2048}, int64[1] k = {8},
 int32 pixels = {1024}, int32 side = {32}, float size = {6}, int64[1] last = {2},
 float[4, 3, 1, 1] mix = {0, 1, 0,  0, 0.5, 0,  0, -1, 0,  0, 0.2, 0},
 float[2, 4, 1, 1] predict = {8, 0, 0, 0,  0, 9, 1, 1}, float[2] bias = {-5, -6}>
{
    value = Cast <to = 1> (planes)
    light = Div (value, full)
    dark = Sub (one, light)
    x = Conv (dark, mix)
    above = Greater (x, zero)
    mask = Cast <to = 1> (above)
    a = Mul (x, mask)
    logits = Conv (a, predict, bias)
    first = Sigmoid (logits)
    mean = ReduceMean (first)
    w = Where (above, mean, zero)
    wx = Mul (w, x)
    moved = Add (x, wx)
    b = Relu (moved)
    again = Conv (b, predict, bias)
    second = Sigmoid (again)
    row = Reshape (second, flat)
    scores, where = TopK (row, k)
    index = Cast <to = 6> (where)
    labels = Div (index, pixels)
    start = Mul (labels, pixels)
    place = Sub (index, start)
    line = Div (place, side)
    line_start = Mul (line, side)
    column = Sub (place, line_start)
    x1 = Cast <to = 1> (column)
    y1 = Cast <to = 1> (line)
    x2 = Add (x1, size)
    y2 = Add (y1, size)
    x1_ = Unsqueeze (x1, last)
    y1_ = Unsqueeze (y1, last)
    x2_ = Unsqueeze (x2, last)
    y2_ = Unsqueeze (y2, last)
    boxes = Concat <axis = 2> (x1_, y1_, x2_, y2_)
}
"""


@pytest.fixture(scope="session")
def label_aware_onnx() -> bytes:
    """A model of `tiny_spec` with a step like LA's on one level; air scores 0.01 in it.

    x' = (1 + w) x with w the mean first-pass score where x is above 0; nothing of the second pass
    is computed before the first one has ended.
    """
    onnx = pytest.importorskip("onnx", reason="onnx (extra `export`) makes the test's model")
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(LABEL_AWARE))
    for node in model.graph.node:
        scope = "P3/label_aware/" if node.output[0] in {"logits", "first", "moved", "w"} else ""
        node.name = f"{scope}{node.op_type}_{node.output[0]}"
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def quiet_bundle(
    label_aware_onnx: bytes,
    tiny_parts: dict[str, Any],
    tiny_spec: ModelSpec,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle of `label_aware_onnx`: at a first-pass score below 0.2 a window stops."""
    pytest.importorskip("onnxruntime", reason="its answer is the golden one")
    path = tmp_path_factory.mktemp("quiet") / "quiet.xedge"
    counts = (tiny_parts["golden_low"], tiny_parts["golden_high"])
    parts = {name: tiny_parts[name] for name in ("licence", "created")}
    pack_bundle(path, {"fp32": label_aware_onnx}, tiny_spec, counts=counts, **parts)
    whole = open_bundle(path)
    stated = (Quiet(keeps=0.3, below=0.15), Quiet(keeps=0.5, below=0.2))
    variants = {"fp32": replace(whole.variant(), quiet=stated)}
    write_bundle(path, spec=tiny_spec, variants=variants, golden_low=counts[0],
                 golden_high=counts[1], **parts)  # fmt: skip
    return path
