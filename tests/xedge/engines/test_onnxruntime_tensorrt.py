"""ONNX Runtime's TensorRT providers: their path through the compiler, on the CPU's provider."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.engines.build import Building, load_built
from xedge.engines.cache import EngineCache
from xedge.engines.onnxruntime_tensorrt import (
    OnnxRuntimeTensorRtEngine,
    OnnxRuntimeTensorRtRtxEngine,
)
from xedge.errors import EngineLoadError, EngineNotInstalled

PLANES = {"planes": np.random.default_rng(3).integers(0, 256, (1, 3, 32, 32)).astype(np.uint8)}


class OnCpu(OnnxRuntimeTensorRtEngine):
    """The same path through ONNX Runtime's compiler, with a provider that is here."""

    provider = "CPUExecutionProvider"

    @classmethod
    def _device(cls, library, options):
        return {"providers": [cls.provider]}


@pytest.fixture
def library() -> types.ModuleType:
    found = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    if not hasattr(found, "ModelCompiler"):
        pytest.skip("needs onnxruntime 1.22")
    return found


def test_a_compiled_model_is_kept_and_answers_the_same(library, tiny_onnx, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    expected = engines.load(tiny_onnx, "onnxruntime", 1).run(PLANES)
    for _ in range(2):
        how = Building(cache, lambda engine: engine.run(PLANES))
        engine = load_built(OnCpu, "here", tiny_onnx, 1, how)
        for name, array in engine.run(PLANES).items():
            np.testing.assert_array_equal(array, expected[name])
    assert len(cache.entries()) == 1


def test_what_cannot_be_compiled_is_told(library, monkeypatch) -> None:
    with pytest.raises(EngineLoadError, match="could not compile"):
        OnCpu.build(b"junk", 1, None, print)
    monkeypatch.delattr(library, "ModelCompiler")
    with pytest.raises(EngineLoadError, match=r"cannot keep.*1\.22"):
        OnCpu.build(b"junk", 1, None, print)


def test_a_provider_that_is_not_there_is_told(library) -> None:
    if "TensorrtExecutionProvider" in library.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    with pytest.raises(EngineNotInstalled, match="TensorrtExecutionProvider"):
        engines.load(b"model", "onnxruntime-tensorrt")


class Plugin(types.ModuleType):
    """NVIDIA's plug-in as it documents itself."""

    @staticmethod
    def get_ep_name() -> str:
        return "NvTensorRTRTXExecutionProvider"

    @staticmethod
    def get_library_path() -> str:
        return "libabsent.so"


def test_the_plug_in_that_cannot_be_loaded_is_told(library, monkeypatch) -> None:
    name = "onnxruntime_ep_nv_tensorrt_rtx"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineNotInstalled, match=r"not installed.*onnxruntime-ep-nv-tensorrt-rtx"):
        OnnxRuntimeTensorRtRtxEngine.version()
    monkeypatch.setitem(sys.modules, name, Plugin(name))
    with pytest.raises(EngineNotInstalled, match=r"cannot be loaded.*libabsent"):
        OnnxRuntimeTensorRtRtxEngine.version()
    monkeypatch.setattr(library, "register_execution_provider_library", lambda *_: None)
    with pytest.raises(EngineNotInstalled, match="finds no GPU"):
        OnnxRuntimeTensorRtRtxEngine.version()


def test_they_do_not_tell_what_they_compute_in() -> None:
    with pytest.raises(EngineLoadError, match="does not tell"):
        engines.arithmetic(b"model", "onnxruntime-tensorrt")
