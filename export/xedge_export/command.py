"""`xedge export`."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from xedge.errors import ConfigError, ExportError, XedgeError
from xedge.packing import own_licence
from xedge.train.progress import Meter
from xedge_export.checking import Report, parity_of, refuse_difference
from xedge_export.contract import Stage
from xedge_export.one_backward import Decision, with_one_backward
from xedge_export.pack import pack, refuse_pictures
from xedge_export.probes import planes_for
from xedge_export.to_onnx import Exported, export_checkpoint, export_model
from xedge_export.variants import half_precision, parse_precisions
from xedge_export.zoo import Entry, zoo

FEWEST_WINDOWS = 2
"""Windows that ranges are measured on at least."""


@click.command(
    epilog="Examples:\n\n\b\n"
    "  xedge export runs/atss-la-r18half/final.ckpt -o model.onnx\n"
    "  xedge export runs/atss-la-r18half/final.ckpt -o model.xedge --check 50\n"
    "  xedge export runs/atss-la-r18half/final.ckpt -o model.xedge --precision fp32,fp16\n"
    "  xedge export --all -o onnx"
)
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path),
              help="FILE.onnx, or FILE.xedge for a bundle; a folder with --all.")  # fmt: skip
@click.option("--stage", type=click.Choice([s.value for s in Stage]), default="refined",
              show_default=True, help="With the label-aware step, or without.")  # fmt: skip
@click.option("--precision", default="fp32", show_default=True,
              help="fp32, fp16, or both with a comma; a bundle always has fp32.")  # fmt: skip
@click.option("--one-backward", type=click.IntRange(min=1), metavar="BAGS",
              help="One backward pass for two at levels where the gradients on BAGS are so small "
              "that it changes nothing.")  # fmt: skip
@click.option("--check", type=click.IntRange(min=0), default=4, show_default=True,
              help="Bags to compare with PyTorch.")  # fmt: skip
@click.option("--pictures", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Folder of pictures to compare on instead.")  # fmt: skip
@click.option("--engine", default="onnxruntime", show_default=True, help="Engine to check with.")
@click.option("--licence", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Text of the weights' licence, for a bundle.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="Export each tiny recipe: trained in --runs, or weights drawn.")  # fmt: skip
@click.option("--runs", default="runs", show_default=True, type=click.Path(path_type=Path),
              help="Folder of runs, for --all and --list.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Show what --all exports.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    checkpoint: Path | None,
    out: Path | None,
    stage: str,
    precision: str,
    one_backward: int | None,
    check: int,
    pictures: Path | None,
    engine: str,
    licence: Path | None,
    everything: bool,
    runs: Path,
    listing: bool,
    as_json: bool,
) -> None:
    """Export CHECKPOINT to ONNX with the label-aware gradient unrolled, or to a bundle.

    The result is compared with PyTorch (and its autograd), detection by detection or score by
    score, on simulated bags or pictures; an export that differs is not written.
    """
    if listing:
        rows = [_listed(entry) | {"exportable": entry.exportable} for entry in zoo(runs)]
        _print_zoo(rows, as_json)
        return
    if everything == (checkpoint is not None) or out is None:
        raise click.UsageError("Give a CHECKPOINT or --all, and where it goes with --out.")
    if everything:
        if pictures or licence or one_backward or stage != Stage.REFINED.value:
            raise click.UsageError(
                "--all has no use for --pictures, --licence, --one-backward or --stage."
            )
        entries = [entry for entry in zoo(runs) if entry.exportable]
        _export_all(entries, out, check, engine, as_json)
        return
    assert checkpoint is not None
    _refuse_name(out)
    precisions = parse_precisions(precision)
    exported = export_model(checkpoint, Stage(stage))
    if out.suffix == ".xedge":
        refuse_pictures(exported.checkpoint.recipe)
    decisions: list[Decision] = []
    if one_backward:
        planes = planes_for(exported.checkpoint.recipe, one_backward, pictures)
        exported, decisions = with_one_backward(exported, planes)
    report = None
    if check:
        report = parity_of(exported, engine, check, Meter(quiet=as_json), pictures)
        refuse_difference(report)
    models = {"fp32": exported.model}
    if "fp16" in precisions:
        planes = planes_for(exported.checkpoint.recipe, max(check, FEWEST_WINDOWS), pictures)
        models["fp16"] = half_precision(exported.model, list(planes))
    if out.suffix == ".onnx":
        digest = _write_graphs({name: models[name] for name in precisions}, out)
    else:
        text = licence.read_text(encoding="utf-8") if licence else own_licence()
        today = datetime.datetime.now(datetime.timezone.utc).date()
        digest = pack(exported, out, text, today, models)
    _print(exported, out, digest, report, decisions, as_json)


def _write_graphs(models: dict[str, bytes], out: Path) -> str:
    """Sha256 of the first, which goes to ``out``; others go beside it, as ``NAME-fp16.onnx``."""
    first, *_ = models
    for name, data in models.items():
        path = out if name == first else out.with_name(f"{out.stem}-{name}{out.suffix}")
        path.write_bytes(data)
    return hashlib.sha256(models[first]).hexdigest()


def _refuse_name(out: Path) -> None:
    if out.suffix not in (".onnx", ".xedge"):
        raise ConfigError(
            "the output's name says nothing", expected="FILE.onnx or FILE.xedge", found=str(out)
        )
    if not out.parent.is_dir():
        raise ConfigError(
            "there is no folder to write to", found=str(out.parent), remedy="Make it first"
        )


def _export_all(entries: list[Entry], folder: Path, check: int, engine: str, quiet: bool) -> None:
    """Export each into the folder and tell of each; an error at the end when one failed."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [_export_one(entry, folder, check, engine, Meter(quiet=quiet)) for entry in entries]
    _print_zoo(records, quiet)
    if failed := [str(record["name"]) for record in records if record["error"]]:
        raise ExportError(
            f"{len(failed)} of {len(records)} models were not exported", found=", ".join(failed)
        )


def _export_one(
    entry: Entry, folder: Path, check: int, engine: str, meter: Meter
) -> dict[str, Any]:
    """What came of one recipe; a file beside it when nothing was wrong."""
    record = _listed(entry) | {"nodes": 0, "bytes": 0, "compared": 0, "worst_score": None}
    try:
        exported = export_checkpoint(*entry.checkpoint())
        if check:
            report = parity_of(exported, engine, check, meter)
            refuse_difference(report)
            record |= {"compared": report.compared, "worst_score": report.worst_score}
        (folder / f"{entry.name}.onnx").write_bytes(exported.model)
    except XedgeError as error:
        return record | {"error": str(error)}
    return record | {"nodes": exported.nodes, "bytes": len(exported.model), "error": ""}


def _listed(entry: Entry) -> dict[str, Any]:
    weights = str(entry.trained) if entry.trained else "drawn"
    return {
        "name": entry.name,
        "system": entry.system,
        "kind": entry.kind.value,
        "weights": weights,
    }


def _print_zoo(records: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(records))
        return
    table = Table()
    for name in records[0] if records else ():
        table.add_column(name.replace("_", " "), overflow="fold")
    for record in records:
        table.add_row(*(f"{v:.1g}" if isinstance(v, float) else str(v) for v in record.values()))
    Console().print(table)


def _print(
    exported: Exported,
    out: Path,
    digest: str,
    report: Report | None,
    decisions: list[Decision],
    as_json: bool,
) -> None:
    record = {
        "file": str(out),
        "sha256": digest,
        "model": exported.spec.name,
        "stage": exported.spec.stage,
        "nodes": exported.nodes,
        "parity": dataclasses.asdict(report) if report else None,
        "backward": [dataclasses.asdict(decision) for decision in decisions],
    }
    if as_json:
        click.echo(json.dumps(record))
        return
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        if name not in ("parity", "backward"):
            table.add_row(name, str(value))
    for name, value in (dataclasses.asdict(report) if report else {}).items():
        table.add_row(f"parity: {name.replace('_', ' ')}", str(value))
    for d in decisions:
        passes = "one backward pass" if d.one else "two backward passes"
        table.add_row(d.scope, f"{passes}: gradients up to {d.seen:.2g}, limit {d.limit:.2g}")
    Console().print(table)
