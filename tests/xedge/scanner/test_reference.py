"""Reference elements: the tube's output, line by line, whatever hangs into them."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.scanner.reference import ReferenceElements

ELEMENTS = 40


def flat_field(dead=()) -> FlatField:
    mask = np.zeros((2, ELEMENTS), np.bool_)
    mask[0, list(dead)] = True
    return FlatField(np.full((2, ELEMENTS), 500, np.float32), np.full((2, ELEMENTS), 2, np.float32),
                     mask)  # fmt: skip


def lines(levels):
    counts = 500 + 30_000 * np.asarray(levels)[:, None] * np.ones(ELEMENTS)
    return counts.round().astype(np.uint16)


def test_the_level_of_each_line_is_read() -> None:
    tube = np.array([1.0, 0.97, 1.05, 0.9])
    both = ReferenceElements(flat_field(), ((0, 7), (32, 39)))
    # A count of 30,000 is 3.3e-5.
    np.testing.assert_allclose(both.levels(lines(tube), lines(tube[::-1])),
                               [tube, tube[::-1]], atol=4e-5)  # fmt: skip


def test_what_hangs_into_one_span_and_single_dead_elements_change_nothing() -> None:
    both = ReferenceElements(flat_field(dead=(33,)), ((0, 7), (32, 39)))
    low = lines([1.0, 1.0])
    low[:, 0:8] = 5_000
    low[:, 33:36] = 0
    np.testing.assert_allclose(both.levels(low, lines([1.0, 1.0])), 1.0, atol=4e-5)


def test_lines_are_corrected_by_their_level() -> None:
    flat, tube = flat_field(), np.array([1.0, 0.95, 1.04, 0.85])
    levels = ReferenceElements(flat, ((0, 7), (32, 39))).levels(lines(tube), lines(tube))
    half = lines(tube / 2)
    low, high = flat.apply(half, half, levels)
    # Half a count of the raw line is two corrected ones, and half a count of rounding.
    assert np.abs(low.astype(int) - 30_000).max() <= 3
    np.testing.assert_array_equal(low, high)


@pytest.mark.parametrize("span", [(0, 40), (-1, 7), (7, 0), (0, 2), (8, 12)])
def test_spans_that_cannot_be_are_refused(span) -> None:
    with pytest.raises(ConfigError, match=r"outside of the detector|cannot be used"):
        ReferenceElements(flat_field(dead=(8, 9)), (span, (32, 39)))


def test_one_span_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="one span of reference elements cannot be trusted"):
        ReferenceElements(flat_field(), ((0, 7),))
