"""Plans built with the real TensorRT-RTX, which needs no GPU for it: what is fused, in what."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.engines.tensorrt_api import Api, open_api
from xedge.engines.tensorrt_build import (
    BuildOptions,
    Built,
    Layer,
    arithmetic_of,
    build_plan,
)
from xedge.errors import EngineLoadError

TARGETS = ("SM86", "SM89", "SM120")


@pytest.fixture(scope="module")
def api() -> Api:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    return open_api("tensorrt_rtx", "TensorRT-RTX", "tensorrt-rtx")


def residual(dtype: type[np.generic], scale: float | None = None) -> bytes:
    """x → conv → relu → conv → + relu(conv) → relu; INT8 where there is a scale."""
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    h, rng = onnx.helper, np.random.default_rng(1)
    kind = h.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights, nodes, count = [], [], iter(range(99))

    def array(values: np.ndarray) -> str:
        weights.append(onnx.numpy_helper.from_array(values, f"w{next(count)}"))
        return weights[-1].name

    def quantised(name: str) -> str:
        if scale is None:
            return name
        s, z = array(np.array(scale, dtype)), array(np.array(0, np.int8))
        nodes.append(h.make_node("QuantizeLinear", [name, s, z], [f"{name}_q{s}"]))
        nodes.append(h.make_node("DequantizeLinear", [f"{name}_q{s}", s, z], [f"{name}_d{s}"]))
        return f"{name}_d{s}"

    def conv(name: str, to: str) -> str:
        w = array((rng.standard_normal((32, 32, 3, 3)) / 17).astype(dtype))
        feeds = [quantised(name), quantised(w), array(np.ones(32, dtype))]
        nodes.append(h.make_node("Conv", feeds, [to], name=to, pads=[1, 1, 1, 1]))
        return to

    def relu(name: str, to: str) -> str:
        nodes.append(h.make_node("Relu", [name], [to], name=to))
        return to

    first = relu(conv("x", "conv1"), "relu1")
    nodes.append(h.make_node("Add", [conv(first, "conv2"), first], ["sum"]))
    relu("sum", "y")
    shape = [1, 32, 24, 24]
    graph = h.make_graph(
        nodes, "g", [h.make_tensor_value_info("x", kind, shape)],
        [h.make_tensor_value_info("y", kind, shape)], weights,
    )  # fmt: skip
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def build(api: Api, model: bytes, target: str = "SM86") -> Built:
    return build_plan(api, model, BuildOptions(targets=(target,)))


@pytest.mark.parametrize("target", TARGETS)
def test_fp16_convolutions_take_their_relu_and_sum_with_them_in_half(api, target) -> None:
    layers = build(api, residual(np.float16), target).layers
    # Before and after them the data is laid out anew: linear outside, channels last within.
    assert [layer.kind for layer in layers] == ["kgen", "correlation", "correlation", "kgen"]
    assert {kind for layer in layers for kind in (*layer.inputs, *layer.outputs)} == {"Half"}


def test_a_float32_graph_stays_float32(api) -> None:
    layers = build(api, residual(np.float32)).layers
    assert {kind for layer in layers for kind in (*layer.inputs, *layer.outputs)} == {"Float"}


@pytest.mark.parametrize("target", TARGETS)
def test_int8_convolutions_read_int8(api, target) -> None:
    layers = build(api, residual(np.float16, 0.05), target).layers
    convolutions = [layer for layer in layers if layer.kind == "correlation"]
    assert len(convolutions) == 2
    assert all(layer.inputs[0] == "Int8" for layer in convolutions)


@pytest.mark.parametrize(
    ("dtype", "scale", "told"),
    [(np.float32, None, "float32"), (np.float16, None, "float16"), (np.float16, 0.05, "int8")],
)
def test_what_is_computed_in_is_told(api, dtype, scale, told) -> None:
    assert arithmetic_of(build(api, residual(dtype, scale)).layers) == {told: 2}


def test_convolutions_within_a_fusion_count_and_other_names_do_not() -> None:
    def layer(name: str, kind: str) -> Layer:
        return Layer(name, kind, ("Half",), ("Half",))

    layers = [
        layer("__myl_CorrMulAdd_myl0_73", "runtime_fusion"),
        layer("__myl_MulCorr_myl0_3", "runtime_fusion"),
        layer("neck/Conv_myl0_1", "correlation"),
        layer("__myl_Relu_myl0_2", "kgen"),
        layer("correct_me", "kgen"),
    ]
    assert arithmetic_of(layers) == {"float16": 3}


def test_plans_differ_by_target_and_the_default_is_one_more(api) -> None:
    model = residual(np.float16)
    plans = {build(api, model, target).plan for target in TARGETS}
    plans.add(build_plan(api, model).plan)
    assert len(plans) > 1
    assert min(map(len, plans)) > 10_000


def test_progress_rises_to_the_end(api) -> None:
    heard: list[tuple[str, float]] = []
    build_plan(api, residual(np.float16), progress=lambda what, part: heard.append((what, part)))
    shares = [part for _, part in heard]
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1.0


def test_ctrl_c_ends_the_build_and_the_process_lives(api) -> None:
    def interrupted(_: str, __: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(api, residual(np.float16), progress=interrupted)


def test_what_it_refuses_is_told(api) -> None:
    with pytest.raises(EngineLoadError, match=r"TensorRT-RTX 1\.\d.*refused the model"):
        build_plan(api, b"\x08\x0a no model")
    onnx = pytest.importorskip("onnx")
    h = onnx.helper
    node = h.make_node("NoSuchOp", ["x"], ["y"], name="head/odd")
    info = [h.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    odd = h.make_model(h.make_graph([node], "g", info[:1], info[1:]), ir_version=10)
    with pytest.raises(EngineLoadError, match=r"NoSuchOp"):
        build_plan(api, odd.SerializeToString())


def test_it_prints_nothing(api, capfd) -> None:
    build(api, residual(np.float16))
    with pytest.raises(EngineLoadError):
        build_plan(api, b"junk")
    assert capfd.readouterr() == ("", "")


def test_weak_typing_is_refused_where_there_is_none(api) -> None:
    with pytest.raises(EngineLoadError, match="does not choose precisions"):
        build_plan(api, residual(np.float32), BuildOptions(weak=True))


def test_a_plan_cannot_be_opened_without_a_gpu(api) -> None:
    """Why the layers are read from the log: the engine inspector opens the plan first."""
    try:
        import cuda.core

        cuda.core.Device(0).set_current()
    except Exception:
        runtime = api.trt.Runtime(api.trt.Logger(api.trt.Logger.INTERNAL_ERROR))
        assert runtime.deserialize_cuda_engine(build(api, residual(np.float16)).plan) is None
    else:
        pytest.skip("there is a GPU")
