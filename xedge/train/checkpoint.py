"""Checkpoints: weights with the recipe they came from."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.machine import Machine
from xedge.models.base import Classifier, Detector
from xedge.spec import Kind, ModelSpec
from xedge.train.recipe import Recipe, parse_recipe, recipe_sha256
from xedge.train.record import RunRecord
from xedge.train.systems import SYSTEMS

ZIP = b"PK\x03\x04"
"""How a file begins that torch writes."""
CANDIDATES = 200
SCORE_THRESHOLD = 0.05
UNMEASURED_ALARM = 0.4
"""Alarm threshold of a checkpoint that was never looked at on held-out bags."""


@dataclass(kw_only=True)
class Standing:
    """Where a run stands, in plain numbers; the run itself moves them on.

    Attributes:
        stage: The stage that it is in (`Recipe.stages`).
        epoch: Epochs of the stage that are finished.
        step: Steps of the stage's schedule that are done.
        at: Steps of the current epoch that are done, those on batches trained once more included.
        epochs: Epochs of all stages that are finished.
        steps: Steps of all stages that are done, those on batches trained once more included.
        retrained: How many of them were on batches trained once more.
        items_seen: Items that all processes together have trained on.
        seconds: Time spent so far.
        epoch_seconds: Time spent on the current epoch so far.
        pool: Batches of this epoch to train once more, number to loss (`HardPool.held`).
        sums: Sum of each figure over the current epoch's steps of the schedule.
        bad: Items and annotations that could not be read: name to what is wrong.
    """

    stage: str
    epoch: int = 0
    step: int = 0
    at: int = 0
    epochs: int = 0
    steps: int = 0
    retrained: int = 0
    items_seen: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    pool: dict[int, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Everything that resuming a run takes beside the averaged weights.

    There is no state of a random generator: each step seeds its own (`step_seed`).

    Attributes:
        standing: Where the run stands.
        optimizer: State of the optimiser.
        model: Raw weights (those in `Checkpoint` are the averaged ones).
        averaged: How many steps the averaged weights have seen.
        scaler: State of the loss scaler of 16-bit floats; empty without one.
    """

    standing: Standing
    optimizer: dict[str, Any]
    model: dict[str, Tensor]
    averaged: int
    scaler: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """Averaged weights of a model, and what they came from.

    Attributes:
        recipe_text: The recipe as it was written (TOML).
        weights: The averaged weights of the whole model.
        measured: Metric name to value on the held-out bags.
        commit: Commits of the code that trained it, each with ``+`` when the tree had changes.
        progress: What resuming takes; None in a finished checkpoint.
        record: What the run was made of; None where nobody ran one.
        source: The file that it was read from, for messages; not written.
    """

    recipe_text: str
    weights: dict[str, Tensor]
    measured: dict[str, float]
    commit: str
    progress: Progress | None = None
    record: RunRecord | None = None
    source: str = ""

    @property
    def recipe(self) -> Recipe:
        """The recipe, parsed."""
        return parse_recipe(self.recipe_text)

    def save(self, path: Path) -> None:
        """Write the checkpoint at once or not at all, even when the power fails."""
        temporary = path.with_suffix(".tmp")
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del record["source"]
        if self.progress is not None:
            standing = dataclasses.asdict(self.progress.standing)
            record["progress"] = vars(self.progress) | {"standing": standing}
        if self.record is not None:
            record["record"] = dataclasses.asdict(self.record)
        with temporary.open("wb") as file:
            torch.save(record, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def model(self) -> Detector | Classifier:
        """The model with these weights, in evaluation mode.

        Raises:
            ConfigError: When they are not those of the recipe's model.
        """
        recipe = self.recipe
        model = SYSTEMS[recipe.system].bare(recipe.model)
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in self.weights.items()}
        if wrong := sorted(wanted.items() ^ given.items()):
            name = wrong[0][0]
            raise ConfigError(
                f"the weights in {self.source or 'a checkpoint'!r} are not those of a "
                f"{recipe.system!r} as its recipe {recipe.name!r} describes it",
                expected=f"{len(wanted)} tensors, {name} {_shape(wanted, name)}",
                found=f"{len(given)} tensors, {name} {_shape(given, name)}",
                remedy="Give a checkpoint that `xedge train` wrote with this version",
            )
        model.load_state_dict(self.weights)
        return model.eval()

    def give_weights(self, model: nn.Module, system: str) -> int:
        """How many of its tensors a model took over, where names and shapes agree.

        Raises:
            ConfigError: When the checkpoint is of another system, or not one of them agrees.
        """
        own, found = self.recipe.system, model.state_dict()
        fitting = {
            name: value
            for name, value in self.weights.items()
            if name in found and found[name].shape == value.shape
        }
        if own != system or not fitting:
            raise ConfigError(
                f"a run cannot start from the weights in {self.source or 'a checkpoint'!r}",
                expected=f"a checkpoint of the system {system!r} with tensors of the same shapes",
                found=f"one of {own!r} with {len(fitting)} that fit",
            )
        model.load_state_dict(fitting, strict=False)
        return len(fitting)

    def spec(self, sha256: str) -> ModelSpec:
        """The description that an exported model of this checkpoint carries."""
        recipe = self.recipe
        system = SYSTEMS[recipe.system]
        alarm = recipe.alarm_threshold or self.measured.get("alarm_threshold", UNMEASURED_ALARM)
        return ModelSpec(
            name=recipe.name,
            classes=recipe.model.classes,
            height=recipe.data.height,
            width=recipe.data.width,
            channels=recipe.data.channels,
            binning=recipe.data.binning,
            pixel_mm=recipe.data.pixel_mm,
            candidates=CANDIDATES if system.kind is Kind.DETECTOR else 0,
            alarm_threshold=max(alarm, SCORE_THRESHOLD),
            score_threshold=SCORE_THRESHOLD,
            nms_iou=system.nms_iou,
            kind=system.kind,
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
        progress, made_of = record.pop("progress"), record.pop("record", None)
        if progress is not None:
            standing = Standing(**progress.pop("standing"))
            progress = Progress(standing=standing, **progress)
        if made_of is not None:
            made_of = RunRecord(machine=Machine(**made_of.pop("machine")), **made_of)
        checkpoint = Checkpoint(**record, progress=progress, record=made_of, source=str(path))
    except OSError as error:
        raise ConfigError(
            f"there is no checkpoint {str(path)!r} to read", remedy="Train one with `xedge train`"
        ) from error
    except Exception as error:  # torch.load raises what its many formats raise
        raise ConfigError(
            f"{str(path)!r} is not a checkpoint of xedge",
            found=_kind_of_file(data, error),
            remedy="Give a file that `xedge train` wrote with this version",
        ) from error
    return checkpoint, hashlib.sha256(data).hexdigest()


def _kind_of_file(data: bytes, error: Exception) -> str:
    """What a file that is no checkpoint seems to be instead."""
    if not data:
        return "an empty file"
    if not data.startswith(ZIP):
        return f"a file of {len(data)} bytes that is none of torch's, or an old one"
    if isinstance(error, pickle.UnpicklingError):
        return "a file of torch's with other objects than numbers, texts and tensors"
    if isinstance(error, RuntimeError):
        return f"a file of {len(data)} bytes of which a part is missing or damaged"
    return "a file of torch's without a checkpoint's parts, or with others"


def _shape(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    return str(list(shapes[name])) if name in shapes else "not among them"
