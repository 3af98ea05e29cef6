"""Choosing, loading and refusing: what the table of engines does with names and models."""

import re
import sys

import numpy as np
import pytest

from xedge import engines
from xedge.engines.fake import FakeEngine, around_dense_matter
from xedge.engines.onnxruntime import OnnxRuntimeCudaEngine, OnnxRuntimeEngine
from xedge.engines.openvino import OpenVinoBf16Engine, OpenVinoEngine
from xedge.engines.threads import lane_threads, physical_cores
from xedge.errors import EngineLoadError, EngineNotInstalled, EngineRunError
from xedge.types import Detections

REAL = ("onnxruntime", "openvino")


def usable(name: str) -> str:
    if not (there := engines.available()[name]).usable:
        pytest.skip(f"{name}: {there}")
    return name


def square(dtype: int, shape: list[int | str], nodes, initializers=()) -> bytes:
    onnx = pytest.importorskip("onnx", reason="onnx (extra `export`) makes the test's model")
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.helper.make_tensor_value_info("y", dtype, shape)],
        list(initializers),
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
    return bytes(model.SerializeToString())


def test_every_name_of_the_table_is_a_back_end_and_says_whether_it_is_there() -> None:
    found = engines.available()
    assert list(found) == list(engines.BACK_ENDS)
    assert found["fake"].usable
    for there in found.values():
        # A version, or a reason with its remedy.
        assert re.search(r"\d+\.\d+", str(there)) if there.usable else ". " in str(there)


def test_importing_the_table_imports_no_library() -> None:
    import subprocess

    code = (
        "import sys, xedge.engines; print({'onnxruntime', 'openvino', 'onnx'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_openvino_comes_without_its_converter_until_somebody_asks() -> None:
    import subprocess

    usable("openvino")
    code = """
import sys
from xedge.engines.openvino import OpenVinoEngine
OpenVinoEngine.version()
print("openvino.tools.ovc" in sys.modules, "openvino_telemetry" in sys.modules)
import openvino
print(hasattr(openvino, "no_such_thing"), "openvino.tools.ovc" in sys.modules)
from openvino import convert_model
print(convert_model is sys.modules["openvino.tools.ovc"].convert_model)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False", "False", "False", "True"]


@pytest.mark.parametrize("name", REAL)
def test_auto_takes_what_is_installed(monkeypatch, tiny_onnx, name) -> None:
    usable(name)
    for other in REAL:
        if other != name:
            monkeypatch.setitem(sys.modules, other, None)  # what `import` then does: fail
    engine = engines.load(tiny_onnx, threads=1)
    assert type(engine) is {"onnxruntime": OnnxRuntimeEngine, "openvino": OpenVinoEngine}[name]


def test_auto_prefers_openvino(tiny_onnx) -> None:
    usable("openvino")
    assert type(engines.load(tiny_onnx, threads=1)) is OpenVinoEngine


def test_auto_without_any_library_says_what_to_install(monkeypatch) -> None:
    for name in REAL:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineNotInstalled, match=re.escape("pip install 'xedge[cpu]'")):
        engines.load(b"model")


@pytest.mark.parametrize(
    ("name", "extra"),
    [("onnxruntime", "ort"), ("onnxruntime-cuda", "ort-gpu"), ("openvino", "openvino")],
)
def test_an_absent_library_names_its_extra(monkeypatch, name, extra) -> None:
    monkeypatch.setitem(sys.modules, name.removesuffix("-cuda"), None)
    with pytest.raises(EngineNotInstalled, match=re.escape(f"xedge[{extra}]")):
        engines.load(b"model", name)
    assert not engines.available()[name].usable


def test_a_wheel_without_cuda_is_not_taken_for_one_with_it(tiny_onnx) -> None:
    library = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in library.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineNotInstalled, match=r"CUDAExecutionProvider.*ort-gpu"):
        OnnxRuntimeCudaEngine.load(tiny_onnx, None)


def test_a_processor_without_bfloat16_is_told_apart() -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    with pytest.raises(EngineLoadError, match=r"bfloat16.*AVX512-BF16.*FP32, INT8"):
        OpenVinoBf16Engine._require_precision(Core())


@pytest.mark.parametrize(("name", "kept"), [("openvino", True), ("openvino-bf16", False)])
def test_the_precision_is_the_one_asked_for(name, kept) -> None:
    # 1 + 2^-10 needs 11 bits of fraction: float32 keeps it, bfloat16 (8 bits) rounds it to 1.
    usable(name)
    onnx = pytest.importorskip("onnx")
    weight = np.eye(64, dtype=np.float32) * np.float32(1 + 2**-10)
    model = square(
        onnx.TensorProto.FLOAT,
        [64, 64],
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    y = engines.load(model, name, threads=1).run({"x": np.ones((64, 64), np.float32)})["y"]
    assert bool(y[0, 0] == np.float32(1 + 2**-10)) is kept


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 50])
def test_what_is_no_model_is_refused(name, content) -> None:
    with pytest.raises(EngineLoadError, match="refused the model"):
        engines.load(content, usable(name))


@pytest.mark.parametrize("name", REAL)
def test_a_model_cut_short_is_refused(name, tiny_onnx) -> None:
    with pytest.raises(EngineLoadError):
        engines.load(tiny_onnx[: len(tiny_onnx) // 2], usable(name))


@pytest.mark.parametrize("name", REAL)
def test_a_dynamic_shape_is_refused(name) -> None:
    onnx = pytest.importorskip("onnx")
    model = square(onnx.TensorProto.FLOAT, ["n", 3], [onnx.helper.make_node("Relu", ["x"], ["y"])])
    with pytest.raises(EngineLoadError, match="static shape"):
        engines.load(model, usable(name))


def test_a_tensor_type_outside_the_contract_is_refused() -> None:
    usable("onnxruntime")
    onnx = pytest.importorskip("onnx")
    model = square(onnx.TensorProto.INT64, [2], [onnx.helper.make_node("Identity", ["x"], ["y"])])
    with pytest.raises(EngineLoadError, match=r"int64"):
        engines.load(model, "onnxruntime")


@pytest.mark.parametrize("name", REAL)
def test_a_failure_while_running_is_mapped(name, tiny_onnx) -> None:
    class Broken:
        def run(self, *_: object, **__: object) -> None:
            raise RuntimeError("deep inside")

        infer = run

    engine = engines.load(tiny_onnx, usable(name), threads=1)
    setattr(engine, {"onnxruntime": "_session", "openvino": "_request"}[name], Broken())
    with pytest.raises(EngineRunError, match=r"failed while running.*deep inside") as caught:
        engine.run({"planes": np.zeros((1, 3, 32, 32), np.uint8)})
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_names_paths_and_threads_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(EngineLoadError, match="Did you mean 'openvino'"):
        engines.load(b"model", "openvinno")
    with pytest.raises(EngineLoadError, match="there is no engine"):
        engines.load(b"model", "\x00")
    with pytest.raises(EngineLoadError, match="cannot be read"):
        engines.load(tmp_path / "absent.onnx", "fake")
    with pytest.raises(EngineLoadError, match="1 or more"):
        engines.load(b"model", "fake", threads=0)


def test_a_model_may_be_a_path(tmp_path, tiny_onnx) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx)
    assert engines.load(path, usable("onnxruntime"), threads=1).inputs[0].shape == (1, 3, 32, 32)


def test_threads_count_cores_and_not_their_siblings(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for cpu, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    assert physical_cores(tmp_path) == 2
    assert physical_cores(tmp_path / "nothing here") == 4
    assert 1 <= lane_threads() <= physical_cores()


class TestFake:
    planes = np.full((1, 3, 416, 416), 234, np.uint8)

    def test_it_boxes_dense_matter_and_nothing_else(self) -> None:
        assert len(around_dense_matter(self.planes[0])) == 0
        dense = self.planes.copy()
        dense[0, 1, 10:30, 40:100] = 50
        outputs = FakeEngine().run({"planes": dense})
        assert outputs["boxes"][0, 0].tolist() == [40, 10, 100, 30]
        assert outputs["scores"][0].tolist() == [np.float32(0.9)] + [0.0] * 199

    def test_it_fails_and_answers_nan_where_it_is_told_to(self) -> None:
        engine = FakeEngine(fail_at={1}, nan_at={2})
        assert np.isfinite(engine.run({"planes": self.planes})["scores"]).all()
        with pytest.raises(EngineRunError, match="run 1"):
            engine.run({"planes": self.planes})
        assert np.isnan(engine.run({"planes": self.planes})["scores"]).all()
        assert np.isfinite(engine.run({"planes": self.planes})["scores"]).all()
        assert engine.runs == 4

    def test_its_delay_passes_on_the_clock_it_is_given(self) -> None:
        slept: list[float] = []
        engine = FakeEngine(delay_s=0.25, sleep=slept.append)
        engine.run({"planes": self.planes})
        assert slept == [0.25]

    def test_more_answers_than_rows_are_cut_off(self) -> None:
        many = Detections(
            np.tile(np.array([[0, 0, 1, 1]], np.float32), (5, 1)),
            np.linspace(1, 0.5, 5, dtype=np.float32),
            np.zeros(5, np.int32),
        )
        outputs = FakeEngine(lambda _: many, candidates=3).run({"planes": self.planes})
        assert outputs["scores"].shape == (1, 3)

    def test_an_empty_model_is_refused_even_here(self) -> None:
        with pytest.raises(EngineLoadError, match="empty"):
            engines.load(b"", "fake")
