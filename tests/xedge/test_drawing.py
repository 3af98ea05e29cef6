"""Boxes drawn into pictures."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xedge.drawing import COLOURS, draw_detections
from xedge.types import Detections


def test_the_box_is_drawn_and_the_picture_is_not_touched() -> None:
    picture = np.full((100, 200, 3), 255, np.uint8)
    found = Detections(
        np.array([[50, 40, 150, 90]], np.float32), np.array([0.5], np.float32), np.ones(1, np.int32)
    )
    drawn = draw_detections(picture, found, ("a", "b"))
    assert (picture == 255).all()
    for y, x in ((40, 100), (90, 100), (60, 50), (60, 150)):
        assert drawn[y, x].tolist() == list(COLOURS[1])
    assert (drawn[50:80, 60:140] == 255).all()
    assert not (drawn[20:40, 50:90] == 255).all()  # its name above it


def test_nothing_found_changes_nothing() -> None:
    picture = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    np.testing.assert_array_equal(draw_detections(picture, Detections.empty(), ()), picture)


@given(st.lists(st.tuples(*[st.floats(0, 60, width=32)] * 4), max_size=3), st.integers(1, 50))
def test_any_box_can_be_drawn_in_any_picture(rows, side) -> None:
    n = len(rows)
    found = Detections(
        np.array(rows, np.float32).reshape(-1, 4),
        np.linspace(1, 0, n, dtype=np.float32),
        np.arange(n, dtype=np.int32),
    )
    picture = np.zeros((side, 2 * side, 3), np.uint8)
    assert draw_detections(picture, found, ("a", "b", "c")).shape == picture.shape
