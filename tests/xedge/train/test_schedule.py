from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from xedge.errors import ConfigError
from xedge.train.config import OptimConfig
from xedge.train.schedule import learning_rate, make_optimizer, parameter_groups, set_rate


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 2)
        self.fc_old = nn.Linear(4, 2).requires_grad_(False)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    optim = OptimConfig(lr=1.0, warmup_steps=10)
    rates = [learning_rate(s, 100, optim) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[100] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))


def test_steps_fall_when_the_epochs_of_the_milestones_are_finished() -> None:
    optim = OptimConfig(lr=1.0, warmup_steps=2, epochs=12, schedule="steps", milestones=(8, 11))
    rates = [learning_rate(s, 12 * 5, optim) for s in range(12 * 5)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:40] == [1.0] * 38  # epochs 1 to 8 of 5 steps each
    assert rates[40:55] == pytest.approx([0.1] * 15)
    assert rates[55:] == pytest.approx([0.01] * 5)


def test_groups_part_by_decay_and_by_factor() -> None:
    model = Model()
    optim = OptimConfig(weight_decay=0.1, lr_factors={"fc": 5.0, "fc.bias": 2.0, "trunk.1": 0.0})
    groups = parameter_groups(model, optim)
    found = {(g["factor"], g["weight_decay"]): len(g["params"]) for g in groups}  # type: ignore[arg-type]
    # fc.weight; fc.bias; the convolution's weight and bias; both of the norm; nothing of fc_old.
    assert found == {(5.0, 0.1): 1, (2.0, 0.0): 1, (1.0, 0.1): 1, (1.0, 0.0): 1, (0.0, 0.0): 2}


def test_a_factor_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected names of modules, such as trunk, fc.*found f"):
        parameter_groups(Model(), OptimConfig(lr_factors={"f": 5.0}))


@pytest.mark.parametrize(
    ("optim", "kind"),
    [
        (OptimConfig(), torch.optim.AdamW),
        (OptimConfig(optimizer="sgd", momentum=0.8, nesterov=True), torch.optim.SGD),
    ],
)
def test_the_optimiser_is_the_one_asked_for(optim: OptimConfig, kind: type) -> None:
    optimizer = make_optimizer(Model(), optim)
    assert isinstance(optimizer, kind)
    set_rate(optimizer, 0.25)
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}
    if kind is torch.optim.SGD:
        assert {(g["momentum"], g["nesterov"]) for g in optimizer.param_groups} == {(0.8, True)}
