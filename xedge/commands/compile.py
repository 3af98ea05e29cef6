"""`xedge compile`: build a bundle's engines on this machine, and keep the fastest that is right."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge.bundle import open_bundle
from xedge.commands.bundle_options import require_signature
from xedge.engines import BACK_ENDS
from xedge.engines.cache import EngineCache
from xedge.engines.choose import Choice
from xedge.engines.deploy import PRECISIONS, compile_bundle


@click.command("compile")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option(
    "--engine",
    "asked",
    multiple=True,
    default=("auto",),
    show_default=True,
    help=f"auto, {', '.join(BACK_ENDS)}; may be given several times.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", *PRECISIONS]),
    default="auto",
    show_default=True,
    help="auto tries every variant of the bundle and keeps the fastest.",
)
@click.option("--no-fallback", is_flag=True, help="Try no higher precision where this one fails.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the engine; else all cores.")
@require_signature
@click.option("--rebuild", is_flag=True, help="Build anew what is in the cache.")
@click.option("--list", "as_list", is_flag=True, help="List the cache and do nothing else.")
@click.option("--clear", is_flag=True, help="Empty the cache and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compile_engines(
    bundle: Path | None,
    asked: tuple[str, ...],
    precision: str,
    no_fallback: bool,
    threads: int | None,
    public_key: bytes | None,
    rebuild: bool,
    as_list: bool,
    clear: bool,
    as_json: bool,
) -> None:
    """Build a bundle's engines on this machine, and keep the fastest that is right.

    An engine is kept only when it reproduces the BUNDLE's golden answer; of those that do, the
    fastest is what `--engine auto` takes from then on. Without BUNDLE it is the one that xedge
    ships. TensorRT builds for minutes, others for seconds.

    Engines are kept in $XEDGE_CACHE, or else in xedge/engines in your cache folder.

    \b
    Examples:
      xedge compile
      xedge compile mine.xedge --engine tensorrt --precision fp16
      xedge compile --engine openvino --engine openvino-bf16 --json
      xedge compile --list
    """  # noqa: D301  # click wants the character, not a backslash
    if as_list and clear:
        raise click.UsageError("--list and --clear exclude each other")
    cache = EngineCache()
    if as_list:
        _list(cache, as_json)
        return
    if clear:
        removed = cache.clear()
        click.echo(json.dumps({"removed": removed}) if as_json else f"Removed {removed} files")
        return
    opened = open_bundle(bundle, public_key)
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("Building", total=1.0)
        choice = compile_bundle(
            opened,
            asked,
            precision,
            cache=cache,
            threads=threads,
            fallback=not no_fallback,
            rebuild=rebuild,
            progress=lambda what, part: bar.update(task, description=what, completed=part),
        )
    choice.engine.close()
    record = _record(choice, opened.spec.name, opened.sha256, cache)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    _print(choice, cache)


def _record(choice: Choice, name: str, sha256: str, cache: EngineCache) -> dict[str, Any]:
    variant, _, engine = choice.name.partition(" on ")
    return {
        "bundle": name,
        "sha256": sha256,
        "engine": engine,
        "variant": variant,
        "warnings": list(choice.warnings),
        "trials": [dataclasses.asdict(trial) for trial in choice.trials],
        "cache": str(cache.folder),
    }


def _print(choice: Choice, cache: EngineCache) -> None:
    table = Table("candidate", "right", "built in s", "median ms", box=None, padding=(0, 2, 0, 0))
    for trial in choice.trials:
        median = "" if trial.median_ms is None else f"{trial.median_ms:.2f}"
        table.add_row(trial.name, "yes" if trial.passed else "no", f"{trial.build_s:.1f}", median)
    Console(highlight=False, markup=False).print(table)
    for warning in choice.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"Kept: {choice.name}, in {cache.folder}")


def _list(cache: EngineCache, as_json: bool) -> None:
    entries = cache.entries()
    if as_json:
        rows = [{**dataclasses.asdict(entry), "facts": dict(entry.facts)} for entry in entries]
        click.echo(json.dumps({"folder": str(cache.folder), "entries": rows}, indent=2))
        return
    table = Table("kept", "of", "MiB", "last used", box=None, padding=(0, 2, 0, 0))
    for entry in entries:
        facts = entry.facts
        of = ", ".join(facts[name] for name in ("engine", "version", "device") if name in facts)
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_ns / 1e9))
        table.add_row(facts.get("kind", "unknown"), of, f"{entry.size / 2**20:.1f}", used)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200
    if entries:
        console.print(table)
    total = sum(entry.size for entry in entries)
    click.echo(f"{len(entries)} files, {total / 2**20:.1f} MiB in {cache.folder}")
