"""What a run writes down as it goes: one JSON line an epoch, and curves for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

LOG: Final = "log.jsonl"
EVENTS: Final = "events.out.tfevents.*"


class Journal:
    """The record of one run in its folder; a context manager.

    Args:
        folder: The run's folder.
        epochs: Epochs that are finished; what was written of later ones before the run was cut
            off is dropped, since they are done again.
        step: Steps that are done, likewise.
        tensorboard: Write curves too.
    """

    def __init__(self, folder: Path, *, epochs: int, step: int, tensorboard: bool) -> None:
        self.log = folder / LOG
        kept: list[str] = []
        if epochs and self.log.exists():
            kept = self.log.read_text(encoding="utf-8").splitlines(keepends=True)[:epochs]
        self.log.write_text("".join(kept), encoding="utf-8")
        if step == 0:
            for path in folder.glob(EVENTS):
                path.unlink()
        self.events = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(folder, purge_step=step + 1)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.events is not None:
            self.events.close()

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down the losses and the rate of a step."""
        self._curves("train", step, figures)

    def epoch(self, step: int, record: Mapping[str, Any], measured: Mapping[str, float]) -> None:
        """Write down an epoch: the line of it, and what the held-out items say after it."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**record, **measured}) + "\n")
        self._curves("held out", step, measured)
        if self.events is not None:
            self.events.flush()

    def _curves(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        if self.events is not None:
            for name, value in figures.items():
                self.events.add_scalar(f"{group}/{name}", value, step)
