"""An export held against PyTorch before anyone relies on it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from xedge import engines
from xedge.errors import ExportError
from xedge.models.base import Classifier
from xedge.train.progress import Meter
from xedge_export.class_parity import ClassParityReport, check_scores
from xedge_export.parity import ParityReport, check_parity, with_labels_exposed
from xedge_export.probes import planes_for
from xedge_export.to_onnx import Exported

Report: TypeAlias = ParityReport | ClassParityReport


def parity_of(
    exported: Exported, engine: str, count: int, meter: Meter, pictures: Path | None = None
) -> Report:
    """How an exported model on an engine differs from PyTorch, with LA by autograd.

    Args:
        exported: The model.
        engine: Name of the engine.
        count: Bags or pictures to compare on, one item of each.
        meter: Shows how far it is.
        pictures: Folder of pictures to compare on; None simulates bags.
    """
    model, recipe = exported.checkpoint.model(), exported.checkpoint.recipe
    planes = planes_for(recipe, count, pictures)
    with meter.task("parity with PyTorch", count) as advance:
        if isinstance(model, Classifier):
            with closing(engines.load(exported.model, engine)) as runner:
                return check_scores(model.eval(), exported.spec, runner, planes, advance)
        data, exposed = with_labels_exposed(exported.model)
        with closing(engines.load(data, engine)) as runner:
            return check_parity(model, exported.spec, runner, exposed, planes, advance)


def refuse_difference(report: Report) -> None:
    """Nothing, for a report that says both answer alike.

    Raises:
        ExportError: When they differ, or nothing was compared.
    """
    if isinstance(report, ClassParityReport):
        if not report.holds:
            raise ExportError(
                "the exported model does not answer as PyTorch does",
                expected=f"{report.compared} equal scores, and as many equal maps",
                found=f"{report.different} scores and {report.different_maps} maps that differ, "
                f"by {report.worst_score:.2g} and by {report.worst_map:.2g} at most",
                remedy="Report this with the checkpoint",
            )
        return
    if not report.detections:
        raise ExportError(
            "the model detects nothing on what it is checked on, so nothing was compared",
            remedy="Train it for longer, check more bags with --check, or none with --check 0",
        )
    if not report.holds:
        raise ExportError(
            "the exported model does not answer as PyTorch does",
            expected=f"{report.detections} identical detections",
            found=f"{report.identical} identical, {report.extra + report.extra_with_ties} extra, "
            f"{report.wrong_choices} classes chosen otherwise without a tie",
            remedy="Report this with the checkpoint",
        )
