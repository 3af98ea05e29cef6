"""`xedge evaluate`: what a bundle is worth on an engine, and one variant against another."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge.bundle import Bundle, open_bundle
from xedge.commands.answers import Contender, answers_of
from xedge.commands.bundle_options import bundle_options, refine_all
from xedge.commands.evaluated import FRESH_SEED, Subjects, annotated, finder, simulated
from xedge.commands.screening import EngineUsed
from xedge.data.formats import FORMATS
from xedge.engines import BACK_ENDS
from xedge.errors import ConfigError
from xedge.metrics import (
    FALSE_ALARMS,
    Difference,
    PairedComparison,
    Share,
    Summary,
    Truth,
    compare_paired,
    multilabel_average_precision,
    summarise,
)
from xedge.spec import Kind, ModelSpec
from xedge.types import Detections

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one variant on one engine found.

    Attributes:
        engine: What ran it.
        variant: Which graph of the bundle.
        found: One value an image.
        summary: What that is worth.
        multilabel: Of a classifier, its mean average precision over images, and each class's.
    """

    engine: EngineUsed
    variant: str
    found: tuple[Detections, ...]
    summary: Summary
    multilabel: tuple[float, tuple[float, ...]] | None = None


def evaluate_bundle(
    bundle: Bundle,
    contenders: Sequence[tuple[str, str]],
    subjects: Subjects,
    *,
    threads: int | None = None,
    threshold: float | None = None,
    pixel_mm: float | None = None,
    refine_all: bool = False,
    rate: float = FALSE_ALARMS,
    folder: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Evaluation], list[Truth]]:
    """What each contender finds in the same images, and the truth.

    Args:
        bundle: The model.
        contenders: Engine and variant of each.
        subjects: What to look at.
        threads: Threads of one run; None for every physical core.
        threshold: Detections with a lower score are dropped; None takes the model's own.
        pixel_mm: Size of a colour picture's pixel; None is guessed.
        refine_all: True refines every window, whatever the bundle says of quiet ones.
        rate: Share of the clean images that may alarm where recall is counted.
        folder: Where answers are kept as they come, and taken from (`xedge.commands.answers`).
        advance: Called after each image.

    Raises:
        BundleError: When the bundle has no such variant.
        EngineError: When an engine is not installed, refuses the model, or fails.
        DataError, ImageError: When a picture cannot be used; the message names it.
    """
    for _, variant in contenders:
        bundle.variant(variant)
    with ExitStack() as stack:
        finders = [
            stack.enter_context(
                finder(bundle, engine, variant, threads=threads, threshold=threshold,
                       pixel_mm=pixel_mm, refine_all=refine_all)
            )
            for engine, variant in contenders
        ]  # fmt: skip
        asked = [
            Contender(_depends_on(bundle, used, variant, (threshold, pixel_mm), refine_all), find)
            for (find, used), (_, variant) in zip(finders, contenders, strict=True)
        ]
        answers = answers_of(asked, subjects, folder, advance)
    found = [[detections for detections, _ in mine] for mine in answers]
    truths = [truth for _, truth in answers[0]]
    spec = bundle.spec
    return [
        Evaluation(
            used,
            variant,
            tuple(mine),
            summarise(mine, truths, len(spec.classes), spec.alarm_threshold, rate),
            _multilabel(mine, truths, spec) if spec.kind is Kind.CLASSIFIER else None,
        )
        for (_, used), (_, variant), mine in zip(finders, contenders, found, strict=True)
    ], truths


def _depends_on(
    bundle: Bundle, used: EngineUsed, variant: str, options: object, refine_all: bool
) -> str:
    """All that a contender's answers depend on but for its threads, in words."""
    spec = bundle.spec
    graph = hashlib.sha256(bundle.model(variant)).hexdigest()
    text = f"{used.name} {used.version} {graph} {spec.score_threshold} {spec.nms_iou} {options}"
    quiet = () if refine_all else bundle.variant(variant).quiet
    return f"{text} {quiet}" if quiet else text


def _multilabel(
    found: Sequence[Detections], truths: Sequence[Truth], spec: ModelSpec
) -> tuple[float, tuple[float, ...]]:
    """Mean average precision over images, and each class's, by SIXray's protocol."""
    scores = np.zeros((len(found), len(spec.classes)), np.float32)
    presence = np.full(scores.shape, -1, np.int8)
    for k, (mine, truth) in enumerate(zip(found, truths, strict=True)):
        scores[k, mine.labels] = mine.scores
        presence[k, truth.labels] = truth.counted().astype(np.int8)
    whole = multilabel_average_precision(scores, presence)
    return whole.mean, whole.by_class


def record_of(
    bundle: Bundle,
    subjects: Subjects,
    evaluation: Evaluation,
    rate: float = FALSE_ALARMS,
) -> Json:
    """An evaluation as JSON; null where there was nothing to find, or nothing clean.

    Args:
        bundle: The model.
        subjects: What it was evaluated on.
        evaluation: What was found.
        rate: The false-alarm rate that recall is stated at.
    """
    found, spec, several = evaluation.summary, bundle.spec, evaluation.multilabel
    recall = found.screening
    classifier = several is not None
    by_class = {}
    for k, name in enumerate(spec.classes):
        row: Json = {} if classifier else {"ap50": _number(found.whole.ap50_by_class[k])}
        row["ap"] = _number(several[1][k] if several else found.whole.ap_by_class[k])
        row["objects"] = found.whole.objects_by_class[k]
        row["recall_at_fpr"] = _share(recall.objects_by_class[k]) if recall else None
        by_class[name] = row
    return {
        "bundle": spec.name,
        "sha256": bundle.sha256,
        "engine": evaluation.engine.name,
        "version": evaluation.engine.version,
        "precision": evaluation.variant,
        "data": subjects.name,
        "images": found.images,
        "ap50": None if classifier else _number(found.whole.ap50),
        "map": _number(several[0] if several else found.whole.ap),
        "recall_at_fpr": {
            "fpr": rate,
            "threshold": recall.threshold,
            "false_alarms": _share(recall.false_alarms),
            "objects": _share(recall.objects),
            "images": _share(recall.bags),
        }
        if recall
        else None,
        "by_class": by_class,
        "by_occlusion": {
            f"OL{level}": {"ap50": _number(part.ap50), "objects": sum(part.objects_by_class)}
            for level, part in found.levels.items()
        },
        "alarms": {
            "threshold": spec.alarm_threshold,
            "with_objects": [found.loaded_alarmed, found.loaded],
            "clean": [found.clean_alarmed, found.clean],
        },
    }


def difference_of(spec: ModelSpec, compared: PairedComparison) -> Json:
    """A paired comparison as JSON: the first contender's figures less the other's."""
    recalls = compared.recall_by_class or (None,) * len(spec.classes)
    return {
        "ap50": _interval(compared.ap50),
        "recall_at_fpr": _interval(compared.recall),
        "by_class": {
            name: {"ap50": _interval(ap), "recall_at_fpr": _interval(recall)}
            for name, ap, recall in zip(spec.classes, compared.ap50_by_class, recalls, strict=True)
        },
        "flips_per_1000": _per_thousand(compared.flips),
        "alarms_lost_per_1000": _per_thousand(compared.lost),
        "alarms_gained_per_1000": _per_thousand(compared.gained),
    }


def _number(value: float) -> float | None:
    """Four decimals; None where there was nothing to find, since JSON has no NaN."""
    return None if math.isnan(value) else round(value, 4)


def _share(share: Share) -> Json:
    return {"value": _number(share.value), "low": _number(share.low), "high": _number(share.high),
            "count": share.count, "of": share.total}  # fmt: skip


def _interval(difference: Difference | None) -> Json | None:
    if difference is None or math.isnan(difference.value):
        return None
    return {name: _number(getattr(difference, name)) for name in ("value", "low", "high")}


def _per_thousand(share: Share) -> Json:
    ends = {n: _number(1000 * getattr(share, n)) for n in ("value", "low", "high")}
    return ends | {"count": share.count, "of": share.total}


@click.command()
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--precision", default="fp32", show_default=True, help="A variant of the bundle.")
@click.option("--against", multiple=True, metavar="ENGINE:PRECISION",
              help="Compare with another engine and variant, image by image.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), help="Folder of a data set.")
@click.option("--format", "form", help=f"Of the data set: {', '.join(FORMATS)}.")
@click.option("--part", default="", help="Which part of it.")
@click.option("--ignore", multiple=True, help="A class of it that the model does not know.")
@click.option("--limit", type=click.IntRange(1), help="At most so many pictures of it.")
@click.option("--pixel-mm", type=click.FloatRange(0.01, 10),
              help="Size of a colour picture's pixel at the belt, mm.")  # fmt: skip
@click.option("--bags", type=click.IntRange(1), help="Simulated bags, without --data; 500.")
@click.option("--seed", type=click.IntRange(0), help=f"Of the first bag; {FRESH_SEED}.")
@click.option("--fpr", type=click.FloatRange(0, 1), default=FALSE_ALARMS, show_default=True,
              help="Share of the clean images that may alarm.")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score; else the model's.")
@click.option("--resamples", type=click.IntRange(100), default=1000, show_default=True,
              help="Draws behind the intervals of --against.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Threads of the engine; else all cores.")
@refine_all
@click.option("--answers", type=click.Path(path_type=Path, file_okay=False),
              help="Keep answers in this folder, and take those of the same code.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(as_json: bool, **options: Any) -> None:
    """Say what a bundle is worth on an engine: precision, recall, alarms.

    The model runs as it does on a device: counts or pictures in, engine, suppression. Without
    --data it looks at fresh simulated bags. Recall is that of the objects at the lowest score
    threshold at which at most --fpr of the clean images alarm; intervals are 95 %.

    With --against, every image goes through both, and each difference (the one that is evaluated
    less the other) has an interval from resampling the images.

    \b
    Examples:
      xedge evaluate --bags 200
      xedge evaluate --engine openvino-bf16 --against openvino:fp32
      xedge evaluate --bundle mine.xedge --data OPIXray --format opixray --part test --json
    """  # noqa: D301  # click wants the character, not a backslash
    bundle = open_bundle(options["bundle"], options["public_key"])
    subjects = subjects_of(bundle.spec, options)
    contenders = [(options["engine"], options["precision"]), *map(_named, options["against"])]
    spec, rate = bundle.spec, options["fpr"]
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        bar = progress.add_task("Evaluating", total=subjects.count)
        results, truths = evaluate_bundle(
            bundle, contenders, subjects, threads=options["threads"],
            threshold=options["threshold"], pixel_mm=options["pixel_mm"],
            refine_all=options["refine_all"], rate=rate,
            folder=options["answers"], advance=lambda: progress.advance(bar),
        )  # fmt: skip
        first, *others = results
        bar = progress.add_task("Resampling", total=len(others) * options["resamples"])
        record = record_of(bundle, subjects, first, rate) | {"against": []}
        for other in others:
            compared = compare_paired(
                other.found, first.found, truths, len(spec.classes),
                alarm_threshold=spec.alarm_threshold, rate=rate, resamples=options["resamples"],
                advance=lambda: progress.advance(bar),
            )  # fmt: skip
            row = record_of(bundle, subjects, other, rate)
            record["against"].append(row | {"difference": difference_of(spec, compared)})
    if as_json:
        click.echo(json.dumps(record, allow_nan=False))
    else:
        _print(record)


def subjects_of(spec: ModelSpec, options: Json) -> Subjects:
    """What the options of the command say to evaluate on.

    Raises:
        ConfigError: When they contradict each other.
    """
    of_data = ("form", "part", "ignore", "limit", "pixel_mm")
    root = options["data"]
    useless = [n for n in (of_data if root is None else ("bags", "seed")) if options[n]]
    if useless:
        name = {"form": "format"}.get(useless[0], useless[0]).replace("_", "-")
        raise ConfigError(
            f"--{name} has no effect here",
            expected="--data DIR beside it" if root is None else "simulated bags, without --data",
        )
    if root is None:
        return simulated(spec.classes, options["bags"] or 500, options["seed"] or FRESH_SEED)
    if not options["form"]:
        raise ConfigError("nothing says what format the data set has", expected="--format F",
                          remedy=f"Choose one of {', '.join(FORMATS)}")  # fmt: skip
    return annotated(root, options["form"], spec.classes, part=options["part"],
                     ignore=options["ignore"], limit=options["limit"])  # fmt: skip


def _named(text: str) -> tuple[str, str]:
    engine, colon, precision = text.partition(":")
    if not (engine and colon and precision):
        raise ConfigError("--against names no contender", expected="ENGINE:PRECISION",
                          found=text)  # fmt: skip
    return engine, precision


def _print(record: Json) -> None:
    sides = [record, *record["against"]]
    table = Table("", *(f"{side['precision']} on {side['engine']}" for side in sides),
                  *(f"less {side['precision']} on {side['engine']}" for side in sides[1:]),
                  box=None, padding=(0, 2, 0, 0))  # fmt: skip

    def line(name: str, path: Sequence[str], apart: Sequence[str] = ()) -> None:
        cells = [_cell(_at(side, path)) for side in sides]
        cells += [_cell(_at(side["difference"], apart)) for side in sides[1:]]
        table.add_row(name.replace("_", " "), *cells)

    recall = "recall"
    if record["recall_at_fpr"]:
        recall = f"recall, {record['recall_at_fpr']['fpr']:.0%} false alarms"
    line("AP50", ["ap50"], ["ap50"])
    line("mAP", ["map"])
    line(recall, ["recall_at_fpr", "objects", "value"], ["recall_at_fpr"])
    for name in record["by_class"]:
        place = ["by_class", name]
        line(f"AP50 {name}", [*place, "ap50"], [*place, "ap50"])
        line(f"{recall}, {name}", [*place, "recall_at_fpr", "value"], [*place, "recall_at_fpr"])
    for name in record["by_occlusion"]:
        line(f"AP50 {name}", ["by_occlusion", name, "ap50"])
    for name in ("with_objects", "clean"):
        line(f"alarms, {name}", ["alarms", name])
    for name in ("flips", "alarms_lost", "alarms_gained") if record["against"] else ():
        line(f"{name} per 1000", (), [f"{name}_per_1000"])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    console.print(f"{record['bundle']} on {record['data']}, {record['images']} images")


def _at(record: Json, path: Sequence[str]) -> Any:
    """What lies at a path of keys; None where the path ends early, or is empty."""
    found: Any = record
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if path else None


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        counted = "of" in value  # a share of images, not a difference
        form = (
            "{value:.4g} ({low:.4g} to {high:.4g})"
            if counted
            else ("{value:+.4g} ({low:+.4g} to {high:+.4g})")
        )
        value = form.format(**value)
    if isinstance(value, list):
        value = "{} of {}".format(*value)
    return "-" if value is None else str(value)
