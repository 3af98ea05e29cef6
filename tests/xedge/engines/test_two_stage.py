"""Two stages as one engine, on the real libraries: the whole graph's answer, or nothing early."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.bundle import Bundle, open_bundle
from xedge.engines import deploy
from xedge.engines.cache import EngineCache
from xedge.engines.chosen import Chosen
from xedge.engines.deploy import compile_bundle, load_chosen, load_variant, verify
from xedge.engines.fake import FakeEngine
from xedge.engines.stages import in_two
from xedge.engines.two_stage import TwoStage
from xedge.errors import EngineError, EngineLoadError, EngineRunError, InputError
from xedge.quiet import Quiet

NAMES = ("onnxruntime", "openvino")
NOISE = np.random.default_rng(2).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
LIGHT = np.full_like(NOISE, 240)
"""x = 0.06 and a logit of 8 * 0.06 - 5: a first-pass score of 0.011."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if not (there := engines.available()[request.param]).usable:
        pytest.skip(f"needs {request.param}: {there}")
    return str(request.param)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("XEDGE_CACHE", str(tmp_path / "engines"))
    return EngineCache()


@pytest.fixture
def bundle(quiet_bundle: Path) -> Bundle:
    return open_bundle(quiet_bundle)


def two_stages(model: bytes, name: str, below: float) -> TwoStage:
    stages = in_two(model, 2)
    first, second = (engines.load(m, name, 1) for m in (stages.first, stages.second))
    return TwoStage(first, second, stages, below)


def test_a_window_that_goes_on_gets_the_whole_graphs_answer(
    label_aware_onnx: bytes, name: str
) -> None:
    two, whole = two_stages(label_aware_onnx, name, 0.2), engines.load(label_aware_onnx, name, 1)
    assert (two.inputs, two.outputs) == (whole.inputs, whole.outputs)
    found, wanted = two.run({"planes": NOISE}), whole.run({"planes": NOISE})
    assert two.score > 0.9
    assert np.array_equal(found["labels"], wanted["labels"])
    for output in ("boxes", "scores"):
        # The same operators; one library may fuse across the cut: a rounding or two of 6e-8.
        assert np.allclose(found[output], wanted[output], rtol=1e-6, atol=0), output


def test_a_quiet_window_gets_zeros_and_the_second_stage_does_not_run(
    label_aware_onnx: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = two_stages(label_aware_onnx, name, 0.2)
    monkeypatch.setattr(two._second, "run", lambda feeds: pytest.fail("the second stage ran"))
    found = two.run({"planes": LIGHT})
    assert two.score == pytest.approx(1 / (1 + np.exp(5 - 8 * 15 / 255)), rel=1e-5)
    for spec in two.outputs:
        assert found[spec.name].dtype == spec.dtype
        assert found[spec.name].shape == spec.shape
        assert not found[spec.name].any()


def test_it_stops_below_and_not_at_the_score(label_aware_onnx: bytes) -> None:
    pytest.importorskip("onnxruntime")
    score = two_stages(label_aware_onnx, "onnxruntime", 0.0)
    score.run({"planes": NOISE})
    at = two_stages(label_aware_onnx, "onnxruntime", score.score)
    above = two_stages(label_aware_onnx, "onnxruntime", float(np.nextafter(score.score, 2)))
    assert at.run({"planes": NOISE})["scores"].any()
    assert not above.run({"planes": NOISE})["scores"].any()


def test_scores_that_are_not_finite_go_on(
    label_aware_onnx: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    two = two_stages(label_aware_onnx, "onnxruntime", 0.2)
    honest = two._first.run

    def broken(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = honest(feeds)
        found["first"][0, 1, 3, 4] = np.nan
        return found

    monkeypatch.setattr(two._first, "run", broken)
    found = two.run({"planes": LIGHT})
    assert np.isnan(two.score)
    assert np.isnan(found["scores"]).any()  # postprocess refuses it


def test_feeds_are_checked_and_closing_closes_both(label_aware_onnx: bytes) -> None:
    pytest.importorskip("onnxruntime")
    two = two_stages(label_aware_onnx, "onnxruntime", 0.2)
    with pytest.raises(InputError, match="inputs do not match"):
        two.run({})
    two.close()
    two.close()
    with pytest.raises(EngineRunError, match="closed"):
        two.run({"planes": LIGHT})


def test_stages_that_do_not_fit_are_refused(label_aware_onnx: bytes) -> None:
    stages = in_two(label_aware_onnx, 2)
    with pytest.raises(EngineLoadError, match="do not fit together"):
        TwoStage(FakeEngine(), FakeEngine(), stages, 0.2)


@pytest.mark.parametrize(
    ("least", "below"), [(None, None), (0.2, None), (0.3, 0.15), (0.49, 0.15), (0.5, 0.2)]
)
def test_what_is_wanted_chooses_the_statement(
    bundle: Bundle, least: float | None, below: float | None
) -> None:
    engine = load_variant(bundle, "onnxruntime", 1, least=least)
    assert (engine.below if isinstance(engine, TwoStage) else None) == below


def test_a_bundle_that_states_nothing_refines_every_window(bundle: Bundle) -> None:
    plain = dataclasses.replace(
        bundle, variants={"fp32": dataclasses.replace(bundle.variant(), quiet=())}
    )
    assert not isinstance(load_variant(plain, "onnxruntime", 1, least=1.0), TwoStage)


def test_both_stages_are_accepted_and_kept_under_names_of_their_own(
    bundle: Bundle, cache: EngineCache
) -> None:
    if not engines.available()["openvino"].usable:
        pytest.skip("needs openvino")
    load_variant(bundle, "openvino", 1).close()
    whole = {entry.key for entry in cache.entries()}
    assert len(whole) == 1
    load_variant(bundle, "openvino", 1, least=0.5).close()
    assert len({entry.key for entry in cache.entries()} - whole) == 2
    again = load_variant(bundle, "openvino", 1, least=0.5)
    assert isinstance(again, TwoStage)
    assert not again.run({"planes": LIGHT})["scores"].any()
    assert len(cache.entries()) == 3


def test_stages_that_are_not_accepted_are_not_kept(bundle: Bundle, cache: EngineCache) -> None:
    if not engines.available()["openvino"].usable:
        pytest.skip("needs openvino")
    sound = bundle.variant()
    golden = {**sound.golden, "scores": sound.golden["scores"] / 2}
    wrong = dataclasses.replace(
        bundle, variants={"fp32": dataclasses.replace(sound, golden=golden)}
    )
    with pytest.raises(EngineRunError, match="golden"):
        load_variant(wrong, "openvino", 1, least=0.5)
    assert cache.entries() == []


def test_one_that_calls_the_golden_window_quiet_is_refused(
    bundle: Bundle, cache: EngineCache, name: str
) -> None:
    stated = (Quiet(keeps=0.5, below=1.0),)
    deaf = dataclasses.replace(
        bundle, variants={"fp32": dataclasses.replace(bundle.variant(), quiet=stated)}
    )
    for _ in range(2):  # by whoever loads it: the second time, plans would be kept
        with pytest.raises(EngineRunError, match="stops at the bundle's golden window"):
            load_chosen(deaf, name, 1, "fp32", 0.5)


def test_plans_that_are_kept_do_not_hide_a_statement_that_is_wrong(
    bundle: Bundle, cache: EngineCache, name: str
) -> None:
    """The stages of two bundles are the same files, whatever the bundles state."""
    load_variant(bundle, name, 1, least=0.5).close()
    stated = (Quiet(keeps=0.5, below=1.0),)
    deaf = dataclasses.replace(
        bundle, variants={"fp32": dataclasses.replace(bundle.variant(), quiet=stated)}
    )
    with pytest.raises(EngineRunError, match="stops at the bundle's golden window"):
        load_variant(deaf, name, 1, least=0.5)


def test_a_back_end_that_computes_in_another_type_refines_every_window(bundle: Bundle) -> None:
    """Its first-pass scores were not looked at when the threshold was chosen."""
    for engine in deploy.ARITHMETIC:
        assert deploy.stated_for(bundle, Chosen(engine, "fp32", "fp32")) == ()
    assert deploy.stated_for(bundle, Chosen("openvino", "fp32", "fp32")) == bundle.variant().quiet
    if engines.available()["openvino-bf16"].usable:
        engine = load_variant(bundle, "openvino-bf16", 1, least=0.5)
        assert not isinstance(engine, TwoStage)
        engine.close()


def test_one_that_goes_on_at_air_is_refused(bundle: Bundle) -> None:
    stated = (Quiet(keeps=0.5, below=0.005),)
    restless = dataclasses.replace(
        bundle, variants={"fp32": dataclasses.replace(bundle.variant(), quiet=stated)}
    )
    engine, chosen = load_chosen(restless, "onnxruntime", 1, "fp32", 0.5)
    with pytest.raises(EngineRunError, match="does not stop at a window of air"):
        verify(restless, chosen, engine)


def test_compiling_builds_and_judges_the_stages_too(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    judged: list[type] = []
    honest = deploy.verify

    def watched(bundle: Bundle, chosen: object, engine: object) -> None:
        judged.append(type(engine))
        honest(bundle, chosen, engine)  # type: ignore[arg-type]

    monkeypatch.setattr(deploy, "verify", watched)
    choice = compile_bundle(bundle, [name], cache=cache, threads=1)
    assert not isinstance(choice.engine, TwoStage)  # it is the whole graph that is timed
    choice.engine.close()
    assert TwoStage in judged
    assert set(judged) != {TwoStage}


def test_stages_are_closed_when_the_second_is_refused(label_aware_onnx: bytes) -> None:
    pytest.importorskip("onnxruntime")
    loaded = []

    def join(both: object) -> object:
        loaded.extend(both)  # type: ignore[arg-type]
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        engines.load_joined((label_aware_onnx,) * 2, "onnxruntime", 1, None, join)  # type: ignore[arg-type]
    for engine in loaded:
        with pytest.raises(EngineRunError, match="closed"):
            engine.run({"planes": LIGHT})
