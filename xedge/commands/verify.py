"""`xedge verify`: every variant of a bundle on every engine of this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge import engines
from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import require_signature
from xedge.commands.retained import share_retained, updates, worded
from xedge.engines.build import Building
from xedge.engines.cache import EngineCache
from xedge.engines.chosen import Chosen
from xedge.engines.deploy import load_graph, stated_for, tolerance
from xedge.engines.deploy import verify as verify_engine
from xedge.errors import EngineCacheError, EngineError, EngineLoadError
from xedge.golden import compare_golden, golden_planes
from xedge.graph import read_graph
from xedge.packing import REFERENCE
from xedge.postprocess import check_contract
from xedge.spec import Kind
from xedge.types import F32

NO_MODEL: Final = "fake"
"""The engine that runs no model: there is nothing to verify on it."""

SLOW_TO_BUILD: Final = "tensorrt"
"""What is in the names of engines that build for minutes: none is built to look inside a graph."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A variant on an engine, held against the variant's golden answer.

    Attributes:
        engine: A name of `xedge.engines.BACK_ENDS`.
        precision: The variant.
        arithmetic: What its convolutions and matrix products really ran in.
        max_abs_score: Largest difference of a score.
        max_box_px: Largest difference of a box's coordinate, pixels of the window.
        flip_rate: Share of what alarms on one side that does not on the other.
        la_update_retained: Share of the label-aware update that is there when the next layer
            reads it, of that of fp32 on the reference engine.
        stops: Whether in two stages it reproduces the golden answer too, and stops at a window
            of air.
        passed: Whether the engine reproduces the golden answer, and stops where it should.
        reasons: Of each value that is None, or of a check that did not pass, why.
    """

    engine: str
    precision: str
    arithmetic: str | None = None
    max_abs_score: float | None = None
    max_box_px: float | None = None
    flip_rate: float | None = None
    la_update_retained: float | None = None
    stops: bool | None = None
    passed: bool = False
    reasons: dict[str, str] = field(default_factory=dict)


def engines_here(asked: Sequence[str] = ()) -> list[str]:
    """The engines that can be used on this machine; of those asked for, where some are.

    Raises:
        EngineLoadError: When one that is asked for is unknown, or none is there.
    """
    found = engines.available()
    for name in asked:
        if name not in found or name == NO_MODEL or not found[name].usable:
            usable = [n for n, state in found.items() if state.usable and n != NO_MODEL]
            raise EngineLoadError(
                f"the engine {name!r} cannot verify anything here",
                expected=", ".join(usable) or "an engine that is installed",
                found=found[name].detail if name in found else "no such engine",
                remedy="See `xedge doctor` for what is installed",
            )
    names = list(asked) or [n for n, state in found.items() if state.usable and n != NO_MODEL]
    if not names:
        raise EngineLoadError("no engine is installed", expected=REFERENCE, found="none",
                              remedy="Run: pip install 'xedge[cpu]'")  # fmt: skip
    return names


def verify_bundle(
    bundle: Bundle,
    asked: Sequence[str] = (),
    variants: Sequence[str] = (),
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Check]:
    """A check of each variant on each engine.

    Args:
        bundle: What to verify.
        asked: Engines; all that are installed where none is named.
        variants: Variants of the bundle; all where none is named.
        threads: Threads of one run; None for every physical core.
        advance: Called after each check.

    Raises:
        BundleError: When the bundle has no such variant.
        EngineLoadError: As `engines_here` says.
    """
    names = engines_here(asked)
    chosen = list(variants) or list(bundle.variants)
    for name in chosen:
        bundle.variant(name)
    reference = _Reference(bundle, threads)
    checks = []
    for variant in chosen:
        for name in names:
            checks.append(_check(bundle, name, variant, threads, reference))
            advance()
    return checks


class _Reference:
    """The label-aware update in float32, computed when it is first asked for."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        self._bundle, self._threads = bundle, threads
        self._found: list[tuple[F32, F32]] | None = None

    def updates(self) -> list[tuple[F32, F32]]:
        if self._found is None:
            planes = golden_planes(
                self._bundle.golden_low, self._bundle.golden_high, self._bundle.spec
            )
            self._found = updates(self._bundle.model(), REFERENCE, self._threads, planes)
        return self._found


def _check(
    bundle: Bundle, name: str, variant: str, threads: int | None, reference: _Reference
) -> Check:
    base = Check(engine=name, precision=variant)
    model, limit = bundle.model(variant), tolerance(bundle, name, variant)
    try:
        with closing(engines.load(model, name, threads, _kept())) as engine:
            check_contract(engine, bundle.spec)
            found = compare_golden(bundle, engine, variant, limit)
    except EngineError as error:
        missing = ("arithmetic", "max_abs_score", "max_box_px", "flip_rate", "la_update_retained",
                   "stops")  # fmt: skip
        return dataclasses.replace(base, reasons=dict.fromkeys((*missing, "passed"), str(error)))
    reasons = {}
    if found.box_error is None:
        reasons["max_box_px"] = (
            "a classifier gives no boxes"
            if bundle.spec.kind is Kind.CLASSIFIER
            else "no candidate is found on both sides"
        )
    if found.flips is None:
        reasons["flip_rate"] = f"nothing alarms at {bundle.spec.alarm_threshold:g} on either side"
    if not (passed := found.within(limit)):
        reasons["passed"] = (
            f"scores are off by {found.score_error:.2g} where {limit.score:g} is allowed; "
            f"{found.missing} candidates have no partner with an IoU of {limit.iou:g}"
            + (f"; maps are off by {found.map_error:.2g}" if found.map_error else "")
        )
    types = _arithmetic(model, name, threads, reasons)
    stops = _stops(bundle, name, variant, threads, reasons)
    return dataclasses.replace(
        base,
        arithmetic=worded(types) if types else None,
        max_abs_score=found.score_error,
        max_box_px=found.box_error,
        flip_rate=found.flips,
        la_update_retained=_retained(bundle, name, variant, threads, reference, types, reasons),
        stops=stops,
        passed=passed and stops is not False,
        reasons=reasons,
    )


def _kept() -> Building | None:
    """Plans that were accepted before are used, and no new ones are kept."""
    try:
        return Building(EngineCache())
    except EngineCacheError:
        return None


def _stops(
    bundle: Bundle, name: str, variant: str, threads: int | None, reasons: dict[str, str]
) -> bool | None:
    """Whether the variant in two stages passes; None where the bundle does not say when to stop."""
    chosen = Chosen(name, variant, variant)
    if not bundle.variant(variant).quiet:
        reasons["stops"] = "the bundle does not say which windows are quiet"
        return None
    if not (stated := stated_for(bundle, chosen)):
        reasons["stops"] = "every window is refined: it computes in another type than its graph"
        return None
    try:
        how = _kept() or Building()
        for one in stated:
            with closing(load_graph(bundle, chosen, threads, how, one.keeps)) as engine:
                verify_engine(bundle, chosen, engine)
    except EngineError as error:
        reasons["stops"] = str(error)
        return False
    return True


def _arithmetic(
    model: bytes, name: str, threads: int | None, reasons: dict[str, str]
) -> dict[str, int]:
    types = None
    try:
        if SLOW_TO_BUILD not in name:
            types = engines.arithmetic(model, name, threads)
    except EngineError as error:
        reasons["arithmetic"] = str(error)
    if types is None:
        reasons.setdefault("arithmetic", "this engine does not tell")
    elif not types:
        reasons["arithmetic"] = "the library names no convolution and no matrix product that ran"
    return types or {}


def _retained(
    bundle: Bundle,
    name: str,
    variant: str,
    threads: int | None,
    reference: _Reference,
    types: dict[str, int],
    reasons: dict[str, str],
) -> float | None:
    key = "la_update_retained"
    if not read_graph(bundle.model(variant)).label_aware():
        reasons[key] = "the graph has no label-aware step"
    elif SLOW_TO_BUILD in name:
        reasons[key] = "it takes an engine with more outputs, which builds for minutes"
    elif not types:
        reasons[key] = "nobody knows what type features are kept in"
    else:
        planes = golden_planes(bundle.golden_low, bundle.golden_high, bundle.spec)
        try:
            found = updates(bundle.model(variant), name, threads, planes)
            share = share_retained(reference.updates(), found, types)
        except (EngineError, ValueError) as error:
            reasons[key] = str(error)
            return None
        if share is None:
            reasons[key] = "the update is zero"
        return share
    return None


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--engine", "asked", multiple=True, help="An engine; else all that are installed.")
@click.option("--precision", "variants", multiple=True, help="A variant; else all of the bundle.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the engine; else all cores.")
@require_signature
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def verify(
    ctx: click.Context,
    bundle: Path | None,
    asked: tuple[str, ...],
    variants: tuple[str, ...],
    threads: int | None,
    public_key: bytes | None,
    as_json: bool,
) -> None:
    """Hold every variant of BUNDLE, on every engine here, against its golden answer.

    The golden input is raw counts, so that encoding and padding are compared too. Without BUNDLE
    it is the one that xedge ships. Exits with 1 when a variant does not pass on an engine.

    \b
    With --json, a list of objects:
      engine, precision    the engine, and the variant that it ran
      arithmetic           what convolutions and matrix products really ran in
      max_abs_score        largest difference of a score
      max_box_px           largest difference of a box's coordinate, pixels
      flip_rate            share of what alarms on one side only
      la_update_retained   share of the label-aware update that the next layer sees
      stops                in two stages the same answer, and air stops after the first
      passed               within the variant's tolerance
      reasons              of each null, and of a check that failed, why

    \b
    Examples:
      xedge verify
      xedge verify model.xedge --require-signature maker.pub
      xedge verify model.xedge --engine onnxruntime --precision int8 --json
    """  # noqa: D301  # click wants the character, not a backslash
    opened = open_bundle(bundle, public_key)
    total = len(variants or opened.variants) * len(engines_here(asked))
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        bar = progress.add_task("Verifying", total=total)
        checks = verify_bundle(opened, asked, variants, threads, lambda: progress.advance(bar))
    if as_json:
        rows = ",\n".join(json.dumps(dataclasses.asdict(check)) for check in checks)
        click.echo(f"[\n{rows}\n]")
    else:
        _print(checks)
    ctx.exit(0 if all(check.passed for check in checks) else 1)


def _print(checks: Sequence[Check]) -> None:
    table = Table("variant", "engine", "", "computed in", "score off by", "box off by, px",
                  "flips", "LA update kept", "air stops", box=None,
                  padding=(0, 2, 0, 0))  # fmt: skip
    for check in checks:
        table.add_row(
            check.precision, check.engine, "passed" if check.passed else "FAILED",
            check.arithmetic or "-", _number(check.max_abs_score, ".1e"),
            _number(check.max_box_px, ".3g"), _number(check.flip_rate, ".1%"),
            _number(check.la_update_retained, ".1%"),
            "-" if check.stops is None else "yes" if check.stops else "NO",
        )  # fmt: skip
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    said: dict[str, Any] = {}
    for check in checks:
        for key, reason in check.reasons.items():
            said.setdefault(f"{reason}", []).append(f"{check.precision} on {check.engine}, {key}")
    for reason, places in said.items():
        console.print(f"- {'; '.join(places)}: {reason}", soft_wrap=True)


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)
