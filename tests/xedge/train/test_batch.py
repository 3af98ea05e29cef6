from __future__ import annotations

import numpy as np
import torch

from xedge.train.batch import collate, to_item, truth_of
from xedge.train.sample import Sample


def sample(difficult: list[bool] | None) -> Sample:
    """Three objects: one of class 0, two of class 1."""
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]], np.float32)
    marks = None if difficult is None else np.array(difficult)
    none = np.zeros(3, np.int32)
    return Sample(np.zeros((3, 8, 8), np.uint8), boxes, np.array([0, 1, 1], np.int32), none, marks)


def test_an_object_is_difficult_by_its_own_mark_or_by_that_of_its_class() -> None:
    batch = collate(
        [
            to_item("own", sample([False, True, False]), np.array([1, 1], np.int8)),
            to_item("class", sample(None), np.array([0, 1], np.int8)),
            to_item("both", sample([False, True, False]), np.array([0, 1], np.int8)),
            to_item("none", sample(None), np.array([1, 1], np.int8)),
        ]
    )
    marks = [t.difficult.tolist() for t in truth_of(batch) if t.difficult is not None]
    assert marks == [[False, True, False], [True, False, False], [True, True, False], [False] * 3]
    assert batch.to(torch.device("cpu")).difficult is batch.difficult


def test_what_is_taught_has_no_difficult_objects() -> None:
    taught = sample([False, True, False]).taught()
    assert taught.labels.tolist() == [0, 1]
    assert taught.boxes[1].tolist() == [2, 2, 6, 6]
    assert taught.difficult is None
