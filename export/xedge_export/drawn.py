"""Weights drawn for a model that was never trained, so that its export can be tried all the same.

A fresh model is a poor subject: many a mechanism begins as the identity (DOAM's gamma, LA's early
version, dual attention), predictors say nearly the same everywhere, and batch norms normalise
nothing. Here no constant stays constant, no layer whispers, and batch norms have seen pictures.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from xedge.train.checkpoint import Checkpoint
from xedge.train.recipe import parse_recipe
from xedge.train.systems import SYSTEMS

QUIET: Final = 0.5
"""A layer is drawn anew when its weights spread by less than this share of what keeps a signal."""
SPREAD: Final = 0.1
MOST_BIAS: Final = 1.0
"""Focal loss has classes begin at a bias of -4.6, or background at 7: nothing would be detected."""
SQUARE: Final = 8


def drawn_checkpoint(recipe_text: str, seed: int = 0) -> Checkpoint:
    """A checkpoint of a recipe that was not trained: weights drawn, the same for the same seed.

    Raises:
        ConfigError: When the recipe cannot be used.
    """
    recipe = parse_recipe(recipe_text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SYSTEMS[recipe.system].bare(recipe.model)
        draw(model)
        settle_norms(model, recipe.data.height, recipe.data.width)
    return Checkpoint(recipe_text, model.state_dict(), {}, "none: drawn, not trained")


@torch.no_grad()
def draw(model: nn.Module) -> None:
    """Give every quiet layer and every constant of a model a value of its own, in place."""
    for value in model.parameters():
        if value.ndim >= 2:
            signal = value[0].numel() ** -0.5
            if value.std(correction=0) < QUIET * signal:
                value.normal_(0, signal)
        else:
            value.clamp_(-MOST_BIAS, MOST_BIAS).add_(torch.randn_like(value) * SPREAD)


@torch.no_grad()
def settle_norms(model: nn.Module, height: int, width: int) -> None:
    """Give every batch norm the statistics of two random pictures, in place."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the mean of all batches seen: of this one
    model.train()(random_planes(2, height, width))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def random_planes(count: int, height: int, width: int) -> Tensor:
    """Pictures of squares of random colours, uint8 ``[count, 3, height, width]``."""
    rows, columns = (-(-side // SQUARE) for side in (height, width))
    cells = torch.randint(0, 256, (count, 3, rows, columns), dtype=torch.uint8)
    painted = cells.repeat_interleave(SQUARE, 2).repeat_interleave(SQUARE, 3)
    return painted[..., :height, :width].contiguous()
