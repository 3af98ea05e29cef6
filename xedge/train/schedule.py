"""How fast each weight moves, and when: groups of parameters, learning rates, the optimiser."""

from __future__ import annotations

import math
from bisect import bisect_right

import torch
from torch import nn

from xedge.errors import ConfigError
from xedge.train.config import OptimConfig


def learning_rate(step: int, steps: int, optim: OptimConfig) -> float:
    """Rate of a step: linear warm-up, then the schedule.

    Args:
        step: Steps of the stage that are done, 0 to ``steps``.
        steps: Steps of the stage.
        optim: The stage's optimiser.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    if optim.schedule == "steps":
        epoch = step * optim.epochs // steps
        return optim.lr * optim.gamma ** bisect_right(optim.milestones, epoch)
    share = (step - optim.warmup_steps) / max(steps - optim.warmup_steps, 1)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def parameter_groups(model: nn.Module, optim: OptimConfig) -> list[dict[str, object]]:
    """Weights that decay, and biases, norms and scales that do not, apart by factor of the rate.

    Each group has its ``factor``; the rate of a group is that of the step times this.

    Raises:
        ConfigError: When a name in ``optim.lr_factors`` begins that of no parameter.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    used: set[str] = set()
    for name, parameter in model.named_parameters():
        fits = [p for p in optim.lr_factors if name == p or name.startswith(f"{p}.")]
        used.update(fits)
        factor = optim.lr_factors[max(fits, key=len)] if fits else 1.0
        if parameter.requires_grad:
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    if strangers := sorted(set(optim.lr_factors) - used):
        raise ConfigError(
            "optim.lr_factors names what the model does not have",
            expected="names of modules, such as " + ", ".join(n for n, _ in model.named_children()),
            found=", ".join(strangers),
        )
    return [
        {"params": found, "weight_decay": optim.weight_decay * decays, "factor": factor}
        for (factor, decays), found in sorted(groups.items(), key=lambda g: g[0], reverse=True)
    ]


def make_optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of a stage, its moments empty."""
    groups = parameter_groups(model, optim)
    if optim.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov
        )
    return torch.optim.AdamW(groups, lr=optim.lr)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group the rate of the step times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
