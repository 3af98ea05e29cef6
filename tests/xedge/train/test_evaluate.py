from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xedge.metrics import Truth
from xedge.models.base import Detector, ModelConfig
from xedge.train.batch import Batch
from xedge.train.evaluate import measure, summarise
from xedge.types import Detections


def boxes(*rows: tuple[float, float, int]) -> np.ndarray:
    """Squares of a side at an x, with a label that is left out here."""
    return np.array([[x, 0, x + side, side] for x, side, _ in rows], np.float32).reshape(-1, 4)


def labels(*rows: tuple[float, float, int]) -> np.ndarray:
    return np.array([label for _, _, label in rows], np.int32)


def truth(*rows: tuple[float, float, int], level: int = 1) -> Truth:
    return Truth(boxes(*rows), labels(*rows), np.full(len(rows), level, np.int32))


def found(score: float, *rows: tuple[float, float, int]) -> Detections:
    return Detections(boxes(*rows), np.full(len(rows), score, np.float32), labels(*rows))


def test_figures_are_those_of_a_hand_worked_set() -> None:
    # One small object found surely, one large missed; of two clean bags one alarms at 0.4.
    images = [
        (found(0.9, (0, 20, 0)), truth((0, 20, 0), level=1)),
        (found(0.3, (200, 50, 0)), truth((0, 120, 0), level=3)),
        (found(0.4, (0, 20, 0)), truth()),
        (Detections.empty(), truth()),
    ]
    figures = summarise([d for d, _ in images], [t for _, t in images], ("gun", "knife"))
    assert figures["ap50"] == figures["ap50_gun"] == pytest.approx(0.5)
    assert "ap50_knife" not in figures
    assert (figures["ap50_OL1"], figures["ap50_OL3"]) == (1.0, 0.0)
    assert (figures["coco_ap_small"], figures["coco_ap_large"]) == (1.0, 0.0)
    assert "coco_ap_medium" not in figures
    # No clean bag of two may alarm within 5 %: the threshold lies above 0.4.
    assert figures["recall_fa05"] == figures["bags_fa05"] == 0.5


def test_a_level_of_images_does_not_answer_for_the_others() -> None:
    """A sure false alarm in a picture of level 3 costs level 1 its objects, not its images."""
    images = [
        (found(0.8, (0, 20, 0)), truth((0, 20, 0), level=1)),
        (found(0.9, (300, 20, 0)), truth((0, 20, 0), level=3)),
    ]
    figures = summarise([d for d, _ in images], [t for _, t in images], ("gun",))
    assert figures["ap50_OL1"] == 0.5
    assert figures["ap50_OL1_images"] == 1.0
    assert figures["ap50_OL3_images"] == 0.0
    assert "ap50_OL2_images" not in figures


class Unsure(Detector):
    """Always finds the same two squares, with scores below what a device keeps."""

    config = ModelConfig(classes=("gun",))

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, planes: torch.Tensor) -> int:
        return len(planes)

    def decode(self, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
        two = torch.tensor([[0.0, 0, 20, 20], [30, 30, 50, 50]])
        return two.expand(outputs, 2, 4), torch.tensor([[0.02], [0.01]]).expand(outputs, 2, 1)


def test_average_precision_sees_what_a_device_would_cut_off(tiny_spec) -> None:  # type: ignore[no-untyped-def]
    spec = replace(tiny_spec, classes=("gun",), height=64, width=64)
    assert spec.score_threshold > 0.02
    batch = Batch(
        ["a"],
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        [torch.tensor([[0.0, 0, 20, 20]])],
        [torch.zeros(1, dtype=torch.int64)],
        [torch.ones(1, dtype=torch.int64)],
        torch.ones(1, 1, dtype=torch.int8),
    )
    figures = measure(Unsure(), spec, [batch])
    assert figures["ap50"] == 1.0
    assert 0.01 < figures["alarm_threshold"] < 0.02


def test_without_clean_bags_no_recall_at_a_rate_is_stated() -> None:
    figures = summarise([found(0.9, (0, 20, 0))], [truth((0, 20, 0))], ("gun",), "la_off_")
    assert figures["la_off_ap50"] == 1.0
    assert not any("fa05" in name for name in figures)
