"""What crosses between a lane and its engine's process."""

from __future__ import annotations

import os

from xedge.errors import BundleError, EngineRunError, XedgeError
from xedge.lane.engine_pipe import Block, Layout, packed_error, unpacked_error


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
