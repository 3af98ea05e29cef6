from __future__ import annotations

import pytest
import torch

from xedge.models.chr import CHR, CHRConfig
from xedge.models.meta_fusion import FusionConfig
from xedge.models.trunk import TrunkConfig
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.chr import CHRCriterion

TRUNK = TrunkConfig(options={"channels": [8, 8, 16, 16], "stem_width": 8})


@pytest.mark.parametrize(
    "config",
    [
        CHRConfig(classes=("a", "b"), trunk=TRUNK),
        CHRConfig(classes=("a", "b"), trunk=TRUNK, balance="released", output="coarsest"),
        CHRConfig(classes=("a", "b"), trunk=TRUNK, balance="none", hierarchy="none"),
        CHRConfig(classes=("a", "b"), trunk=TRUNK, fusion=FusionConfig(kind="mf-i", width=16)),
        CHRConfig(classes=("a", "b"), trunk=TRUNK, fusion=FusionConfig(kind="gated", width=16)),
    ],
    ids=["paper", "released", "backbone", "mf-i", "gated"],
)
def test_thirty_steps_teach_a_few_pictures(config: CHRConfig, squares: Batch) -> None:
    torch.manual_seed(0)
    model, batch = CHR(config).train(), squares
    criterion = CHRCriterion(Setting(config, OptimConfig(), 64, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss, parts = criterion(model, batch, Moment())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(not part.requires_grad for part in parts.values())
    assert all(p.grad is not None for p in model.parameters())


def test_difficult_classes_are_taught_as_there(squares: Batch) -> None:
    torch.manual_seed(0)
    config = CHRConfig(classes=("a", "b"), trunk=TRUNK)
    model, batch = CHR(config).eval(), squares
    criterion = CHRCriterion(Setting(config, OptimConfig(), 64, 64))
    plain = criterion(model, batch, Moment())[0]
    batch.presence[batch.presence == 1] = 0
    assert torch.equal(criterion(model, batch, Moment())[0], plain)
    batch.presence[:] = -1
    assert not torch.equal(criterion(model, batch, Moment())[0], plain)
