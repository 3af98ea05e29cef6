"""A bundle from an exported model."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from xedge.errors import ExportError
from xedge.packing import pack_bundle
from xedge.train.config import SimulatedData
from xedge.train.recipe import Recipe
from xedge_export.to_onnx import Exported


def refuse_pictures(recipe: Recipe) -> None:
    """Nothing, for a model that learned from simulated bags: one of them proves its bundle.

    Raises:
        ExportError: For a model of a data set, which may be sure of nothing on them.
    """
    if not isinstance(recipe.data, SimulatedData):
        raise ExportError(
            "a bundle proves itself on the counts of a simulated bag, and this model learned from "
            "pictures",
            expected="a recipe of simulated bags",
            found=f"one of the format {recipe.data.format!r}",
            remedy="Export it to FILE.onnx, then give `xedge pack` counts with --golden",
        )


def pack(
    exported: Exported,
    path: Path,
    licence: str,
    created: datetime.date,
    models: Mapping[str, bytes] | None = None,
) -> str:
    """Sha256 of the bundle written to ``path``.

    Args:
        exported: The model.
        path: Where the bundle goes.
        licence: Text of the weights' licence.
        created: The day to record.
        models: Name of a variant to its graph, ``fp32`` among them; None for the exported one.

    Raises:
        ExportError: When it is sure of nothing on simulated bags.
    """
    return pack_bundle(
        path,
        models or {"fp32": exported.model},
        exported.spec,
        licence=licence,
        created=created,
        recipe=exported.checkpoint.recipe_text,
        measured=exported.checkpoint.measured,
    )
