from __future__ import annotations

import torch
from xedge_export.drawn import draw
from xedge_export.early_la import DeployedEarlyLabelAware, without_norms

from xedge.models.dense import DenseConfig, DenseHead
from xedge.models.early_la import EarlyLabelAware
from xedge.models.pyramid import PyramidConfig


def drawn_head() -> DenseHead:
    torch.manual_seed(4)
    config = DenseConfig(
        classes=("a", "b", "c"), pyramid=PyramidConfig(width=8), depth=1, groups=4,
        label_aware_by="early",
    )  # fmt: skip
    head = DenseHead(config)
    draw(head)
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return head.eval()


def test_it_refines_as_the_trained_head_does() -> None:
    head = drawn_head()
    x = torch.randn(2, 8, 5, 7)
    with torch.no_grad():
        found = DeployedEarlyLabelAware(head)(x)
        wanted, update = head.refine(x, 1, None)
    assert (update.weight.abs() > 1e-2).any()
    # The same arithmetic; only the one-hot is made otherwise.
    assert torch.equal(found, wanted)


def test_without_norms_it_answers_the_same() -> None:
    early = drawn_head().early
    assert isinstance(early, EarlyLabelAware)
    folded = without_norms(early, 5, 7)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in early.modules())
    x, scores = torch.randn(1, 8, 5, 7), torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        found, wanted = folded(x, scores, None)[0], early(x, scores, None)[0]
    # Two folded layers, each a sum of eight products: some ten roundings of 6e-8.
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max().clamp(min=1)
