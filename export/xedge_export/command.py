"""`xedge export`."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from xedge.errors import ConfigError, ExportError
from xedge.packing import own_licence
from xedge.train.bags import Windows
from xedge.train.config import SimulatedData
from xedge.train.progress import Meter
from xedge_export.contract import Stage
from xedge_export.deployed import deployable
from xedge_export.pack import pack, refuse_pictures
from xedge_export.parity import ParityReport, check_parity, with_labels_exposed
from xedge_export.to_onnx import Exported, export_model

CHECK_SEED = 6_000_000
"""First seed of the bags that an export is checked on."""


@click.command(
    epilog="Examples:\n\n\b\n"
    "  xedge export runs/atss-la-r18half/final.ckpt -o model.onnx\n"
    "  xedge export runs/atss-la-r18half/final.ckpt -o model.xedge --check 50"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="FILE.onnx, or FILE.xedge for a bundle.")  # fmt: skip
@click.option("--stage", type=click.Choice([s.value for s in Stage]), default="refined",
              show_default=True, help="With the label-aware step, or without.")  # fmt: skip
@click.option("--check", type=click.IntRange(min=0), default=4, show_default=True,
              help="Bags to compare with PyTorch.")  # fmt: skip
@click.option("--engine", default="onnxruntime", show_default=True, help="Engine to check with.")
@click.option("--licence", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Text of the weights' licence, for a bundle.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    checkpoint: Path,
    out: Path,
    stage: str,
    check: int,
    engine: str,
    licence: Path | None,
    as_json: bool,
) -> None:
    """Export CHECKPOINT to ONNX with the label-aware gradient unrolled, or to a bundle.

    The result is compared with PyTorch's autograd, detection by detection, on simulated bags;
    an export that differs is not written.
    """
    if out.suffix not in (".onnx", ".xedge"):
        raise ConfigError(
            "the output's name says nothing", expected="FILE.onnx or FILE.xedge", found=str(out)
        )
    if not out.parent.is_dir():
        raise ConfigError(
            "there is no folder to write to", found=str(out.parent), remedy="Make it first"
        )
    meter = Meter(quiet=as_json)
    exported = export_model(checkpoint, Stage(stage))
    if out.suffix == ".xedge":
        refuse_pictures(exported.checkpoint.recipe)
    report = parity_on_bags(exported, engine, check, meter) if check else None
    if report is not None and not report.detections:
        raise ExportError(
            "the model detects nothing on the bags it is checked on, so nothing was compared",
            remedy="Train it for longer, check more bags with --check, or none with --check 0",
        )
    if report is not None and not report.holds:
        raise ExportError(
            "the exported model does not answer as PyTorch does",
            expected=f"{report.detections} identical detections",
            found=f"{report.identical} identical, {report.extra + report.extra_with_ties} extra, "
            f"{report.wrong_choices} classes chosen otherwise without a tie",
            remedy="Report this with the checkpoint",
        )
    if out.suffix == ".onnx":
        out.write_bytes(exported.model)
        digest = hashlib.sha256(exported.model).hexdigest()
    else:
        text = licence.read_text(encoding="utf-8") if licence else own_licence()
        digest = pack(exported, out, text, datetime.datetime.now(datetime.timezone.utc).date())
    _print(exported, out, digest, report, as_json)


def parity_on_bags(exported: Exported, engine: str, bags: int, meter: Meter) -> ParityReport:
    """Parity of the exported model with autograd on fresh bags, one item of each.

    The items are what the recipe is watched by: the top window of a bag or the whole of it, in
    dual energy or in pseudo-colour. None of the bags is clean.
    """
    from xedge.engines import load

    data, exposed = with_labels_exposed(exported.model)
    recipe = exported.checkpoint.recipe
    config = recipe.data
    if not isinstance(config, SimulatedData):
        raise ExportError(
            "a model of picture data cannot be checked on simulated bags",
            remedy="Export it with --check 0",
        )
    runner = load(data, engine)
    try:
        with TemporaryDirectory() as kept, meter.task("parity with PyTorch", bags) as advance:
            fresh = dataclasses.replace(
                config,
                train_seed=CHECK_SEED + bags,  # none is trained on, but they may not overlap
                val_seed=CHECK_SEED,
                val_bags=bags,
                val_clean=0.0,
                cache=kept,
            )
            items = Windows(fresh, recipe.model.classes, recipe.seed, train=False)
            planes = (items[k].planes.numpy() for k in range(len(items)))
            model = deployable(exported.checkpoint.model())
            return check_parity(model, exported.spec, runner, exposed, planes, advance)
    finally:
        runner.close()


def _print(
    exported: Exported, out: Path, digest: str, report: ParityReport | None, as_json: bool
) -> None:
    record = {
        "file": str(out),
        "sha256": digest,
        "model": exported.spec.name,
        "stage": exported.spec.stage,
        "nodes": exported.nodes,
        "parity": dataclasses.asdict(report) if report else None,
    }
    if as_json:
        click.echo(json.dumps(record))
        return
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        if name != "parity":
            table.add_row(name, str(value))
    for name, value in (dataclasses.asdict(report) if report else {}).items():
        table.add_row(f"parity: {name.replace('_', ' ')}", str(value))
    Console().print(table)
