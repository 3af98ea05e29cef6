"""`xedge verify` on small graphs: what it measures, what it refuses, what it cannot know."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge import engines
from xedge.bundle import Variant, open_bundle, write_bundle
from xedge.cli import main
from xedge.commands.retained import rounded, share_retained, updates, worded
from xedge.commands.verify import engines_here, verify_bundle
from xedge.errors import BundleError, EngineLoadError
from xedge.golden import golden_planes
from xedge.packing import pack_bundle
from xedge.quiet import Quiet
from xedge.spec import Kind

COLUMNS = ["engine", "precision", "arithmetic", "max_abs_score", "max_box_px", "flip_rate",
           "la_update_retained", "stops", "passed", "reasons"]  # fmt: skip
NOT_STATED = "the bundle does not say which windows are quiet"
STEP = 2.0**-10
"""|w| of the label-aware step below: half a step of bfloat16 at 1, and a step of float16."""


def pointing_graph() -> bytes:
    """A classifier of two classes with a label-aware step x' = x + w x, w = `STEP`."""
    onnx = pytest.importorskip("onnx", reason="onnx (extra `export`) makes the graph")
    h, t = onnx.helper, onnx.TensorProto
    nodes = [
        h.make_node("Cast", ["planes"], ["real"], "graph/Cast", to=t.FLOAT),
        h.make_node("Conv", ["real", "first"], ["x"], "trunk/Conv"),
        h.make_node("Mul", ["x", "w"], ["change"], "P3/label_aware/Mul"),
        h.make_node("Add", ["x", "change"], ["refined"], "P3/label_aware/Add"),
        h.make_node("Conv", ["refined", "second"], ["maps"], "P3/head/Conv"),
        h.make_node("GlobalAveragePool", ["maps"], ["mean"], "graph/Pool"),
        h.make_node("Reshape", ["mean", "flat"], ["row"], "graph/Reshape"),
        h.make_node("Sigmoid", ["row"], ["scores"], "graph/Sigmoid"),
    ]
    rng = np.random.default_rng(3)
    constants = [
        onnx.numpy_helper.from_array(array, name)
        for name, array in (
            ("first", rng.normal(0, 0.01, (4, 3, 1, 1)).astype(np.float32)),
            ("second", rng.normal(0, 0.1, (2, 4, 1, 1)).astype(np.float32)),
            ("w", np.array(STEP, np.float32)),
            ("flat", np.array([1, 2], np.int64)),
        )
    ]
    graph = h.make_graph(
        nodes, "pointing",
        [h.make_tensor_value_info("planes", t.UINT8, [1, 3, 32, 32])],
        [h.make_tensor_value_info("scores", t.FLOAT, [1, 2]),
         h.make_tensor_value_info("maps", t.FLOAT, [1, 2, 32, 32])],
        constants,
    )  # fmt: skip
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def pointing(tiny_parts, tiny_spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `pointing_graph`."""
    path = tmp_path_factory.mktemp("pointing") / "pointing.xedge"
    pack_bundle(
        path, {"fp32": pointing_graph()},
        dataclasses.replace(tiny_spec, kind=Kind.CLASSIFIER, candidates=0),
        licence="none", created=tiny_parts["created"],
        counts=(tiny_parts["golden_low"], tiny_parts["golden_high"]),
    )  # fmt: skip
    return path


def usable(*names: str) -> list[str]:
    found = engines.available()
    return [name for name in names if found[name].usable]


def verified(*arguments: object):
    return CliRunner().invoke(main, ["verify", *(str(a) for a in arguments)])


def test_json_has_every_variant_on_every_engine(tiny_bundle: Path) -> None:
    done = verified(tiny_bundle, "--json", "--threads", 1)
    rows = json.loads(done.stdout)
    assert [list(row) for row in rows] == [COLUMNS] * len(rows)
    names = [n for n, state in engines.available().items() if state.usable and n != "fake"]
    assert [(row["engine"], row["precision"]) for row in rows] == [(n, "fp32") for n in names]
    for row in rows:
        nulls = {key for key in COLUMNS if row[key] is None}
        assert nulls <= set(row["reasons"])
    first = next(row for row in rows if row["engine"] == "onnxruntime")
    assert first["passed"]
    assert (first["max_abs_score"], first["max_box_px"], first["flip_rate"]) == (0, 0, 0)
    assert first["reasons"] == {
        "arithmetic": "the library names no convolution and no matrix product that ran",
        "la_update_retained": "the graph has no label-aware step",
        "stops": NOT_STATED,
    }
    assert done.exit_code == (0 if all(row["passed"] for row in rows) else 1)


def test_what_an_engine_computes_in_and_keeps_of_the_update(pointing: Path) -> None:
    bundle = open_bundle(pointing)
    names = usable("onnxruntime", "openvino", "openvino-bf16")
    for check in verify_bundle(bundle, names, threads=1):
        narrow = check.engine == "openvino-bf16"
        assert check.passed, check
        assert check.arithmetic == ("bfloat16" if narrow else "float32")
        assert check.la_update_retained is not None
        if not narrow:
            assert check.la_update_retained == pytest.approx(1, abs=1e-3)
        assert check.flip_rate == 0
        assert check.reasons == {
            "max_box_px": "a classifier gives no boxes", "stops": NOT_STATED,
        }  # fmt: skip


def test_a_drifted_variant_fails_and_the_exit_code_says_so(tiny_parts, tmp_path: Path) -> None:
    """Scores ten times the tolerance off, as a library with another rounding would answer."""
    right = tiny_parts["variants"]["fp32"]
    golden = {**right.golden, "scores": right.golden["scores"] - np.float32(0.01)}
    variants = {"fp32": right, "int8": Variant(right.model, golden)}
    path = tmp_path / "drifted.xedge"
    write_bundle(path, **{**tiny_parts, "variants": variants})
    done = verified(path, "--engine", "onnxruntime", "--json")
    assert done.exit_code == 1
    fine, off = json.loads(done.stdout)
    assert (fine["passed"], off["passed"]) == (True, False)
    assert off["max_abs_score"] == pytest.approx(0.01, abs=1e-6)
    assert "off by 0.01 where 0.001 is allowed" in off["reasons"]["passed"]
    table = verified(path, "--engine", "onnxruntime", "--precision", "int8")
    assert table.exit_code == 1
    assert "FAILED" in table.stdout
    assert "int8 on onnxruntime, passed: scores are off" in table.stdout


def test_a_graph_that_an_engine_refuses_is_a_failed_check(tiny_parts, tmp_path: Path) -> None:
    right = tiny_parts["variants"]["fp32"]
    path = tmp_path / "refused.xedge"
    variants = {"fp32": right, "int8": Variant(b"no graph", right.golden)}
    write_bundle(path, **{**tiny_parts, "variants": variants})
    (check,) = verify_bundle(open_bundle(path), ["onnxruntime"], ["int8"])
    assert not check.passed
    assert check.max_abs_score is check.arithmetic is None
    assert "ONNX Runtime refused the model" in check.reasons["passed"]
    assert set(check.reasons) == {*COLUMNS[2:-1]}


def test_an_engine_that_builds_for_minutes_is_not_built_to_look_inside(
    tiny_bundle: Path, tiny_engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no GPU, with the fake in TensorRT's place."""
    built = []
    monkeypatch.setattr(engines, "available", lambda: {"tensorrt": engines.Availability(True, "")})
    monkeypatch.setattr(engines, "load", lambda *asked: built.append(asked[1]) or tiny_engine)
    (check,) = verify_bundle(open_bundle(tiny_bundle))
    assert check.passed
    assert built == ["tensorrt"]
    assert check.reasons["arithmetic"] == "this engine does not tell"
    assert check.la_update_retained is None


def test_unknown_engines_and_variants_are_refused(tiny_bundle: Path) -> None:
    for name in ("onnxruntim", "fake"):
        with pytest.raises(EngineLoadError, match="cannot verify anything here"):
            engines_here([name])
    done = verified(tiny_bundle, "--engine", "tpu")
    assert done.exit_code == 1
    assert "found no such engine" in done.output
    done = verified(tiny_bundle, "--engine", "onnxruntime", "--precision", "int4")
    assert done.exit_code == 1
    assert "no variant 'int4'" in done.output
    with pytest.raises(BundleError, match="int4"):
        verify_bundle(open_bundle(tiny_bundle), ["onnxruntime"], ["int4"])


def test_the_update_is_read_out_of_a_graph(pointing: Path, tiny_onnx: bytes) -> None:
    bundle = open_bundle(pointing)
    planes = golden_planes(bundle.golden_low, bundle.golden_high, bundle.spec)
    ((x, refined),) = updates(bundle.model(), "onnxruntime", 1, planes)
    assert x.shape == (1, 4, 32, 32)
    np.testing.assert_allclose(refined, x * (1 + STEP), rtol=2**-22)
    assert updates(tiny_onnx, "onnxruntime", 1, planes) == []


def test_what_rounds_away_is_not_retained() -> None:
    """At x = 1 a bfloat16 has steps of 2^-7, a float16 of 2^-10."""
    x = np.ones((1, 1, 4, 4), np.float32)
    for w, kept in ((2**-9, 0.0), (2**-7, 1.0)):
        pair = [(x, x * np.float32(1 + w))]
        assert share_retained(pair, pair, {"bfloat16": 3, "float32": 1}) == kept
        assert share_retained(pair, pair, {"float16": 3}) == 1
        assert share_retained(pair, pair, {"int8": 3, "float32": 2}) == 1
    pair = [(x, x * np.float32(1 + 2**-12))]
    assert share_retained(pair, pair, {"float16": 1}) == 0
    assert share_retained(pair, [(x, x)], {"float32": 1}) == 0
    assert share_retained([(x, x)], pair, {"float32": 1}) is None
    half = [(x, x * np.float32(1 + 2**-13))]
    assert share_retained(pair, half, {"float32": 1}) == pytest.approx(0.5)


def test_bfloat16_rounds_to_the_nearest_even() -> None:
    oracle = pytest.importorskip("ml_dtypes", reason="comes with onnx")
    values = np.random.default_rng(5).normal(0, 100, 10_000).astype(np.float32)
    values[:4] = [1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 0.0]  # halfway, down and up
    expected = values.astype(oracle.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(rounded(values, "bfloat16"), expected)
    assert rounded(values, "float32") is values


def test_types_in_words() -> None:
    assert worded({"float32": 2, "int8": 50, "float16": 1}) == (
        "int8 (50 layers), float32 (2), float16 (1)"
    )


def test_where_windows_may_stop_both_stages_are_held_against_the_golden_answer(
    quiet_bundle: Path,
) -> None:
    for check in verify_bundle(open_bundle(quiet_bundle), usable("onnxruntime", "openvino"),
                               threads=1):  # fmt: skip
        assert check.passed
        assert check.stops


def test_a_first_pass_that_never_stops_fails(quiet_bundle: Path, tmp_path: Path) -> None:
    whole = open_bundle(quiet_bundle)
    never = (Quiet(keeps=0.5, below=1e-6),)
    path = tmp_path / "never.xedge"
    write_bundle(
        path, spec=whole.spec, variants={"fp32": replace(whole.variant(), quiet=never)},
        golden_low=whole.golden_low, golden_high=whole.golden_high, licence=whole.licence,
        created=datetime.date(2026, 11, 25),
    )  # fmt: skip
    done = verified(path, "--engine", "onnxruntime")
    assert done.exit_code == 1
    assert "the engine does not stop at a window of air" in done.stdout


def test_an_engine_that_refines_every_window_says_so(quiet_bundle: Path) -> None:
    for check in verify_bundle(open_bundle(quiet_bundle), usable("openvino-bf16"), threads=1):
        assert check.stops is None
        assert "every window is refined" in check.reasons["stops"]
