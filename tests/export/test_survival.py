"""How much of the label-aware update survives: known updates, and a real head's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from xedge_export.contract import Stage
from xedge_export.survival import measure_survival

from xedge.errors import ExportError

# x' = x + w x with x = 1, whose next neighbours are 2^-10 away in half and 2^-7 in bfloat16.
STEP = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 1, 1, 2] planes) => (float[1, 1, 1, 2] y)
<float[1, 1, 1, 1] one = {1.0}, float w = {%s}>
{
    a = Cast <to = 1> (planes)
    x = Conv (a, one)
    g = Conv (x, one)
    h = Mul (g, w)
    d = Mul (h, x)
    r = Add (x, d)
    y = Conv (r, one)
}
"""


@pytest.mark.parametrize(
    ("w", "in_half", "in_bfloat16"),
    [
        (2.0**-12, 0.0, 0.0),  # below half a step of both
        (2.0**-10, 1.0, 0.0),  # a whole step of half
        (3 * 2.0**-12, 4 / 3, 0.0),  # three quarters of a step become one
        (2.0**-6, 1.0, 1.0),
    ],
)
def test_a_known_update(
    parse: Callable[[str], ir.Model], w: float, in_half: float, in_bfloat16: float
) -> None:
    model = parse(STEP % repr(w))
    names = ("in/Cast", "in/Conv", "label_aware/Conv", "label_aware/Mul", "label_aware/Mul_1",
             "label_aware/Add", "out/Conv")  # fmt: skip
    for node, name in zip(model.graph, names, strict=True):
        node.name = name
    found = measure_survival(model, [np.ones((1, 1, 2), np.uint8)])
    assert [s.number_format for s in found] == ["float", "float16", "bfloat16"]
    assert [s.stored for s in found] == pytest.approx([1.0, in_half, in_bfloat16])
    assert [s.moved for s in found] == [1.0, float(in_half > 0), float(in_bfloat16 > 0)]
    assert [s.computed for s in found] == pytest.approx([1.0] * 3, rel=2**-8)
    assert found[0].weight == pytest.approx(w)


def test_a_real_head(tiny_graph: Callable[[Stage], ir.Model]) -> None:
    planes = np.random.default_rng(3).integers(0, 256, (3, 96, 128), dtype=np.uint8)
    found = measure_survival(tiny_graph(Stage.REFINED), [planes])
    assert len(found) == 9
    for survival in found:
        if survival.number_format == "float":
            assert survival.stored == pytest.approx(1.0, abs=1e-3)
            assert survival.computed == pytest.approx(1.0)


def test_without_a_step_there_is_nothing_to_measure(
    tiny_graph: Callable[[Stage], ir.Model],
) -> None:
    with pytest.raises(ExportError, match="nothing to measure"):
        measure_survival(tiny_graph(Stage.FIRST_PASS), [np.zeros((3, 96, 128), np.uint8)])
    with pytest.raises(ExportError, match="0 windows"):
        measure_survival(tiny_graph(Stage.REFINED), [])
