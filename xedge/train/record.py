"""What a run was made of and what it came to: ``result.json`` in the run's folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.machine import Machine
from xedge.train.recipe import Recipe, recipe_sha256

SCHEMA: Final = 1
RESULT: Final = "result.json"

PACKAGES: Final = (
    "xedge",
    "numpy",
    "opencv-python-headless",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "faster-coco-eval",
)
"""Distributions whose versions are written down."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as it can be traced.

    Attributes:
        seed: The recipe's seed.
        processes: Processes that shared each step.
        machine: What it ran on last.
        versions: Distribution to version, of `PACKAGES` that are installed.
        parents: ``data`` (digest of the training and the held-out set) and, where there were any,
            ``teacher`` and ``init`` (sha256 of the checkpoint's file).
        taken: Tensors taken over from ``init``.
        sizes: Items to train on (``train``) and to be watched by (``held_out``).
        epochs: Epochs that are finished.
        steps: Steps that are done.
        retrained: How many of them were on batches trained once more.
        items_seen: Items that all processes together have trained on.
        seconds: Time that it took.
        bad_items: Items and annotations that could not be read: name to what is wrong.
    """

    seed: int
    processes: int
    machine: Machine
    versions: dict[str, str]
    parents: dict[str, str]
    taken: int
    sizes: dict[str, int]
    epochs: int
    steps: int
    retrained: int
    items_seen: int
    seconds: float
    bad_items: dict[str, str]


def write_result(
    folder: Path,
    recipe: Recipe,
    recipe_text: str,
    record: RunRecord,
    *,
    commit: str,
    parameters: int,
    checkpoint_sha256: str,
    figures: dict[str, float],
) -> None:
    """Write ``result.json``: one finished run as one JSON object with its schema number.

    Args:
        folder: The run's folder.
        recipe: The recipe.
        recipe_text: Its whole text.
        record: What the run was made of.
        commit: Commits of the code that trained, each with ``+`` when the tree had changes.
        parameters: Numbers in the model that are learned.
        checkpoint_sha256: Digest of the finished checkpoint's file.
        figures: What the held-out items say of it.
    """
    result = {
        "schema": SCHEMA,
        "recipe": {
            "name": recipe.name,
            "system": recipe.system,
            "sha256": recipe_sha256(recipe_text),
        },
        "commit": commit,
        "dirty": "+" in commit,
        **dataclasses.asdict(record),
        "parameters": parameters,
        "checkpoint_sha256": checkpoint_sha256,
        "figures": figures,
    }
    (folder / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
