"""`xedge inspect`: what a bundle holds, as a table, as JSON and as a page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeAlias

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import require_signature
from xedge.errors import BundleError
from xedge.graph import read_graph
from xedge.postprocess import class_scores, detections
from xedge.spec import Kind, ModelSpec
from xedge.types import Detections

Json: TypeAlias = dict[str, Any]

MOST_OPERATORS = 4
"""Operators of a module that the table names; JSON and the page have them all."""


def signature_of(bundle: Bundle) -> str:
    """Whether a bundle is signed, in words."""
    if bundle.verified:
        return "verified with the key that was given"
    if bundle.signed:
        return "there, not checked: give the maker's key with --require-signature"
    return "none"


def golden_detections(bundle: Bundle, variant: str = "fp32") -> Detections:
    """What a detector's golden answer reports, in elements and lines of the golden counts."""
    spec, golden = bundle.spec, bundle.variant(variant).golden
    rows, columns = (side // spec.binning for side in bundle.golden_low.shape)
    found = detections(golden, spec, rows, columns, spec.alarm_threshold)
    return dataclasses.replace(found, boxes=found.boxes * spec.binning)


def describe(bundle: Bundle) -> Json:
    """A bundle as JSON: manifest, variants with their graphs by module, golden answer, signature.

    Raises:
        BundleError: When one of its graphs is no sound ONNX file.
    """
    spec = bundle.spec
    lines, elements = bundle.golden_low.shape
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "sha256": bundle.sha256,
        "created": bundle.created,
        "signature": signature_of(bundle),
        "licence": spec.licence,
        "classes": list(spec.classes),
        "spec": json.loads(spec.to_json()),
        "parents": dict(spec.parents),
        "measured": dict(bundle.measured),
        "recipe": bool(bundle.recipe),
        "golden": {"lines": lines, "elements": elements, "answer": _answer(bundle)},
        "variants": [_variant(bundle, name) for name in bundle.variants],
    }


def _answer(bundle: Bundle) -> list[Json]:
    """What the golden answer of fp32 reports: objects, or every class of a classifier."""
    spec = bundle.spec
    if spec.kind is Kind.CLASSIFIER:
        scores = class_scores(bundle.variant().golden, spec)
        return [{"label": name, "score": round(float(score), 6)}
                for name, score in zip(spec.classes, scores, strict=True)]  # fmt: skip
    found = golden_detections(bundle)
    return [
        {
            "label": spec.classes[int(found.labels[k])],
            "score": round(float(found.scores[k]), 6),
            "box": [round(float(v), 1) for v in found.boxes[k]],
        }
        for k in range(len(found))
    ]


def _variant(bundle: Bundle, name: str) -> Json:
    variant = bundle.variant(name)
    try:
        graph = read_graph(variant.model)
    except BundleError as error:
        raise BundleError(f"the variant {name}: {error}") from error
    return {
        "name": name,
        "bytes": len(variant.model),
        "opset": graph.opset,
        "nodes": len(graph.nodes),
        "parameters": graph.parameters_by_type(),
        "label_aware_steps": list(graph.label_aware()),
        "tolerance": dataclasses.asdict(variant.tolerance),
        "modules": [dataclasses.asdict(module) for module in graph.modules()],
    }


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--page", type=click.Path(path_type=Path), help="Draw it as a page, FILE.html.")
@require_signature
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(
    bundle: Path | None, page: Path | None, public_key: bytes | None, as_json: bool
) -> None:
    """Show what BUNDLE holds: variants, graphs, classes, parents, licence, signature.

    Nothing is run. Without BUNDLE it is the one that xedge ships. The page draws the golden
    window with what the model reports in it.

    \b
    Examples:
      xedge inspect
      xedge inspect model.xedge --page model.html
      xedge inspect model.xedge --json --require-signature maker.pub
    """  # noqa: D301  # click wants the character, not a backslash
    opened = open_bundle(bundle, public_key)
    record = describe(opened)
    if page is not None:
        from xedge.commands.inspect_page import write_page

        write_page(opened, record, page)
    if as_json:
        click.echo(json.dumps(record, indent=1, allow_nan=False))
        return
    _print(record, opened.spec)
    if page is not None:
        click.echo(f"Drawn: {page}")


def _print(record: Json, spec: ModelSpec) -> None:
    golden = record["golden"]
    told = ", ".join(f"{row['label']} {row['score']:.2f}" for row in golden["answer"])
    facts = {
        "model": f"{record['name']}, a {record['kind']}, {spec.stage}",
        "sha256": record["sha256"],
        "created": record["created"],
        "signature": record["signature"],
        "licence": record["licence"],
        "classes": ", ".join(record["classes"]),
        "window": f"{spec.width} x {spec.height} pixels of {spec.pixel_mm:g} mm, "
        f"{spec.channels.value}, binning {spec.binning}",
        "thresholds": f"score {spec.score_threshold:g}, alarm {spec.alarm_threshold:g}, "
        f"suppression from an IoU of {spec.nms_iou:g}",
        "parents": "\n".join(f"{name} {text}" for name, text in record["parents"].items()),
        "golden window": f"{golden['elements']} elements, {golden['lines']} lines: {told or '-'}",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        table.add_row(name, fact or "-")
    variants = Table("variant", "MB", "nodes", "weights", "opset", "score within", "IoU from",
                     box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for row in record["variants"]:
        weights = ", ".join(f"{n:,} {kind}" for kind, n in row["parameters"].items())
        limit = row["tolerance"]
        variants.add_row(row["name"], f"{row['bytes'] / 1e6:.1f}", str(row["nodes"]), weights,
                         str(row["opset"]), f"{limit['score']:g}", f"{limit['iou']:g}")  # fmt: skip
    graph = Table(f"module of {record['variants'][0]['name']}", "nodes", "weights", "operators",
                  box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for row in record["variants"][0]["modules"]:
        names = [f"{n} {operator}" for operator, n in row["operators"].items()]
        more = f" and {len(names) - MOST_OPERATORS} more" if len(names) > MOST_OPERATORS else ""
        graph.add_row(row["name"], str(row["nodes"]), f"{row['parameters']:,}",
                      ", ".join(names[:MOST_OPERATORS]) + more)  # fmt: skip
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    for part in (table, variants, graph):
        console.print(part)
        console.print()
