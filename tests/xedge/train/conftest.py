"""What the tests of training share: recipes of runs that are real but tiny, and their bags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xedge.sim import CLASSES

TINY = """
name = "tiny"
out = "@OUT"
[model]
classes = @CLASSES
depth = 1
groups = 4
[model.pyramid]
width = 16
[model.pyramid.options]
channels = [8, 8, 16, 16]
stem_width = 8
[data]
binning = 8
height = 128
width = 128
train_bags = 8
val_bags = 6
cache = "@CACHE"
[optim]
epochs = @EPOCHS
batch = 4
warmup_steps = 2
ema = 0.5
label_aware_from = 0.5
precision = "32-true"
workers = 0
@MORE
"""

POOL = 'oversample = "hard"\npool_batches = 1\nsave_minutes = 0.0\n'

BEFORE = """
[before]
epochs = 1
batch = 2
optimizer = "sgd"
lr = 1e-3
schedule = "steps"
milestones = [1]
warmup_steps = 2
precision = "32-true"
workers = 0
"""

TinyRecipe = Callable[..., str]


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> TinyRecipe:
    """Text of a recipe: a folder for its runs, epochs, further lines of its table ``[optim]``."""
    cache = tmp_path_factory.mktemp("bags")

    def text(out: Path, epochs: int, more: str = "") -> str:
        values = {"CLASSES": list(CLASSES), "OUT": out, "CACHE": cache}
        whole = TINY
        for name, value in (values | {"EPOCHS": epochs, "MORE": more}).items():
            whole = whole.replace(f"@{name}", str(value))
        return whole

    return text


@pytest.fixture(scope="session")
def two_stages(tiny_recipe: TinyRecipe) -> TinyRecipe:
    """Text of a recipe with a stage in front, a pool in both, and a checkpoint after each step.

    The stage before has 4 steps and 1 more on its pool; the main one 2 epochs of 2 and 1: 11.
    Residual branches are dropped by chance, so that the state of chance matters too.
    """

    def text(out: Path) -> str:
        whole = tiny_recipe(out, 2, POOL + BEFORE + POOL)
        return whole.replace("stem_width = 8", "stem_width = 8\ndrop_path_rate = 0.3")

    return text
