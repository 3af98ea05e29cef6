from __future__ import annotations

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.base import centres, top_candidates
from xedge.models.dense import DenseConfig, DenseDetector, LevelOutput, decode
from xedge.models.pyramid import PyramidConfig

SMALL = PyramidConfig(
    backbone="resnet18d", options={"channels": [8, 8, 16, 16], "stem_width": 8}, width=16
)
CONFIG = DenseConfig(classes=("gun", "knife", "can"), pyramid=SMALL, depth=2, groups=4)


def test_every_level_answers_for_every_location() -> None:
    torch.manual_seed(0)
    model = DenseDetector(CONFIG).eval()
    with torch.no_grad():
        outputs, updates = model(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    for out, update, stride in zip(outputs, updates, (8, 16, 32), strict=True):
        h, w = 64 // stride, 96 // stride
        assert out.logits.shape == (2, 3, h, w)
        assert out.distances.shape == (2, 4, h, w)
        assert out.quality.shape == (2, 1, h, w)
        assert update.weight.shape == (2, 16, h, w)
        assert (out.distances >= 0).all()
        assert (out.distances <= 16 * stride).all()


def test_the_label_aware_step_can_be_switched_off_and_changes_something() -> None:
    torch.manual_seed(0)
    model = DenseDetector(CONFIG).eval()
    planes = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        on, updates = model(planes)
        off, none = model(planes, label_aware=False)
    assert len(updates) == 3
    assert none == []
    assert not torch.equal(on[0].logits, off[0].logits)


def test_a_distance_of_known_bins_decodes_to_a_known_box() -> None:
    logits = torch.full((1, 2, 2, 3), -10.0)
    logits[0, 1, 1, 2] = 10.0
    distances = torch.zeros(1, 4, 2, 3)
    distances[0, :, 1, 2] = torch.tensor([4.0, 5.0, 6.0, 7.0])
    out = LevelOutput(logits, distances, torch.full((1, 1, 2, 3), 10.0))
    boxes, scores, labels = top_candidates(*decode([out], (8,)), 2)
    # Location (row 1, column 2) of stride 8 has its centre at x 20, y 12.
    assert boxes[0, 0].tolist() == [16.0, 7.0, 26.0, 19.0]
    assert labels[0, 0].item() == 1
    assert labels.dtype == torch.int32
    assert scores[0, 0].item() == pytest.approx(torch.tensor(10.0).sigmoid().item() ** 2)


def test_candidates_are_the_best_pairs_of_location_and_class_in_falling_order() -> None:
    torch.manual_seed(1)
    boxes, scores = torch.rand(2, 50, 4), torch.rand(2, 50, 7)
    chosen, best, labels = top_candidates(boxes, scores, 20)
    for n in range(2):
        flat = scores[n].flatten()
        order = flat.argsort(descending=True)[:20]
        assert torch.equal(best[n], flat[order])
        assert torch.equal(labels[n].long(), order % 7)
        assert torch.equal(chosen[n], boxes[n][order // 7])


def test_centres_lie_in_the_middle_of_their_cells() -> None:
    assert centres(1, 3, 8).tolist() == [[4.0, 4.0], [12.0, 4.0], [20.0, 4.0]]


def test_groups_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="divide the width 16"):
        DenseConfig(classes=("a",), pyramid=SMALL, groups=5)


@pytest.mark.parametrize(
    ("pyramid", "message"),
    [
        (PyramidConfig(backbone="no-such-net"), "no-such-net"),
        (PyramidConfig(options={"no_such_option": 1}), "timm cannot make"),
        (PyramidConfig(strides=(8, 16, 64)), "lacks strides"),
    ],
)
def test_a_backbone_that_cannot_serve_is_refused(pyramid: PyramidConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DenseDetector(DenseConfig(classes=("a",), pyramid=pyramid))
