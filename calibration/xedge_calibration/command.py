"""`xedge calibrate`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import onnx
import onnx_ir as ir
from rich.console import Console
from rich.table import Table

from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import require_signature
from xedge.commands.evaluated import FRESH_SEED, simulated
from xedge.data.formats import FORMATS
from xedge.errors import CalibrationError, ConfigError
from xedge.packing import pack_bundle
from xedge.spec import Channels
from xedge.train.progress import Meter
from xedge_calibration.budget import Budget, measure, overdrawn
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, Placement, place
from xedge_calibration.qdq import to_int8
from xedge_calibration.sets import (
    CALIBRATION_SEED,
    POOL,
    CalibrationSet,
    data_set,
    pictures,
    planes_of,
    simulated_set,
)
from xedge_calibration.thresholds import METHODS

ENGINES: Final[Mapping[str, str]] = {"int8": "openvino", "int8-u8s8": "onnxruntime"}
"""What a form is checked on here; half precision is checked on a device that has it."""


@click.command(
    epilog="Examples:\n\n\b\n"
    "  xedge calibrate model.xedge -o model-int8.xedge\n"
    "  xedge calibrate model.xedge -o int8.xedge --data OPIXray --format opixray"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@require_signature
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="FILE.xedge: the bundle with its eight-bit variants.")  # fmt: skip
@click.option("--variant", multiple=True, type=click.Choice(sorted(FORMS)),
              help="Which forms; else all.")  # fmt: skip
@click.option("--method", default="mse", show_default=True, type=click.Choice(sorted(METHODS)),
              help="Where ranges end.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="NODE", help="A convolution that stays in float.")
@click.option("--set", "manifest", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A calibration set's manifest; else one is drawn.")  # fmt: skip
@click.option("--save-set", type=click.Path(path_type=Path), help="Write its manifest here.")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True,
              help="Pictures to draw.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), help="Folder of a data set to draw from.")
@click.option("--format", "form", help=f"Of the data set: {', '.join(FORMATS)}.")
@click.option("--part", default="", help="Which part of it.")
@click.option("--check", type=click.IntRange(0), default=5000, show_default=True,
              help="Fresh simulated bags to compare with float32 on.")  # fmt: skip
@click.option("--budget", type=click.FloatRange(0), default=Budget.ap50, show_default=True,
              help="AP50 that may be lost, points at 95 % confidence.")  # fmt: skip
@click.option("--recall-budget", type=click.FloatRange(0), default=Budget.recall,
              show_default=True,
              help="The same of any class's recall at 5 % false alarms.")  # fmt: skip
@click.option("--force", is_flag=True, help="Write what breaks its budget, or was not checked.")
@click.option("--threads", type=click.IntRange(1), help="Threads of an engine; else all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def calibrate(
    bundle: Path, public_key: bytes | None, out: Path, as_json: bool, **options: Any
) -> None:
    """Add eight-bit variants to BUNDLE, calibrated on simulated bags or a data set.

    A variant that loses more than its budget is not written.
    """
    if out.suffix != ".xedge":
        raise ConfigError("the output's name says nothing", expected="FILE.xedge", found=str(out))
    if not options["check"] and not options["force"]:
        raise ConfigError("nothing shows what eight bits cost", expected="--check BAGS",
                          remedy="Give --force to write it all the same")  # fmt: skip
    source, meter = open_bundle(bundle, public_key), Meter(quiet=as_json)
    chosen = chosen_set(options, meter)
    if options["save_set"]:
        options["save_set"].write_text(chosen.to_json() + "\n", encoding="utf-8")
    names = list(options["variant"] or FORMS)
    models, notes = quantise(source, chosen, names, options, meter)
    with TemporaryDirectory() as folder:
        draft = Path(folder) / out.name
        _pack(draft, source, models, {})
        record = {
            "set": {
                "sha256": chosen.digest,
                "format": chosen.format,
                "pictures": len(chosen.items),
            },
            "method": options["method"],
            "variants": notes,
        }
        broken = check(open_bundle(draft), names, options, record, meter)
    if broken and not options["force"]:
        raise CalibrationError(
            "eight bits break the budget, or were not shown to keep it",
            expected=f"at most {options['budget']} points of AP50 and "
            f"{options['recall_budget']} of any class's recall less, at 95 % confidence",
            found="; ".join(broken),
            remedy="Check more bags, try another --method, keep layers in float with --keep, "
            "or write it with --force",
        )
    record |= {"file": str(out), "sha256": _pack(out, source, models, record), "broken": broken}
    _print(record, as_json)


def chosen_set(options: Mapping[str, Any], meter: Meter) -> CalibrationSet:
    """The set that the options name, or a new one.

    Raises:
        CalibrationError: When it is empty, or no manifest.
        ConfigError: When the options contradict each other.
    """
    if options["manifest"]:
        return CalibrationSet.from_json(options["manifest"].read_text(encoding="utf-8"))
    root, count = options["data"], options["count"]
    if (root is None) != (options["form"] is None):
        raise ConfigError("--data and --format go together", expected="both or neither")
    with meter.task("drawing a set", POOL * count) as advance:
        if root is None:
            return simulated_set(count, CALIBRATION_SEED, advance)
        return data_set(root, options["form"], options["part"], count, advance)


def quantise(
    bundle: Bundle,
    chosen: CalibrationSet,
    names: Sequence[str],
    options: Mapping[str, Any],
    meter: Meter,
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The ONNX file of each form, and what is on integers in it.

    Raises:
        CalibrationError: When the set is not what it was, or a tensor has no range.
    """
    model = ir.serde.deserialize_model(onnx.load_model_from_string(bundle.model()))
    keep = options["keep"]
    placements: dict[str, Placement] = {n: place(model.graph, FORMS[n], keep) for n in names}
    tensors = list(dict.fromkeys(t for p in placements.values() for t in p.tensors))
    with meter.task("looking at tensors", len(chosen.items)) as advance:

        def counted() -> Any:
            for picture in pictures(chosen, options["data"]):
                yield picture
                advance()

        histograms = observe(model, tensors, planes_of(counted(), bundle.spec))
    models, notes = {}, {}
    for name, placement in placements.items():
        made = to_int8(model, histograms, FORMS[name], options["method"], keep=keep)
        models[name] = ir.serde.serialize_model(made).SerializeToString()
        notes[name] = {
            "convolutions_in_int8": len(placement.convolutions),
            "convolutions_in_float": dict(placement.floats),
            "bytes": len(models[name]),
        }
    return models, notes


def check(
    bundle: Bundle,
    names: Sequence[str],
    options: Mapping[str, Any],
    record: dict[str, Any],
    meter: Meter,
) -> list[str]:
    """What breaks the budget, variant by variant; what was measured goes into ``record``."""
    bags = options["check"]
    if not bags:
        return ["not checked"]
    if bundle.spec.channels is not Channels.DUAL_ENERGY:
        raise ConfigError(
            "a model of pictures is not checked on simulated bags",
            expected="--check 0",
            remedy="Compare with `xedge evaluate --against` on a data set",
        )
    subjects = simulated(bundle.spec.classes, bags, FRESH_SEED)
    contenders = [(ENGINES[name], name) for name in names if name in ENGINES]
    with meter.task("comparing with float32", bags) as advance:
        found = measure(bundle, contenders, subjects, options["threads"], advance)
    budget = Budget(options["budget"], options["recall_budget"])
    broken = []
    for name, (compared, measured) in found.items():
        record["variants"][name]["measured"] = measured
        broken += [f"{name}: {text}" for text in overdrawn(budget, compared, bundle.spec.classes)]
    return broken


def _pack(
    path: Path, source: Bundle, models: Mapping[str, bytes], record: Mapping[str, Any]
) -> str:
    others = {name: v.model for name, v in source.variants.items()}
    return pack_bundle(
        path,
        others | dict(models),
        source.spec,
        licence=source.licence,
        created=datetime.datetime.now(datetime.timezone.utc).date(),
        recipe=source.recipe,
        measured={**source.measured, "calibration": dict(record)} if record else source.measured,
        counts=(source.golden_low, source.golden_high),
    )


def _print(record: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(record))
        return
    table = Table(
        "variant", "int8 convolutions", "in float", "bytes", "AP50", "less fp32", box=None
    )
    for name, row in record["variants"].items():
        measured = row.get("measured", {})
        less = (measured.get("less_fp32") or {}).get("ap50")
        table.add_row(
            name,
            str(row["convolutions_in_int8"]),
            str(len(row["convolutions_in_float"])),
            str(row["bytes"]),
            str(measured["ap50"]) if measured else "not measured",
            f"{less['value']:+.4f} ({less['low']:+.4f} to {less['high']:+.4f})" if less else "",
        )
    Console().print(table)
    click.echo(f"{record['file']}: sha256 {record['sha256']}")
