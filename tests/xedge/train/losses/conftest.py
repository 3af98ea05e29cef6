from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from xedge.train.batch import Batch
from xedge.train.criterion import Criterion, Moment


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


Fall = Callable[[nn.Module, Criterion, Batch], list[float]]


@pytest.fixture
def thirty_steps() -> Fall:
    """Trains a model on one batch; the loss of each step comes back."""

    def train(model: nn.Module, criterion: Criterion, batch: Batch) -> list[float]:
        optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
        losses = []
        for _ in range(30):
            total, parts = criterion(model, batch, Moment())
            assert not any(p.requires_grad for p in parts.values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(float(total.detach()))
        return losses

    return train
