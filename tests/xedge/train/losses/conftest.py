from __future__ import annotations

import pytest
import torch

from xedge.train.batch import Batch


@pytest.fixture
def bright_squares() -> Batch:
    """Two images of 64 x 64 with one and two bright squares on dark ground, of classes 0 and 1."""
    corners = [[[8.0, 8, 30, 30]], [[30.0, 20, 60, 50], [4, 40, 20, 60]]]
    planes = torch.full((2, 3, 64, 64), 40, dtype=torch.uint8)
    for image, squares in zip(planes, corners, strict=True):
        for x1, y1, x2, y2 in squares:
            image[:, int(y1) : int(y2), int(x1) : int(x2)] = 220
    boxes = [torch.tensor(squares) for squares in corners]
    labels = [torch.arange(len(squares)) for squares in corners]
    presence = torch.tensor([[1, -1, -1], [1, 1, -1]], dtype=torch.int8)
    return Batch(["a", "b"], planes, boxes, labels, [torch.zeros_like(x) for x in labels], presence)
