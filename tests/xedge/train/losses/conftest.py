from __future__ import annotations

import pytest
import torch

from xedge.train.batch import Batch


@pytest.fixture
def squares() -> Batch:
    """Dark pictures; every second has a bright square of class a, every fourth a dim one of b."""
    count = 8
    planes = torch.full((count, 3, 64, 64), 20, dtype=torch.uint8)
    boxes, labels = [], []
    presence = torch.full((count, 2), -1, dtype=torch.int8)
    for n in range(count):
        own = [(0, n % 5 * 8, 240)] * (n % 2 == 0) + [(1, 40, 120)] * (n % 4 == 1)
        for label, x, value in own:
            planes[n, :, x : x + 16, x : x + 16] = value
            presence[n, label] = 1
        corners = [[x, x, x + 16, x + 16] for _, x, _ in own]
        boxes.append(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.tensor([c for c, *_ in own], dtype=torch.int64))
    names = [str(n) for n in range(count)]
    return Batch(names, planes, boxes, labels, labels, presence)
