"""What crosses between a lane and its engine's process."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xedge.errors import BundleError, EngineRunError, XedgeError
from xedge.lane.engine_pipe import Block, Layout, packed_error, unpacked_error
from xedge.types import Detections


def test_errors_come_through_as_they_are() -> None:
    error = BundleError("it is gone", expected="a", found="b", remedy="Do it")
    back = unpacked_error(packed_error(error))
    assert type(back) is BundleError
    assert (str(back), back.remedy) == (str(error), "Do it")

    class Foreign(XedgeError):
        pass

    for other in (Foreign("oh"), ValueError("oh")):
        assert type(unpacked_error(packed_error(other))) is EngineRunError


def test_the_answer_lies_behind_the_largest_window() -> None:
    layout = Layout(5, 7, 3)  # 105 bytes of planes: not a whole number of floats
    assert (layout.answer_at, layout.size) == (108, 108 + 3 * 24)
    memory = os.memfd_create("test")
    os.ftruncate(memory, layout.size)
    block = Block(memory, layout)
    os.close(memory)
    block.planes(5, 7)[...] = 255
    assert block.get(3).scores.tolist() == [0, 0, 0]


@given(
    layout=st.builds(Layout, st.integers(1, 9), st.integers(1, 9), st.integers(0, 5)),
    data=st.data(),
)
def test_a_window_and_an_answer_come_out_as_they_went_in(layout: Layout, data) -> None:
    height, width = (
        data.draw(st.integers(1, layout.height)),
        data.draw(st.integers(1, layout.width)),
    )
    n = data.draw(st.integers(0, layout.most))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    planes = random.integers(0, 256, (3, height, width), np.uint8)
    found = Detections(random.random((n, 4), np.float32), random.random(n, np.float32),
                       random.integers(0, 9, n, np.int32))  # fmt: skip
    memory = os.memfd_create("test")
    os.ftruncate(memory, layout.size)
    ours, theirs = Block(memory, layout), Block(memory, layout)
    os.close(memory)
    ours.planes(height, width)[...] = planes
    assert theirs.put(found) == n
    back = ours.get(n)
    assert np.array_equal(theirs.planes(height, width), planes)
    for one, other in ((back.boxes, found.boxes), (back.scores, found.scores),
                       (back.labels, found.labels)):  # fmt: skip
        assert np.array_equal(one, other)
