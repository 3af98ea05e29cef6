"""`xedge calibrate`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import onnx
import onnx_ir as ir
from rich.console import Console
from rich.table import Table

from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import refuse_output, require_signature
from xedge.commands.evaluated import FRESH_SEED, Picture, simulated
from xedge.data.formats import FORMATS
from xedge.errors import CalibrationError, ConfigError
from xedge.packing import pack_bundle
from xedge.spec import Channels
from xedge.train.progress import Meter
from xedge.types import U8
from xedge_calibration.budget import Budget, measure, overdrawn
from xedge_calibration.histogram import Histogram
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_calibration.sensitivity import Cost, costs, shares
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
SCANNED: Final = 16
"""Windows of a scan that nobody gave a number for."""


@click.command(
    epilog="Examples:\n\n\b\n"
    "  xedge calibrate model.xedge -o model-int8.xedge\n"
    "  xedge calibrate model.xedge -o model-int8.xedge --variant int8 --mixed\n"
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
@click.option("--answers", type=click.Path(path_type=Path, file_okay=False),
              help="Keep answers in this folder, and take those of the same code.")  # fmt: skip
@click.option("--budget", type=click.FloatRange(0), default=Budget.ap50, show_default=True,
              help="AP50 that may be lost, points at 95 % confidence.")  # fmt: skip
@click.option("--recall-budget", type=click.FloatRange(0), default=Budget.recall,
              show_default=True,
              help="The same of any class's recall at 5 % false alarms.")  # fmt: skip
@click.option(
    "--mixed",
    is_flag=True,
    help="Where the budget breaks, leave in float what costs most, until it holds.",
)
@click.option(
    "--scan",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="WINDOWS",
    help="Say what each convolution costs on integers, by so many windows.",
)
@click.option("--force", is_flag=True, help="Write what breaks its budget, or was not checked.")
@click.option("--threads", type=click.IntRange(1), help="Threads of an engine; else all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def calibrate(
    bundle: Path, public_key: bytes | None, out: Path, as_json: bool, **options: Any
) -> None:
    """Add eight-bit variants to BUNDLE, calibrated on simulated bags or a data set.

    A variant that loses more than its budget is not written.
    """
    refuse_output(out)
    if not options["check"] and not options["force"]:
        raise ConfigError("nothing shows what eight bits cost", expected="--check BAGS",
                          remedy="Give --force to write it all the same")  # fmt: skip
    if not options["check"] and options["mixed"]:
        raise ConfigError("nothing shows when the budget holds", expected="--check BAGS, or no "
                          "--mixed")  # fmt: skip
    source, meter = open_bundle(bundle, public_key), Meter(quiet=as_json)
    chosen = chosen_set(options, meter)
    if options["save_set"]:
        options["save_set"].write_text(chosen.to_json() + "\n", encoding="utf-8")
    seen = look(source, chosen, options, meter)
    record: dict[str, Any] = {
        "set": {"sha256": chosen.digest, "format": chosen.format, "pictures": len(chosen.items)},
        "method": options["method"],
        "scan": scan(source, seen, options, meter),
    }
    for keep in mixtures(record["scan"], options):
        models, broken = attempt(source, seen, keep, options, record, meter)
        if not broken:
            break
    if broken and not options["force"]:
        raise CalibrationError(
            "eight bits break the budget, or were not shown to keep it",
            expected=f"at most {options['budget']} points of AP50 and "
            f"{options['recall_budget']} of any class's recall less, at 95 % confidence",
            found="; ".join(broken),
            remedy="Check more bags, try another --method, leave layers in float with --mixed or "
            "--keep, or write it with --force",
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


@dataclass(frozen=True, eq=False)
class Seen:
    """A float32 graph, and what a calibration set showed of it.

    Attributes:
        model: The graph.
        histograms: Of every tensor that a form needs.
        windows: The first windows of the set, for the scan.
    """

    model: ir.Model
    histograms: Mapping[str, Histogram]
    windows: tuple[U8, ...]


def look(bundle: Bundle, chosen: CalibrationSet, options: Mapping[str, Any], meter: Meter) -> Seen:
    """What the tensors of all forms hold on a set.

    Raises:
        CalibrationError: When the set is not what it was.
    """
    model = ir.serde.deserialize_model(onnx.load_model_from_string(bundle.model()))
    placements = [place(model.graph, FORMS[n], options["keep"]) for n in _names(options)]
    tensors = list(dict.fromkeys(t for p in placements for t in p.tensors))
    windows: list[U8] = []
    with meter.task("looking at tensors", len(chosen.items)) as advance:

        def counted() -> Iterator[Picture]:
            for picture in pictures(chosen, options["data"]):
                yield picture
                advance()

        def kept() -> Iterator[U8]:
            for planes in planes_of(counted(), bundle.spec):
                if len(windows) < _scanned(options):
                    windows.append(planes)
                yield planes

        histograms = observe(model, tensors, kept())
    return Seen(model, histograms, tuple(windows))


def _names(options: Mapping[str, Any]) -> list[str]:
    return list(options["variant"] or FORMS)


def _scanned(options: Mapping[str, Any]) -> int:
    windows: int = options["scan"] or (SCANNED if options["mixed"] else 0)
    return windows


def scan(
    bundle: Bundle, seen: Seen, options: Mapping[str, Any], meter: Meter
) -> list[dict[str, Any]]:
    """What each convolution costs, dearest first; empty when nobody asked.

    Of the first form that an engine here computes: what a convolution loses by rounding hardly
    depends on the form.
    """
    name = next((n for n in _names(options) if n in ENGINES), None)
    if name is None or not seen.windows:
        return []
    form, keep = FORMS[name], options["keep"]
    count = len(place(seen.model.graph, form, keep).convolutions)
    with meter.task("convolutions one by one", count) as advance:
        found = costs(
            seen.model, bundle.spec, seen.histograms, form, ENGINES[name], seen.windows,
            method=options["method"], keep=keep, threads=options["threads"], advance=advance,
        )  # fmt: skip
    return [asdict(cost) for cost in found]


def mixtures(found: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterator[list[str]]:
    """What stays in float in one attempt after the other: only what was asked for, then more."""
    asked = list(options["keep"])
    yield asked
    if options["mixed"]:
        for dearest in shares([Cost(**row) for row in found]):
            yield [*asked, *dearest]


def attempt(
    bundle: Bundle,
    seen: Seen,
    keep: Sequence[str],
    options: Mapping[str, Any],
    record: dict[str, Any],
    meter: Meter,
) -> tuple[dict[str, bytes], list[str]]:
    """The variants with these convolutions in float, and what breaks the budget.

    What is in them and what they were worth goes into ``record``.

    Raises:
        CalibrationError: When a tensor has no range.
    """
    models, notes = {}, {}
    for name in _names(options):
        placement = place(seen.model.graph, FORMS[name], keep)
        made = to_int8(seen.model, seen.histograms, FORMS[name], options["method"], keep=keep)
        models[name] = ir.serde.serialize_model(made).SerializeToString()
        notes[name] = {
            "convolutions_in_int8": len(placement.convolutions),
            "convolutions_in_float": dict(placement.floats),
            "bytes": len(models[name]),
        }
    record["variants"] = notes
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.xedge"
        _pack(draft, bundle, models, {})
        return models, check(open_bundle(draft), _names(options), options, record, meter)


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
        found = measure(
            bundle, contenders, subjects, options["threads"], options["answers"], advance
        )
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
        quiet={name: v.quiet for name, v in source.variants.items() if name not in models},
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
    if record["scan"]:
        dearest = Table("convolution", "moves a best score by", "at most", box=None)
        for row in record["scan"]:
            dearest.add_row(row["convolution"], f"{row['mean']:.5f}", f"{row['most']:.5f}")
        Console().print(dearest)
    click.echo(f"{record['file']}: sha256 {record['sha256']}")
