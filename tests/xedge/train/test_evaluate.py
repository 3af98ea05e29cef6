from __future__ import annotations

import numpy as np
import pytest

from xedge.metrics import Truth
from xedge.train.evaluate import summarise
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


def test_without_clean_bags_no_recall_at_a_rate_is_stated() -> None:
    figures = summarise([found(0.9, (0, 20, 0))], [truth((0, 20, 0))], ("gun",), "la_off_")
    assert figures["la_off_ap50"] == 1.0
    assert not any("fa05" in name for name in figures)
