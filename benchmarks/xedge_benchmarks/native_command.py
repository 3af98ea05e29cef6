"""`xedge bench native`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from xedge_benchmarks.command_record import bundle_options, keep_and_tell
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.two_clocks import cpu_leads
from xedge_benchmarks.wording import rows_table


@click.command()
@click.option("--engine", default="auto", show_default=True, help="The engine that both run.")
@click.option("--library", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="libxedge.so; without it, the checkout's is built in the user's cache folder, "
              "else the one that was installed with xedge is taken.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("--bags", type=click.IntRange(min=1), default=8, show_default=True,
              help="Simulated bags, a scan each.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@bundle_options
def native(
    engine: str,
    library: Path | None,
    rounds: int,
    warmup: int,
    bags: int,
    seed: int,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Time libxedge against Python: scans of bags, from counts to detections, in turn.

    The same engine, model and scans; both must give the same answers. Building libxedge needs
    cmake, make and a C++ compiler.

    \b
    Examples:
      xedge bench native
      xedge bench native --engine onnxruntime --threads 1 --rounds 500
      xedge bench native --library /opt/xedge/lib/libxedge.so
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.libxedge import library_to_measure
    from xedge_benchmarks.native import NativeSettings, bench_native

    settings = NativeSettings(
        engine=engine, rounds=rounds, warmup=warmup, bags=bags, seed=seed, threads=threads
    )
    # Drawn between rounds alone: a thread that draws would take time from those that are timed.
    console = Console(stderr=True, quiet=as_json)
    with Progress(console=console, auto_refresh=False) as progress:
        bar = progress.add_task("building libxedge", total=None)
        progress.refresh()
        file = library or library_to_measure()
        progress.update(bar, description="screening scans", total=rounds)

        def step(done: int) -> None:
            progress.advance(bar, done)
            progress.refresh()

        record = bench_native(bundle_path, file, settings, step)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    found = record.results
    console.print(f"{found['engine']}, libxedge {found['library']}")
    cpu = cpu_leads(dataclasses.asdict(record))
    console.print(rows_table("", found["rows"], cpu_first=cpu))
    apart = found["apart"]
    console.print(f"same answers: {apart['detections']} detections, scores apart by "
                  f"{apart['score']:.2g} at most, boxes by {apart['pixel']:.2g}")  # fmt: skip
