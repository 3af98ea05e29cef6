"""Bundles from ONNX files: golden windows that say something, variants of one model."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest

from xedge import engines, packing
from xedge.bundle import open_bundle
from xedge.errors import BundleError, ExportError
from xedge.golden import TOLERANCES, verify_golden
from xedge.packing import golden_counts, own_licence, pack_bundle, spec_of, type_of
from xedge.sim.bags import generate_bag

DAY = datetime.date(2026, 11, 25)


@pytest.fixture
def arguments(tiny_parts, tiny_spec):
    counts = tiny_parts["golden_low"], tiny_parts["golden_high"]
    return {"spec": tiny_spec, "licence": "MIT ...", "created": DAY, "counts": counts}


def described(model: bytes, spec) -> bytes:
    """The ONNX file with a description inside."""
    onnx = pytest.importorskip("onnx")
    loaded = onnx.load_model_from_string(model)
    onnx.helper.set_model_props(loaded, {"xedge": spec.to_json()})
    return bytes(loaded.SerializeToString())


def test_each_variant_gets_its_own_answer_and_tolerance(tiny_onnx, arguments, tmp_path) -> None:
    path = tmp_path / "m.xedge"
    models = {"fp32": tiny_onnx, "int8-ort": tiny_onnx}
    digest = pack_bundle(path, models, **arguments, recipe="epochs = 1\n", measured={"ap50": 1})
    bundle = open_bundle(path)
    assert bundle.sha256 == digest
    assert (bundle.recipe, bundle.measured, bundle.created) == (
        "epochs = 1\n", {"ap50": 1}, "2026-11-25",
    )  # fmt: skip
    assert bundle.variant("fp32").tolerance == TOLERANCES["float32"]
    assert bundle.variant("int8-ort").tolerance == TOLERANCES["int8"]
    with engine_of(tiny_onnx) as engine:
        for name in models:
            result = verify_golden(bundle, engine, name)
            assert (result.objects, result.score_error, result.flips) == (8, 0, 0)


def engine_of(model: bytes):
    from contextlib import closing

    return closing(engines.load(model, packing.REFERENCE, 1))


def test_variants_of_another_model_are_refused(tiny_onnx, arguments, tmp_path, tiny_spec) -> None:
    refined = dataclasses.replace(tiny_spec, stage="first-pass", parents={"a": "b"})
    other = dataclasses.replace(tiny_spec, classes=("odd", "even"))
    models = {"fp32": tiny_onnx, "fp16": described(tiny_onnx, refined)}
    pack_bundle(tmp_path / "m.xedge", models, **arguments)
    assert spec_of(tiny_onnx) is None
    assert spec_of(models["fp16"]) == refined
    models["fp16"] = described(tiny_onnx, other)
    with pytest.raises(BundleError, match="fp16 is of another model: expected classes"):
        pack_bundle(tmp_path / "n.xedge", models, **arguments)
    with pytest.raises(BundleError, match="needs the variant fp32"):
        pack_bundle(tmp_path / "n.xedge", {"fp16": tiny_onnx}, **arguments)
    with pytest.raises(BundleError, match="fp16 or fp16-"):
        pack_bundle(tmp_path / "n.xedge", {"fp32": tiny_onnx, "half": tiny_onnx}, **arguments)
    with pytest.raises(BundleError, match="an ONNX file"):
        pack_bundle(tmp_path / "n.xedge", {"fp32": b"half a model"}, **arguments)
    assert not (tmp_path / "n.xedge").exists()


def test_a_golden_window_comes_from_the_simulator(tiny_onnx, tiny_spec, monkeypatch) -> None:
    """A bag of 4 mm pixels: its first 32 rows of 8 lines, whose darkest are seen."""
    spec = dataclasses.replace(tiny_spec, binning=8)
    made: dict[int, object] = {}

    def once(seed, *more):  # a bag takes a second
        return made[seed] if seed in made else made.setdefault(seed, generate_bag(seed, *more))

    monkeypatch.setattr(packing, "generate_bag", once)
    seen = []
    with engine_of(tiny_onnx) as engine:
        low, high = golden_counts(engine, spec, 0.3, lambda: seen.append(None))
        assert low.shape == high.shape == (256, 256)
        assert low.dtype == np.uint16
        assert len(seen) <= 2
        monkeypatch.setattr(packing, "TRIES", 1)
        with pytest.raises(ExportError, match="sure of nothing on 1 simulated bags"):
            golden_counts(engine, dataclasses.replace(spec, alarm_threshold=1.0), 1.0)
        modest = golden_counts(engine, dataclasses.replace(spec, alarm_threshold=0.3), 1.0)
        np.testing.assert_array_equal(modest[0], low)  # what alarms will do


def test_names_say_the_precision() -> None:
    assert [type_of(n) for n in ("fp32", "fp16", "int8", "int8-tensorrt")] == [
        "float32", "float16", "int8", "int8",
    ]  # fmt: skip
    with pytest.raises(BundleError, match="precision"):
        type_of("int4")


def test_the_own_licence_is_there() -> None:
    assert "Apache" in own_licence()
