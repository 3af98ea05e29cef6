"""The TensorRT back ends against stand-ins that have the names of each version; no GPU is used."""

from __future__ import annotations

import dataclasses
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.bundle import Variant, open_bundle
from xedge.engines.build import Building, plan_facts
from xedge.engines.cache import EngineCache
from xedge.engines.deploy import compile_bundle, load_variant
from xedge.engines.tensorrt_api import open_api
from xedge.engines.tensorrt_build import BuildOptions, build_plan
from xedge.errors import EngineLoadError, EngineNotInstalled, EngineRunError, InputError

MODEL = b"\x08\x0a a model"
SHAPE = (1, 3, 32, 32)


def name_for(version: str, suffix: str = "") -> str:
    return ("tensorrt-rtx" if version.startswith("rtx") else "tensorrt") + suffix


def planes(seed: int) -> dict[str, np.ndarray]:
    return {"planes": np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.uint8)}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def accept(engine) -> None:
    engine.run(planes(0))


@pytest.mark.parametrize("suffix", ["", "-graph"])
@pytest.mark.parametrize("integrated", [False, True])
def test_it_answers_as_the_model_does(
    version, integrated, suffix, make_tensorrt, tiny_engine
) -> None:
    double = make_tensorrt(version, integrated=integrated)
    engine = engines.load(MODEL, name_for(version, suffix))
    assert [(s.name, s.shape, str(s.dtype)) for s in engine.inputs] == [("planes", SHAPE, "uint8")]
    assert engine.outputs == tiny_engine.outputs
    kept = []
    for seed in range(4):
        found, expected = engine.run(planes(seed)), tiny_engine.run(planes(seed))
        kept.append((found, {name: array.copy() for name, array in found.items()}))
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    for found, copies in kept:  # what was answered belongs to the caller
        for name, array in copies.items():
            np.testing.assert_array_equal(found[name], array)
    assert (double.cuda.allocated_on_device == 0) is integrated
    # Full TensorRT is captured by us after the first run, RTX captures by itself.
    captured = suffix == "-graph" and not version.startswith("rtx")
    assert double.cuda.launches == (3 if captured else 0)
    assert double.log.count("enqueue") == (2 if captured else 4)
    wanted = "WHOLE_GRAPH_CAPTURE" if suffix and version.startswith("rtx") else "plain"
    assert f"context {wanted}" in double.log
    engine.close()
    engine.close()
    assert double.cuda.buffers == []
    with pytest.raises(EngineRunError, match="closed"):
        engine.run(planes(0))


def test_views_and_wrong_feeds(version, make_tensorrt, tiny_engine) -> None:
    make_tensorrt(version)
    engine = engines.load(MODEL, name_for(version))
    wide = np.zeros((1, 3, 32, 64), np.uint8)
    wide[..., ::2] = planes(1)["planes"]
    found = engine.run({"planes": wide[..., ::2]})
    np.testing.assert_array_equal(found["scores"], tiny_engine.run(planes(1))["scores"])
    with pytest.raises(InputError):
        engine.run({"planes": np.zeros(SHAPE, np.float32)})


def test_the_thread_that_runs_it_need_not_be_the_one_that_loaded_it(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    engine = engines.load(MODEL, name_for(version))
    thread = threading.Thread(target=engine.run, args=(planes(0),))
    thread.start()
    thread.join()
    assert thread.ident in double.cuda.current


def test_networks_are_strongly_typed_and_tf32_is_off(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    engines.load(MODEL, name_for(version))
    (build,) = [line for line in double.log if line.startswith("build")]
    # No target where none is named SM87, and none at all where targets cannot be named.
    assert build == "build strong [] []"


@pytest.mark.parametrize(
    ("capability", "target"), [((8, 6), "SM86"), ((8, 9), "SM89"), ((12, 0), "SM120"), ((9, 0), "")]
)
def test_rtx_builds_for_the_gpu_that_is_there_where_it_knows_it(
    make_tensorrt, capability, target
) -> None:
    double = make_tensorrt("rtx17", capability)
    engines.load(MODEL, "tensorrt-rtx")
    assert f"build strong [] [{target}]" in double.log


def test_weak_typing_is_there_where_the_flags_are(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    there = engines.available()["tensorrt-weak"]
    if version.startswith(("11", "rtx")):
        assert not there.usable
        if not version.startswith("rtx"):
            with pytest.raises(EngineLoadError, match=r"precisions.*TensorRT 10"):
                engines.load(MODEL, "tensorrt-weak")
        return
    assert there.usable
    engines.load(MODEL, "tensorrt-weak")
    engines.load(MODEL + b"QuantizeLinear", "tensorrt-weak")
    assert [line for line in double.log if line.startswith("build")] == [
        "build weak [FP16] []", "build weak [FP16,INT8] []",
    ]  # fmt: skip


def test_a_plan_is_kept_and_opened_again(version, make_tensorrt, cache) -> None:
    double = make_tensorrt(version)
    heard: list[tuple[str, float]] = []
    how = Building(cache, accept, lambda what, part: heard.append((what, part)))
    for _ in range(3):
        engines.load(MODEL, name_for(version), None, how).run(planes(2))
    assert sum(line.startswith("build") for line in double.log) == 1
    shares = [part for _, part in heard]
    assert {what for what, _ in heard} == {"Building"}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_another_version_of_the_library_builds_anew(make_tensorrt, cache) -> None:
    for version in ("10.3.0", "11.4"):
        double = make_tensorrt(version)
        engines.load(MODEL, "tensorrt", None, Building(cache, accept))
        assert sum(line.startswith("build") for line in double.log) == 1
    plans = [entry for entry in cache.entries() if entry.facts["kind"] == "plan"]
    assert {entry.facts["version"] for entry in plans} == {"10.3.0", "11.4"}
    assert {entry.facts["compute_capability"] for entry in plans} == {"8.7"}


def test_a_foreign_plan_under_the_right_name_is_built_again(version, make_tensorrt, cache) -> None:
    double = make_tensorrt(version)
    name = name_for(version)
    facts = plan_facts(engines._back_end(name), name, MODEL, None)
    cache.put(facts, b"plan of another version")
    engines.load(MODEL, name, None, Building(cache, accept)).run(planes(1))
    assert cache.get(facts) == double.plan("strong [] []")


def test_what_was_timed_is_used_again_and_what_others_timed_is_not(
    version, make_tensorrt, cache
) -> None:
    double = make_tensorrt(version)
    name = name_for(version)
    for number in range(2):
        engines.load(MODEL + bytes([number]), name, None, Building(cache, accept))
    timed = [line for line in double.log if line.startswith("timings")]
    kinds = {entry.facts["kind"] for entry in cache.entries()}
    if version.startswith("rtx"):
        assert timed == []
        assert kinds == {"plan", "kernels"}
        return
    assert timed == ["timings 0", f"timings {len(version) + 6}"]
    assert kinds == {"plan", "timings"}
    facts = next(e.facts for e in cache.entries() if e.facts["kind"] == "timings")
    cache.put(facts, b"9.9 timed elsewhere")
    engines.load(MODEL + b"again", name, None, Building(cache, accept))
    assert double.log.count("timings 0") == 2


def test_kernels_that_rtx_compiled_are_kept(make_tensorrt, cache) -> None:
    double = make_tensorrt("rtx17")
    for _ in range(2):
        engines.load(MODEL, "tensorrt-rtx", None, Building(cache, accept)).run(planes(0))
    assert double.log.count(f"kernels {len(b'compiled')}") == 1


def test_what_the_parser_refuses_is_told_with_the_node(version, make_tensorrt) -> None:
    make_tensorrt(version)
    with pytest.raises(
        EngineLoadError, match=r"refused the model.*No importer.*head/where', NonZero"
    ):
        engines.load(b"junk", name_for(version))


def test_what_the_library_says_while_it_fails_is_told(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    double.refuse = lambda network, config: "Could not find any implementation for node conv1"
    with pytest.raises(EngineLoadError, match=r"could not build.*implementation for node conv1"):
        engines.load(MODEL, name_for(version))


def test_a_failing_run_is_an_error_of_ours(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    engine = engines.load(MODEL, name_for(version))
    double.fail_run = True
    with pytest.raises(EngineRunError, match="failed while running"):
        engine.run(planes(0))


def test_ctrl_c_ends_the_build(version, make_tensorrt, cache) -> None:
    make_tensorrt(version)

    def interrupted(_: str, __: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engines.load(MODEL, name_for(version), None, Building(cache, accept, interrupted))
    assert cache.entries() == []


def test_a_tensor_outside_the_contract_is_refused_and_frees_what_it_took(make_tensorrt) -> None:
    double = make_tensorrt("11.4")
    double.tensors["labels"] = (np.zeros((1, 8), np.int64), False)
    with pytest.raises(EngineLoadError, match=r"'labels'.*graph contract"):
        engines.load(MODEL, "tensorrt")
    assert double.cuda.buffers == []


def test_full_tensorrt_does_not_build_to_tell_what_it_computes_in(version, make_tensorrt) -> None:
    double = make_tensorrt(version)
    if version.startswith("rtx"):
        assert engines.arithmetic(MODEL, "tensorrt-rtx") == {}  # the stand-in tells no layers
        return
    with pytest.raises(EngineLoadError, match="does not tell"):
        engines.arithmetic(MODEL, "tensorrt")
    assert double.log == []


def test_without_a_gpu_it_says_so(make_tensorrt, monkeypatch) -> None:
    double = make_tensorrt("10.3.0")

    def no_driver(_: object) -> None:
        raise RuntimeError("CUDA driver version is insufficient")

    monkeypatch.setattr(double.cuda.Device, "set_current", no_driver)
    with pytest.raises(EngineLoadError, match=r"no NVIDIA GPU.*insufficient"):
        engines.load(MODEL, "tensorrt")
    assert not engines.available()["tensorrt"].usable


@pytest.mark.parametrize("absent", ["tensorrt", "cuda.core"])
def test_an_absent_library_is_told_with_its_remedy(make_tensorrt, monkeypatch, absent) -> None:
    make_tensorrt("10.3.0")
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(EngineNotInstalled, match=r"not installed.*pip install"):
        engines.load(MODEL, "tensorrt")


@pytest.fixture
def bundle(tiny_bundle):
    sound = open_bundle(tiny_bundle)
    fp32 = sound.variant()
    low = Variant(fp32.model + b"\x00", fp32.golden)
    return dataclasses.replace(sound, variants={"fp32": fp32, "fp16": low, "int8": low})


def test_all_precisions_are_tried_and_one_is_kept(version, make_tensorrt, bundle, cache) -> None:
    make_tensorrt(version)
    choice = compile_bundle(bundle, [name_for(version)], cache=cache)
    assert len(choice.trials) == 3
    assert choice.warnings == ()
    assert all(trial.median_ms is not None for trial in choice.trials)


def test_strong_typing_that_fails_is_replaced_by_weak_where_there_is_one(
    version, make_tensorrt, bundle, cache, monkeypatch
) -> None:
    if version.startswith("rtx"):
        pytest.skip("TensorRT-RTX has no weak typing, and no back end for it")
    double = make_tensorrt(version)
    low = bundle.model("fp16")
    double.refuse = lambda network, config: (
        "no kernel for Half" if network._strong and network._model == low else ""
    )
    choice = compile_bundle(bundle, ["tensorrt"], "fp16", cache=cache)
    if version.startswith("11"):
        assert choice.name == "fp32 on tensorrt"
        assert "no kernel for Half" in choice.warnings[0]
        return
    assert choice.name == "fp16 on tensorrt-weak"
    # FP16 is chosen by the library in the graph of fp32.
    assert "build weak [FP16] []" in double.log

    builds = len(double.log)
    monkeypatch.setenv("XEDGE_CACHE", str(cache.folder))
    load_variant(bundle, "auto").run(planes(0))
    assert not [line for line in double.log[builds:] if line.startswith("build")]


def test_a_workspace_limit_is_given_to_the_library(make_tensorrt) -> None:
    double = make_tensorrt("10.3.0")
    api = open_api("tensorrt", "TensorRT", "tensorrt")
    build_plan(api, MODEL, BuildOptions(workspace_mib=64))
    assert f"limit {64 << 20}" in double.log
