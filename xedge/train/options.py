"""What a person says of a run beside its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How and where a recipe is run; none of it changes what the recipe means.

    Attributes:
        devices: Processes (and GPUs where there are any); torchrun says it itself.
        fresh: Forget an interrupted run.
        folder: Where the run goes; None for the recipe's own folder.
        data: Folder of the data set, for a recipe that learns from one.
        teacher: Checkpoint of a trained classifier, for a system that learns from one.
        init: Checkpoint whose weights the run starts from where names and shapes agree.
        skip_bad: Leave out items and annotations that cannot be read, and count them, instead of
            stopping.
        tensorboard: Write curves for TensorBoard into the run's folder.
    """

    devices: int = 1
    fresh: bool = False
    folder: Path | None = None
    data: Path | None = None
    teacher: Path | None = None
    init: Path | None = None
    skip_bad: bool = False
    tensorboard: bool = True
