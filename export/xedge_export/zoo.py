"""Every tiny recipe that comes with xedge: which there are, and each as a checkpoint to export."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from xedge.spec import Kind
from xedge.train.checkpoint import Checkpoint, load_checkpoint
from xedge.train.loop import FINAL
from xedge.train.recipe import load_recipe
from xedge.train.shipped import shipped_recipes, size_of
from xedge.train.systems import SYSTEMS
from xedge_export.deployed import ROUTES
from xedge_export.drawn import drawn_checkpoint


@dataclass(frozen=True)
class Entry:
    """One tiny recipe.

    Attributes:
        name: Of the recipe.
        system: Of its model.
        kind: What its model says.
        trained: Its trained checkpoint; None where there is none.
        exportable: Whether there is a route out of PyTorch for it.
    """

    name: str
    system: str
    kind: Kind
    trained: Path | None
    exportable: bool = True

    def checkpoint(self) -> tuple[Checkpoint, str]:
        """The trained checkpoint, or one of drawn weights; and the sha256 of what it came from.

        Raises:
            ConfigError: When the trained one cannot be read.
        """
        if self.trained is not None:
            return load_checkpoint(self.trained)
        text = load_recipe(Path(self.name))[1]
        return drawn_checkpoint(text), hashlib.sha256(text.encode()).hexdigest()


def zoo(runs: Path) -> list[Entry]:
    """All tiny recipes, sorted by name.

    Args:
        runs: Folder of runs; a recipe's trained checkpoint is ``runs/NAME/final.ckpt``.
    """
    entries = []
    for path in shipped_recipes():
        if size_of(path) == "tiny":
            recipe, _ = load_recipe(path)
            final = runs / recipe.name / FINAL
            system, trained = SYSTEMS[recipe.system], final if final.is_file() else None
            known = system.build in ROUTES
            entries.append(Entry(recipe.name, recipe.system, system.kind, trained, known))
    return entries
