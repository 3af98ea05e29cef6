"""Eight-bit numbers: every bound that the docstrings state, and ONNX Runtime as oracle."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xedge_calibration.arithmetic import (
    LEAST_HALF,
    Grid,
    quantised,
    quantised_weights,
    restored,
    rounded_up,
    weight_scales,
)

from xedge.engines import load

magnitudes = st.floats(2.0**-100, 2.0**100, width=32)
numbers = hnp.arrays(np.float32, 50, elements=st.floats(-4, 4, width=32))


@given(magnitudes, st.booleans())
def test_a_scale_never_shrinks(scale: float, half: bool) -> None:
    if half:
        scale = min(scale, 60000.0)
    got = rounded_up(scale, half=half)
    assert got.dtype == np.float32
    assert float(got) >= scale
    if half:
        assert np.float32(np.float16(got)) == got >= LEAST_HALF
        # One step of float16 at most: 2^-10 of the number.
        assert float(got) <= max(scale * (1 + 2.0**-10), LEAST_HALF)


@given(numbers, st.floats(0.01, 8), st.sampled_from(Grid))
def test_what_lies_in_the_range_moves_by_half_a_step(x: np.ndarray, end: float, grid: Grid) -> None:
    step = rounded_up(end / grid.steps)
    back = restored(quantised(x, step, grid), step, grid)
    low = 0.0 if grid is Grid.UNSIGNED else -end
    inside = (x >= low) & (x <= end)
    # Two float32 roundings beside the half step: of x / step, and of q * step.
    slack = 2 * np.float32(np.abs(x) + step) * 2.0**-23
    assert (np.abs(back - x) <= step / 2 + slack)[inside].all()
    assert (np.abs(back) <= np.abs(x) + step / 2 + slack).all()


@given(numbers, st.sampled_from(Grid))
def test_integers_stay_what_they_are(x: np.ndarray, grid: Grid) -> None:
    step = rounded_up(4 / grid.steps)
    q = quantised(x, step, grid)
    np.testing.assert_array_equal(quantised(restored(q, step, grid), step, grid), q)


@pytest.mark.parametrize("grid", list(Grid))
def test_zero_is_exact(grid: Grid) -> None:
    q = quantised(0.0, 0.3, grid)
    assert int(q) == grid.zero
    assert restored(q, 0.3, grid) == 0.0


@pytest.mark.parametrize("grid", list(Grid))
def test_onnx_runtime_puts_numbers_on_the_same_integers(grid: Grid) -> None:
    kind = "uint8" if grid.dtype == np.uint8 else "int8"
    # Through uint8, since that is what an engine takes; halves of a step are among the numbers.
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        g (uint8[1, 256] planes) => (float[1, 256] y)
        <float shift = {{100}}, float size = {{0.25}}, float s = {{0.5}},
         {kind} z = {{{grid.zero}}}>
        {{
            c = Cast <to = 1> (planes)
            d = Sub (c, shift)
            x = Mul (d, size)
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }}""")
    planes = np.arange(256, dtype=np.uint8)[None]
    engine = load(model.SerializeToString(), "onnxruntime")
    answer = engine.run({"planes": planes})["y"]
    engine.close()
    x = (planes.astype(np.float32) - 100) * np.float32(0.25)
    np.testing.assert_array_equal(answer, restored(quantised(x, 0.5, grid), 0.5, grid))


@given(hnp.arrays(np.float32, (3, 2, 3, 3), elements=st.floats(-2, 2, width=32)), st.booleans())
def test_weights_move_by_half_a_step_of_their_channel(weights: np.ndarray, half: bool) -> None:
    steps = weight_scales(weights, half=half)
    integers = quantised_weights(weights, steps)
    assert np.abs(integers.astype(int)).max() <= 127
    column = steps.reshape(-1, 1, 1, 1)
    error = np.abs(integers * column - weights)
    assert (error <= column / 2 + np.abs(weights) * 2.0**-22).all()
    if half:
        assert (steps >= LEAST_HALF).all()


def test_a_channel_without_weights_stays_so() -> None:
    weights = np.zeros((2, 1, 3, 3), np.float32)
    weights[1] = 0.5
    steps = weight_scales(weights)
    assert steps.tolist() == [1.0, float(rounded_up(0.5 / 127))]
    assert not quantised_weights(weights, steps)[0].any()
