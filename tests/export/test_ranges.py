"""Ranges: the node that would overflow or vanish is named, on what comes in use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from xedge_export.contract import Stage
from xedge_export.ranges import measure_ranges, overflowing, seed_exponent, vanishing

from xedge.errors import ExportError

Parse = Callable[[str], ir.Model]

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 3, 2, 2] planes) => (float[1, 3, 2, 2] y)
<float up = {%s}, float down = {1e-12}>
{
    x = Cast <to = 1> (planes)
    a = Mul (x, up)
    y = Mul (x, down)
}
"""


def windows() -> list[np.ndarray]:
    first = np.zeros((3, 2, 2), np.uint8)
    first[0, 0, 0] = 100
    return [first, np.full((3, 2, 2), 50, np.uint8)]


def test_every_number_counts(parse: Parse) -> None:
    ranges = {r.node: r for r in measure_ranges(parse(GRAPH % "1000"), windows())}
    assert {name: r.largest for name, r in ranges.items()} == pytest.approx(
        {"Cast_0": 100, "Mul_1": 1e5, "Mul_2": 1e-10}
    )
    # 13 of 24 numbers are not zero; all of these are below half of 2^-24 behind Mul_2.
    assert (ranges["Mul_2"].lost, ranges["Mul_2"].short) == (1.0, 1.0)
    assert (ranges["Mul_1"].lost, ranges["Mul_1"].short) == (0.0, 0.0)
    assert overflowing(ranges.values()) == ["Mul_1"]
    assert vanishing(ranges.values()) == ["Mul_2"]


def test_headroom_is_asked_for(parse: Parse) -> None:
    ranges = measure_ranges(parse(GRAPH % "200"), windows())
    assert overflowing(ranges) == ["Mul_1"]
    assert overflowing(ranges, headroom=1.0) == []


def test_numbers_that_are_not_finite_are_named(parse: Parse) -> None:
    with pytest.raises(ExportError, match="inf at Mul_1"):
        measure_ranges(parse(GRAPH % "1e38"), windows())


def test_nothing_to_measure_on_is_refused(parse: Parse) -> None:
    with pytest.raises(ExportError, match="at least one"):
        measure_ranges(parse(GRAPH % "1"), [])


def test_the_seed_is_lifted_as_far_as_there_is_room(
    tiny_graph: Callable[[Stage], ir.Model],
) -> None:
    planes = np.random.default_rng(3).integers(0, 256, (3, 96, 128), dtype=np.uint8)
    model = tiny_graph(Stage.REFINED)
    ranges = measure_ranges(model, [planes])
    inside = [r.largest for r in ranges if "/backward/" in r.node]
    # A quarter of half's range is left free; the seed's own limit is 13.
    exponent = seed_exponent(model, ranges)
    assert max(inside) * 2.0**exponent < 65504 / 4
    assert exponent == 13 or max(inside) * 2.0 ** (exponent + 1) > 65504 / 4 / 2
    first = tiny_graph(Stage.FIRST_PASS)
    assert seed_exponent(first, measure_ranges(first, [planes])) == 10
