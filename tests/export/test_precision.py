"""The precision map: each rule finds what it is for, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest
from xedge_export.contract import Stage
from xedge_export.precision import RULES, kept

Parse = Callable[[str], ir.Model]


def found(model: ir.Model, name: str) -> set[str]:
    (rule,) = (r for r in RULES if r.name == name)
    return {node.name or "" for node in rule.find(model.graph)}


HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'


def test_normalisation_ends_where_weights_begin(parse: Parse) -> None:
    model = parse(
        HEAD
        + """
    g (uint8[1, 1, 4, 4] planes) => (float[1, 1, 4, 4] y)
    <float mean = {190.0}, float[1, 1, 1, 1] w = {1.0}> {
        x = Cast <to = 1> (planes)
        a = Sub (x, mean)
        b = Conv (a, w)
        y = Add (b, a)
    }"""
    )
    assert found(model, "normalisation") == {"Cast_0", "Sub_1"}
    assert kept(model.graph)[next(iter(model.graph))] == "normalisation"


def test_squares_are_kept_up_to_the_root(parse: Parse) -> None:
    model = parse(
        HEAD
        + """
    g (float[1, 1, 4, 4] a, float[1, 1, 4, 4] b) => (float[1, 1, 4, 4] y)
    <float low = {0.0}> {
        h = Mul (a, a)
        v = Mul (b, b)
        s = Add (h, v)
        c = Clip (s, low)
        e = Sqrt (c)
        p = Mul (e, a)
        y = Add (p, a)
    }"""
    )
    assert found(model, "squares") == {"Mul_0", "Mul_1", "Add_2", "Clip_3", "Sqrt_4"}


def test_decoding_is_what_no_convolution_reads(parse: Parse) -> None:
    model = parse(
        HEAD
        + """
    g (float[1, 1, 4, 4] a) => (float[1, 1, 4, 4] y)
    <float[1, 1, 1, 1] w = {1.0}> {
        b = Conv (a, w)
        c = Relu (b)
        d = Conv (c, w)
        y = Sigmoid (d)
    }"""
    )
    assert found(model, "decoding") == {"Sigmoid_3"}


def test_a_product_of_two_activations_is_an_energy(parse: Parse) -> None:
    model = parse(
        HEAD
        + """
    g (float[4, 4] a) => (float[4, 4] y)
    <float[4, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> {
        b = MatMul (a, w)
        y = MatMul (a, b)
    }"""
    )
    assert found(model, "energies") == {"MatMul_1"}


@pytest.mark.parametrize(
    ("name", "scope", "is_kept"),
    [
        ("label-aware", "P3/label_aware/Mul", True),
        ("label-aware", "label_aware/one_hot/Cast", True),
        ("label-aware", "P3/not_label_aware/Mul", False),
        ("label-aware", "P3/head/early/Mul", True),
        ("doam", "pyramid/trunk/doam/Sqrt", True),
        ("doam", "pyramid/trunk/doam/material/gate/Mul", False),
    ],
)
def test_scopes_are_whole_words(parse: Parse, name: str, scope: str, is_kept: bool) -> None:
    model = parse(HEAD + "g (float[2] a) => (float[2] y) { y = Neg (a) }")
    next(iter(model.graph)).name = scope
    assert (found(model, name) == {scope}) == is_kept


def test_a_detector_is_kept_where_it_must(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    by_name = {n.name: rule for n, rule in kept(tiny_graph(Stage.REFINED).graph).items()}
    assert by_name["P3/head/cls_tower/1/InstanceNormalization"] == "reductions"
    assert by_name["P3/label_aware/backward/0/Mul"] == "label-aware"
    assert not any(name.endswith("/Conv") for name in by_name)
    # In the decoder, all but the bins' softmax and mean, which the quality head reads.
    assert {rule for name, rule in by_name.items() if name.endswith("TopK")} == {"decoding"}
