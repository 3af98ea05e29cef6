from __future__ import annotations

import torch
from xedge_export.drawn import drawn_checkpoint, random_planes

from xedge.models.dense import DenseDetector

RECIPE = """
name = "a"
[model]
classes = ["gun", "knife"]
depth = 1
groups = 4
label_aware_by = "early"
[model.doam]
[model.pyramid]
width = 16
attention = "da"
backbone = "resnet18d"
options = { channels = [8, 8, 16, 16], stem_width = 8 }
[data]
height = 64
width = 96
binning = 8
"""


def test_nothing_is_left_as_it_began() -> None:
    model = drawn_checkpoint(RECIPE).model()
    assert isinstance(model, DenseDetector)
    constants = [name for name, p in model.named_parameters() if p.numel() > 1 and not p.std() > 0]
    assert constants == []
    doam = model.pyramid.trunk.doam
    assert doam is not None
    assert doam.gamma is not None
    assert doam.gamma.item() != 0
    means = [b for name, b in model.named_buffers() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().max() > 0 for mean in means)


def test_scores_spread() -> None:
    model = drawn_checkpoint(RECIPE).model()
    assert isinstance(model, DenseDetector)
    with torch.no_grad():
        _, scores = model.decode(model(random_planes(1, 64, 96)))
    # Beginning at 0.01 each, untouched, they would differ in the fourth digit.
    assert scores.max() > 0.1
    assert scores.max() - scores.min() > 0.05


def test_the_same_seed_draws_the_same_and_leaves_others_randomness_alone() -> None:
    torch.manual_seed(9)
    first = drawn_checkpoint(RECIPE, 3).weights
    after = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(1), after)
    second, other = drawn_checkpoint(RECIPE, 3).weights, drawn_checkpoint(RECIPE, 4).weights
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["head.cls.weight"], other["head.cls.weight"])


def test_random_planes_are_squares_cut_to_size() -> None:
    planes = random_planes(2, 20, 13)
    assert planes.shape == (2, 3, 20, 13)
    assert planes.dtype == torch.uint8
    assert (planes[..., :8, :8] == planes[..., :1, :1]).all()
    assert planes.float().std() > 50
