"""Every host of the dense head, with every LA, learns one small batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.label_aware import Coefficients
from xedge.models.pyramid import PyramidConfig
from xedge.train.batch import Batch, Item, collate
from xedge.train.config import OptimConfig
from xedge.train.criterion import Criterion, Moment, Setting
from xedge.train.systems import SYSTEMS

HOSTS = [name for name, system in SYSTEMS.items() if system.config is DenseConfig]
PLAIN = DenseConfig(
    classes=("a", "b", "c"),
    pyramid=PyramidConfig(
        backbone="resnet18d", options={"channels": [8, 8, 16, 16], "stem_width": 8}, width=16
    ),
    depth=1,
    groups=4,
    regression="direct",
    quality="conv",
    regression_repeats=1,
    label_aware=False,
)
BINS = replace(PLAIN, regression="distribution", quality="statistics", regression_repeats=2)
FORMS = {
    "plain": PLAIN,
    "bins": BINS,
    "class": replace(PLAIN, label_aware=True),
    "class on bins": replace(BINS, quality="top4", bins=8, label_aware=True),
    "regression": replace(
        BINS,
        label_aware=True,
        label_aware_by="regression",
        coefficients=Coefficients(0.5, 1.0, 0.0),
    ),
    "early": replace(PLAIN, label_aware=True, label_aware_by="early"),
}


def batch_of(*counts: int) -> Batch:
    """Images of 64 x 64 pixels with so many bright rectangles each, of class 0, 1, 2 ..."""
    generator = torch.Generator().manual_seed(3)
    items = []
    for n in counts:
        planes = torch.randint(180, 220, (3, 64, 64), generator=generator, dtype=torch.uint8)
        boxes = torch.tensor([[4.0 + 20 * k, 6.0 + 9 * k, 24.0 + 20 * k, 34.0 + 9 * k]
                              for k in range(n)]).reshape(n, 4)  # fmt: skip
        for k, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
            planes[k, y1:y2, x1:x2] = 40
        labels = torch.arange(n)
        presence = torch.tensor([1 if k < n else -1 for k in range(3)], dtype=torch.int8)
        items.append(Item("", planes, boxes, labels, labels * 0, presence))
    return collate(items)


def made(host: str, config: DenseConfig) -> tuple[DenseDetector, Criterion]:
    torch.manual_seed(0)
    system = SYSTEMS[host]
    model = system.build(config)
    assert isinstance(model, DenseDetector)
    return model, system.criterion(Setting(config, OptimConfig(), 64, 64))


def test_the_hosts_are_those_of_the_paper() -> None:
    assert HOSTS == ["atss", "fcos", "paa"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", HOSTS)
def test_the_loss_falls(host: str, form: str) -> None:
    model, criterion = made(host, FORMS[form])
    batch = batch_of(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss, parts = criterion(model, batch, Moment(share=0.5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert set(parts) == {"focal", "giou", "quality"}
        assert not any(part.requires_grad for part in parts.values())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", HOSTS)
def test_no_object_at_all_still_gives_a_finite_loss_with_gradients(host: str, form: str) -> None:
    model, criterion = made(host, FORMS[form])
    loss, _ = criterion(model, batch_of(0, 0), Moment(share=0.5))
    loss.backward()
    assert torch.isfinite(loss)
    gradients = {n: p.grad for n, p in model.named_parameters() if n.startswith("head.")}
    # Every weight takes part, as training on several processes needs.
    assert [n for n, g in gradients.items() if g is None] == []
    assert all(g.isfinite().all() for g in gradients.values() if g is not None)


@pytest.mark.parametrize("host", HOSTS)
def test_la_comes_when_its_share_of_the_run_does(host: str) -> None:
    """Before, LAcls leaves the loss as it is without; the early version is there at once."""
    batch, before, after = batch_of(2), Moment(share=0.1), Moment(share=0.3)
    model, criterion = made(host, FORMS["class"])
    with torch.no_grad():
        plain = made(host, FORMS["plain"])[1](model, batch, before)[0]
        assert torch.equal(criterion(model, batch, before)[0], plain)
        assert not torch.equal(criterion(model, batch, after)[0], plain)
    model, criterion = made(host, FORMS["early"])
    criterion(model, batch, before)[0].backward()
    assert model.head.early is not None
    assert model.head.early.weight.weight.grad is not None


@pytest.mark.parametrize("host", HOSTS)
def test_windows_that_do_not_fit_the_pyramid_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"multiples of 32.*found 64 x 80"):
        SYSTEMS[host].criterion(Setting(PLAIN, OptimConfig(), 64, 80))
