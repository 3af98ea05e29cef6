"""Bundles compiled on real CPU engines: what is chosen, remembered, and used from then on."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.bundle import Bundle, Tolerance, Variant, open_bundle
from xedge.engines import deploy
from xedge.engines.cache import EngineCache
from xedge.engines.chosen import Chosen, recall, remember
from xedge.engines.deploy import compile_bundle, load_variant, precision_of
from xedge.engines.onnxruntime import OnnxRuntimeEngine
from xedge.errors import ConfigError, EngineLoadError, EngineRunError


def usable(name: str) -> str:
    if not (there := engines.available()[name]).usable:
        pytest.skip(f"needs {name}: {there}")
    return name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> EngineCache:
    monkeypatch.setenv("XEDGE_CACHE", str(tmp_path / "engines"))
    return EngineCache()


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def with_variants(bundle: Bundle, **others: Variant) -> Bundle:
    return dataclasses.replace(
        bundle, variants={**bundle.variants, **{n.replace("_", "-"): v for n, v in others.items()}}
    )


def wrong(bundle: Bundle) -> Variant:
    """The graph of fp32 with golden scores that it does not answer."""
    sound = bundle.variant()
    return Variant(sound.model, {**sound.golden, "scores": sound.golden["scores"] / 2})


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_what_was_compiled_is_what_auto_and_its_name_take(cache, bundle, name) -> None:
    choice = compile_bundle(bundle, [usable(name)], cache=cache, threads=1)
    choice.engine.close()
    assert choice.name == f"fp32 on {name}"
    for asked in ("auto", name):
        assert recall(cache, bundle.sha256, asked) == Chosen(name, "fp32", "fp32")
        assert type(load_variant(bundle, asked, 1)) is type(choice.engine)


def test_an_engine_asked_for_by_name_is_never_another_one(cache, bundle) -> None:
    usable("openvino")
    choice = compile_bundle(bundle, ["onnxruntime", "openvino"], cache=cache, threads=1)
    loser = {"onnxruntime": "openvino", "openvino": "onnxruntime"}[choice.name.split(" on ")[1]]
    assert recall(cache, bundle.sha256, loser) is None
    assert type(load_variant(bundle, loser, 1)) is not type(choice.engine)


def test_int8_that_cannot_be_built_falls_back_with_warnings(cache, bundle) -> None:
    broken = Variant(b"no model", bundle.variant().golden)
    both = with_variants(bundle, int8=broken, fp16=wrong(bundle))
    choice = compile_bundle(both, ["onnxruntime"], "int8", cache=cache, threads=1)
    assert choice.name == "fp32 on onnxruntime"
    assert [w.split(" is not used")[0] for w in choice.warnings] == [
        "int8 on onnxruntime", "fp16 on onnxruntime",
    ]  # fmt: skip
    assert "refused the model" in choice.warnings[0]
    assert "golden answer" in choice.warnings[1]


def test_without_fallback_there_is_no_other_precision(cache, bundle) -> None:
    both = with_variants(bundle, int8=Variant(b"no model", bundle.variant().golden))
    with pytest.raises(EngineLoadError, match=r"int8 on onnxruntime.*refused"):
        compile_bundle(both, ["onnxruntime"], "int8", cache=cache, fallback=False)
    assert cache.entries() == []


def test_the_wrong_one_is_not_kept_however_fast(cache, bundle) -> None:
    usable("openvino")
    both = with_variants(bundle, fp16=wrong(bundle))
    choice = compile_bundle(both, ["openvino"], cache=cache, threads=1)
    assert choice.name == "fp32 on openvino"
    kept = [entry.facts for entry in cache.entries() if entry.facts["kind"] == "plan"]
    # Both variants have one graph, so one plan: of the one that passed.
    assert len(kept) == 1


def test_all_variants_of_a_precision_are_candidates(cache, bundle) -> None:
    sound = bundle.variant()
    both = with_variants(bundle, int8_ort=sound, int8_openvino=sound)
    choice = compile_bundle(both, ["onnxruntime"], "int8", cache=cache, threads=1)
    assert {trial.name for trial in choice.trials} == {
        "int8-ort on onnxruntime", "int8-openvino on onnxruntime",
    }  # fmt: skip
    assert all(trial.median_ms is not None for trial in choice.trials)
    variant = choice.name.split(" on ")[0]
    assert recall(cache, both.sha256, "auto") == Chosen("onnxruntime", variant, variant)


def test_a_precision_that_the_bundle_lacks_is_told(cache, bundle) -> None:
    with pytest.raises(ConfigError, match=r"no variant of precision 'int8': expected fp32"):
        compile_bundle(bundle, ["onnxruntime"], "int8", cache=cache)


def test_a_choice_made_by_hand_is_loaded_even_here(cache, bundle) -> None:
    other = with_variants(bundle, fp16=bundle.variant())
    remember(cache, bundle.sha256, "auto", Chosen("onnxruntime", "fp16", "fp32"))
    assert isinstance(load_variant(other, "auto", 1), OnnxRuntimeEngine)
    # A variant that is named is taken whatever was chosen.
    broken = with_variants(bundle, int8=Variant(b"no model", bundle.variant().golden))
    with pytest.raises(EngineLoadError):
        load_variant(broken, "auto", 1, "int8")


@pytest.mark.parametrize(
    "record",
    [
        b"no json",
        b"[]",
        b'{"engine": "onnxruntime"}',
        b'{"engine": "gone", "variant": "fp32", "graph": "fp32", "fingerprint": {}}',
        b'{"engine": "fake", "variant": "fp32", "graph": "fp32", "fingerprint": {"version": "0"}}',
    ],
)
def test_a_choice_of_another_version_or_library_does_not_hold(cache, bundle, record) -> None:
    cache.put({"kind": "choice", "bundle": bundle.sha256, "engine": "auto"}, record)
    assert recall(cache, bundle.sha256, "auto") is None
    load_variant(bundle, "auto", 1).close()


def test_a_choice_holds_for_its_bundle_alone(cache) -> None:
    remember(cache, "a" * 64, "auto", Chosen("fake", "fp32", "fp32"))
    assert recall(cache, "a" * 64, "auto") == Chosen("fake", "fp32", "fp32")
    assert recall(cache, "b" * 64, "auto") is None
    (entry,) = cache.entries()
    record = json.loads(cache.get(entry.facts) or b"")
    assert record["fingerprint"] == engines.fingerprint("fake")


def test_a_cache_that_cannot_be_trusted_is_not_used_and_a_warning_says_so(cache, bundle) -> None:
    cache.put({"kind": "choice", "bundle": bundle.sha256, "engine": "auto"}, b"hostile")
    cache.folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match=r"engines are not kept.*chmod"):
        engine = load_variant(bundle, "auto", 1)
    engine.run({"planes": np.zeros((1, 3, 32, 32), np.uint8)})


def test_a_second_start_opens_what_the_first_one_built(cache, bundle, monkeypatch) -> None:
    from xedge.engines.openvino import OpenVinoEngine

    load_variant(bundle, usable("openvino"), 1)
    monkeypatch.setattr(OpenVinoEngine, "build", None)
    load_variant(bundle, "openvino", 1)


def test_an_engine_built_anew_must_reproduce_the_golden_answer(cache, bundle) -> None:
    usable("openvino")
    broken = with_variants(bundle, fp32=wrong(bundle))
    with pytest.raises(EngineRunError, match="golden answer"):
        load_variant(broken, "openvino", 1)
    assert cache.entries() == []


def test_an_engine_that_rounds_is_held_to_what_its_type_can_do(bundle) -> None:
    own = bundle.variant().tolerance
    assert deploy.tolerance(bundle, "openvino", "fp32") == own
    wide = deploy.tolerance(bundle, "openvino-bf16", "fp32")
    assert wide.score > own.score
    loose = with_variants(
        bundle, fp32=dataclasses.replace(bundle.variant(), tolerance=Tolerance(0.2, 0.5))
    )
    assert deploy.tolerance(loose, "openvino-bf16", "fp32") == Tolerance(0.2, 0.5)


def test_precisions_are_told_by_the_beginning_of_a_name() -> None:
    assert [precision_of(name) for name in ("int8", "int8-ort", "fp32", "fp16-x")] == [
        "int8", "int8", "fp32", "fp16",
    ]  # fmt: skip


def test_no_warning_without_a_reason(cache, bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_variant(bundle, "auto", 1)
