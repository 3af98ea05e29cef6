"""Every line of the belt comes once, in order, and the truth says where the bags are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xedge.errors import ConfigError
from xedge.sim.bags import BagConfig, generate_bag
from xedge.sim.belt import SimulatedBelt
from xedge.sim.physics import ScannerModel

SMALL = BagConfig(length_mm=(260.0, 300.0), width_mm=(200.0, 240.0), density=1.0, garments=1.0)
COARSE = ScannerModel(elements=200, pitch_mm=2.48)


@given(
    seed=st.integers(0, 2**32),
    bags=st.integers(0, 3),
    speed=st.floats(0.05, 2.0),
    strip_lines=st.integers(1, 90),
    gap=st.floats(0, 200),
)
@settings(max_examples=12, deadline=None)
def test_lines_encoder_and_clock_add_up(
    seed: int, bags: int, speed: float, strip_lines: int, gap: float
) -> None:
    belt = SimulatedBelt(seed, bags, speed, (gap, gap + 50), strip_lines, COARSE, SMALL)
    expected = belt.truth
    line, last_ns = 0, 0
    lengths = []
    for strip in belt:
        assert strip.first_line == line
        assert strip.encoder.tolist() == list(range(line, line + len(strip)))
        line += len(strip)
        assert strip.captured_ns == round(line / belt.lines_per_s * 1e9)
        assert strip.captured_ns >= last_ns
        last_ns = strip.captured_ns
        lengths.append(len(strip))
    assert set(lengths[:-1]) <= {strip_lines}
    assert belt.truth == expected
    previous = -1
    for number, one in enumerate(expected, 1):
        assert one.bag == number
        assert previous < one.first_line < one.last_line < line
        gap_lines = one.first_line - previous - 1
        assert gap / 2.48 - 1 <= gap_lines <= (gap + 50) / 2.48 + 1
        previous = one.last_line
        for item in one.objects:
            assert 0 <= item.box[1] < item.box[3] <= one.last_line - one.first_line + 1


def test_the_lines_of_a_bag_are_that_bag() -> None:
    belt = SimulatedBelt(11, 2, 0.2, scanner=COARSE, config=SMALL)
    strips = list(belt)
    low = np.concatenate([strip.low for strip in strips])
    high = np.concatenate([strip.high for strip in strips])
    for one in belt.truth:
        bag = generate_bag(belt.bag_seed(one.bag), SMALL, COARSE)
        assert np.array_equal(low[one.first_line : one.last_line + 1], bag.low)
        assert np.array_equal(high[one.first_line : one.last_line + 1], bag.high)
        assert one.objects == bag.truth


def test_a_belt_starts_anew_with_the_same_bits() -> None:
    belt = SimulatedBelt(3, 1, 0.5, scanner=COARSE, config=SMALL)
    for a, b in zip(belt, belt, strict=True):
        assert np.array_equal(a.low, b.low)
        assert np.array_equal(a.high, b.high)
        assert (a.first_line, a.captured_ns) == (b.first_line, b.captured_ns)


def test_belts_of_other_seeds_carry_other_bags() -> None:
    seeds = {SimulatedBelt(s, 5, 0.2).bag_seed(k) for s in range(20) for k in range(1, 6)}
    assert len(seeds) == 100


@pytest.mark.parametrize(
    "bad",
    [{"bags": -1}, {"speed_m_s": 0.0}, {"strip_lines": 0}, {"gap_mm": (5.0, 1.0)}, {"seed": -1}],
)
def test_belts_that_cannot_be(bad: dict[str, object]) -> None:
    arguments: dict[str, object] = {"seed": 1, "bags": 1, "speed_m_s": 0.2} | bad
    with pytest.raises(ConfigError, match="expected"):
        SimulatedBelt(**arguments)  # type: ignore[arg-type]
