from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from xedge.models.base import Classifier, ModelConfig
from xedge.models.chr import CHR, CHRConfig
from xedge.models.trunk import TrunkConfig
from xedge.spec import Channels, ModelSpec
from xedge.train.batch import Batch
from xedge.train.classified import measure_classifier, scores_by_way, strongest_points
from xedge.train.evaluate import measure


class Scripted(Classifier):
    """A classifier whose answers were written down: planes hold their number."""

    def __init__(self, scores: Tensor, points: Tensor) -> None:
        super().__init__()
        self.config = ModelConfig(classes=("a", "b"))
        self.said, self.points = torch.nn.Parameter(scores), points

    def forward(self, planes: Tensor) -> Tensor:
        return planes[:, 0, 0, 0].long()

    def scores(self, outputs: Tensor) -> Tensor:
        return self.said[outputs]

    def locate(self, outputs: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        assert size == (8, 12)
        maps = torch.zeros(len(outputs), 2, *size)
        for n, which in enumerate(outputs.tolist()):
            for c in range(2):
                x, y = self.points[which, c].tolist()
                maps[n, c, y, x] = 1
        return maps


def batch_of(numbers: list[int], presence: list[list[int]], boxes: list[list[Any]]) -> Batch:
    planes = torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 12)
    return Batch(
        [str(n) for n in numbers],
        planes.clone(),
        [torch.tensor([b[1:] for b in own], dtype=torch.float32).reshape(-1, 4) for own in boxes],
        [torch.tensor([b[0] for b in own], dtype=torch.int64) for own in boxes],
        [torch.zeros(len(own), dtype=torch.int64) for own in boxes],
        torch.tensor(presence, dtype=torch.int8),
    )


def test_figures_by_hand_with_a_difficult_image() -> None:
    # Class a, images by falling score: 1 (difficult, left out), 0 hit, 2 miss, 3 hit.
    # Class b is in no image but as difficult, and must not be averaged in.
    scores = torch.tensor([[0.8, 0.1], [0.9, 0.1], [0.6, 0.1], [0.5, 0.1]])
    points = torch.tensor([[[3, 3], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]], [[9, 1], [0, 0]]])
    batches = [
        batch_of(
            [0, 1], [[1, -1], [0, -1]], [[[0, 2.0, 2.0, 6.0, 6.0]], [[0, 5.0, 5.0, 8.0, 8.0]]]
        ),
        batch_of(
            [2, 3], [[-1, -1], [1, 0]], [[], [[0, 0.0, 4.0, 3.0, 8.0], [1, 0.0, 0.0, 3.0, 8.0]]]
        ),
    ]
    seen: list[None] = []
    figures = measure_classifier(Scripted(scores, points), batches, lambda: seen.append(None))
    assert figures["map"] == figures["ap_a"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert "ap_b" not in figures
    # Image 0 points into its box, image 3 beside it; image 1's object need not be found.
    assert figures["pointing"] == figures["pointing_a"] == 0.5
    assert "pointing_b" not in figures
    # F2 of keeping three of the judged scores, 5 * 2 / (3 + 4 * 2), beats keeping one, 5 / 9.
    assert figures["alarm_threshold"] == pytest.approx((0.5 + 0.1) / 2, abs=1e-4)
    assert len(seen) == 2


def test_the_strongest_point_is_the_centre_of_its_pixel() -> None:
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 2, 4], maps[0, 1, 1, 0] = 1.0, 1.0
    assert strongest_points(maps).tolist() == [[[4.5, 2.5], [0.5, 1.5]]]


def test_a_classifier_of_levels_is_measured_both_ways() -> None:
    torch.manual_seed(0)
    trunk = TrunkConfig(options={"channels": [8, 8, 16, 16], "stem_width": 8})
    config = CHRConfig(classes=("a", "b"), trunk=trunk, output="coarsest")
    model = CHR(config).eval()
    batch = batch_of([10, 200], [[1, -1], [-1, 1]], [[], []])
    planes = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(batch.names, planes, batch.boxes, batch.labels, batch.levels, batch.presence)
    ways = scores_by_way(model, model(planes))
    assert torch.equal(ways[""], ways["coarsest"])
    assert not torch.equal(ways["fused"], ways["coarsest"])
    spec = ModelSpec(name="x", classes=config.classes, height=64, width=64, binning=1,
                     channels=Channels.PSEUDO_COLOUR, pixel_mm=1.0, candidates=1)  # fmt: skip
    figures = measure(model, spec, [batch])
    assert figures["map"] == figures["map_coarsest"]
    assert {"map_fused", "ap_a", "ap_b", "alarm_threshold"} <= set(figures)
    assert "pointing" not in figures
    assert {"map_coarsest", "map_fused"}.isdisjoint(
        measure(CHR(CHRConfig(classes=("a", "b"), trunk=trunk, hierarchy="none")).eval(), spec,
                [batch])
    )  # fmt: skip
