"""Detections and truth from rows, and random images of both."""

from collections.abc import Callable

import numpy as np
import pytest

from xedge.metrics import Truth
from xedge.types import Detections

Images = tuple[list[Detections], list[Truth]]


@pytest.fixture(scope="session")
def found() -> Callable[..., Detections]:
    """Detections of rows x1 y1 x2 y2 score label."""

    def build(*rows: tuple[float, float, float, float, float, int]) -> Detections:
        table = np.array(rows, np.float64).reshape(-1, 6)
        return Detections(
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.float32),
            table[:, 5].astype(np.int32),
        )

    return build


@pytest.fixture(scope="session")
def truth() -> Callable[..., Truth]:
    """Truth of rows x1 y1 x2 y2 label."""

    def build(
        *rows: tuple[float, float, float, float, int],
        levels: list[int] | None = None,
        difficult: list[bool] | None = None,
    ) -> Truth:
        table = np.array(rows, np.float64).reshape(-1, 5)
        return Truth(
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.int32),
            None if levels is None else np.array(levels, np.int32),
            None if difficult is None else np.array(difficult, bool),
        )

    return build


@pytest.fixture(scope="session")
def random_images() -> Callable[..., Images]:
    """Images of objects of all of COCO's sizes, and detections near and far; scores all differ.

    About a third of the images have no object. Most detections are objects moved a little, some
    of them named as another class.
    """

    def build(seed: int, images: int = 30, classes: int = 3) -> Images:
        rng = np.random.default_rng(seed)
        detections, truths = [], []
        for _ in range(images):
            n = int(rng.integers(1, 6)) * int(rng.random() < 2 / 3)
            sides = np.exp(rng.uniform(np.log(10), np.log(200), (n, 2)))
            corner = rng.uniform(0, 400, (n, 2))
            boxes = np.concatenate([corner, corner + sides], axis=1)
            labels = rng.integers(0, classes, n)
            near = rng.integers(0, n, 2 * n) if n else np.zeros(0, np.int64)
            shift = rng.normal(0, 0.12, (near.size, 4)) * np.tile(sides[near], 2)
            moved = boxes[near] + shift
            moved = np.concatenate(
                [np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], 1
            )
            stray = rng.uniform(0, 400, (3, 2))
            everything = np.concatenate([moved, np.concatenate([stray, stray + 50], axis=1)])
            named = np.concatenate([labels[near], rng.integers(0, classes, 3)])
            wrong = rng.random(named.size) < 0.2
            named[wrong] = rng.integers(0, classes, int(wrong.sum()))
            detections.append(
                Detections(
                    everything.astype(np.float32),
                    rng.random(named.size).astype(np.float32),
                    named.astype(np.int32),
                )
            )
            truths.append(Truth(boxes.astype(np.float32), labels.astype(np.int32)))
        return detections, truths

    return build
