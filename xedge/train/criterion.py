"""The seam between a training run and what a system is taught by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from xedge.models.base import Classifier, ModelConfig
from xedge.train.batch import Batch
from xedge.train.config import OptimConfig


@dataclass(frozen=True)
class Setting:
    """What a criterion is made for.

    Attributes:
        config: The model's configuration.
        optim: How the weights are found.
        height: Height of the planes in pixels.
        width: Width of the planes in pixels.
        teacher: A trained classifier, for a system that learns from one.
    """

    config: ModelConfig
    optim: OptimConfig
    height: int
    width: int
    teacher: Classifier | None = None


@dataclass(frozen=True)
class Moment:
    """Where in a run a step lies.

    Attributes:
        stage: ``main``, or ``before`` for the stage that a recipe puts in front of it.
        epoch: Epochs of this stage that are finished.
        share: Share of this stage's steps that are done, 0..1.
    """

    stage: str = "main"
    epoch: int = 0
    share: float = 0.0


class Criterion(Protocol):
    """The loss of a step.

    It keeps nothing from step to step and draws from torch's own generator, which each step seeds
    anew: that is how a run that was killed goes on with the very same numbers.
    """

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and its parts for the record (detached).

        Args:
            model: The model, or its wrapper among several processes; called once.
            batch: The batch, its planes on the model's device.
            moment: Where the step lies in the run.
        """
