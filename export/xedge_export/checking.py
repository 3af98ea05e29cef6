"""An export held against PyTorch before anyone relies on it."""

from __future__ import annotations

from pathlib import Path

from xedge import engines
from xedge.errors import ExportError
from xedge.models.base import Detector
from xedge.train.progress import Meter
from xedge_export.parity import ParityReport, check_parity, with_labels_exposed
from xedge_export.probes import bags_for, pictures_for
from xedge_export.to_onnx import Exported


def parity_of(
    exported: Exported, engine: str, count: int, meter: Meter, pictures: Path | None = None
) -> ParityReport:
    """How an exported model on an engine differs from PyTorch, with LA by autograd.

    Args:
        exported: The model.
        engine: Name of the engine.
        count: Bags or pictures to compare on, one item of each.
        meter: Shows how far it is.
        pictures: Folder of pictures to compare on; None simulates bags.

    Raises:
        ExportError: For a classifier.
    """
    model, recipe = exported.checkpoint.model(), exported.checkpoint.recipe
    if not isinstance(model, Detector):
        raise ExportError(
            "a classifier cannot be compared with PyTorch yet",
            remedy="Export it with --check 0",
        )
    planes = bags_for(recipe, count) if pictures is None else pictures_for(recipe, pictures, count)
    data, exposed = with_labels_exposed(exported.model)
    runner = engines.load(data, engine)
    try:
        with meter.task("parity with PyTorch", count) as advance:
            return check_parity(model, exported.spec, runner, exposed, planes, advance)
    finally:
        runner.close()


def refuse_difference(report: ParityReport) -> None:
    """Nothing, for a report that says both answer alike.

    Raises:
        ExportError: When they differ, or nothing was compared.
    """
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
