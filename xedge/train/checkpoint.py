"""Checkpoints: weights with the recipe they came from."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xedge.errors import ConfigError
from xedge.models.base import Classifier, Detector
from xedge.spec import ModelSpec
from xedge.train.recipe import Recipe, parse_recipe, recipe_sha256
from xedge.train.systems import SYSTEMS

CANDIDATES = 200
SCORE_THRESHOLD = 0.05
UNMEASURED_ALARM = 0.4
"""Alarm threshold of a checkpoint that was never looked at on held-out bags."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, everything that resuming it takes beside the weights.

    Attributes:
        epoch: Epochs finished.
        step: Steps finished.
        optimizer: State of the optimiser.
        model: Raw weights (those in `Checkpoint` are the averaged ones).
        averaged: How many steps the averaged weights have seen.
    """

    epoch: int
    step: int
    optimizer: dict[str, Any]
    model: dict[str, Tensor]
    averaged: int


@dataclass(frozen=True)
class Checkpoint:
    """Averaged weights of a model, and what they came from.

    Attributes:
        recipe_text: The recipe as it was written (TOML).
        weights: The averaged weights of the whole model.
        measured: Metric name to value on the held-out bags.
        commit: Commit of the code that trained it, with ``+`` when the tree had changes.
        progress: What resuming takes; None in a finished checkpoint.
    """

    recipe_text: str
    weights: dict[str, Tensor]
    measured: dict[str, float]
    commit: str
    progress: Progress | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe, parsed."""
        return parse_recipe(self.recipe_text)

    def save(self, path: Path) -> None:
        """Write the checkpoint at once or not at all."""
        temporary = path.with_suffix(".tmp")
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        record["progress"] = None if self.progress is None else vars(self.progress)
        torch.save(record, temporary)
        temporary.replace(path)

    def model(self) -> Detector | Classifier:
        """The model with these weights, in evaluation mode."""
        recipe = self.recipe
        model = SYSTEMS[recipe.system].build(recipe.model)
        model.load_state_dict(self.weights)
        return model.eval()

    def spec(self, sha256: str) -> ModelSpec:
        """The description that an exported model of this checkpoint carries."""
        recipe = self.recipe
        alarm = recipe.alarm_threshold or self.measured.get("alarm_threshold", UNMEASURED_ALARM)
        return ModelSpec(
            name=recipe.name,
            classes=recipe.model.classes,
            height=recipe.data.height,
            width=recipe.data.width,
            channels=recipe.data.channels,
            binning=recipe.data.binning,
            pixel_mm=recipe.data.pixel_mm,
            candidates=CANDIDATES,
            alarm_threshold=max(alarm, SCORE_THRESHOLD),
            score_threshold=SCORE_THRESHOLD,
            mean=recipe.model.mean,
            scale=recipe.model.scale,
            parents={
                "checkpoint": sha256,
                "recipe": recipe_sha256(self.recipe_text),
                "commit": self.commit,
            },
            measured=self.measured,
        )


def load_checkpoint(path: Path) -> tuple[Checkpoint, str]:
    """The checkpoint in a file, and the file's sha256.

    Raises:
        ConfigError: When the file is absent, or is no checkpoint of xedge.
    """
    try:
        data = path.read_bytes()
        record = torch.load(path, map_location="cpu", weights_only=True)
        progress = record.pop("progress")
        checkpoint = Checkpoint(**record, progress=Progress(**progress) if progress else None)
    except OSError as error:
        raise ConfigError(
            f"there is no checkpoint {str(path)!r} to read", remedy="Train one with `xedge train`"
        ) from error
    except Exception as error:  # torch.load raises what its many formats raise
        raise ConfigError(
            f"{str(path)!r} is not a checkpoint of xedge", found=type(error).__name__
        ) from error
    return checkpoint, hashlib.sha256(data).hexdigest()
