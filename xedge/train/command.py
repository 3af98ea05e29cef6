"""`xedge train`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge.train.progress import Meter
from xedge.train.recipe import load_recipe


@click.command(epilog="Example:  xedge train xedge/train/recipes/atss-la-r18half.toml")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes, or GPUs.",
)
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, no bars.")
def train(recipe: Path, devices: int, fresh: bool, as_json: bool) -> None:
    """Train the detector of RECIPE (TOML) on simulated bags.

    Bags are simulated once and kept; a run that was interrupted resumes by itself. Leaves
    `final.ckpt` in the run's folder, for `xedge export`.
    """
    from xedge.train.checkpoint import load_checkpoint
    from xedge.train.loop import train as run_training

    parsed, text = load_recipe(recipe)
    path = run_training(parsed, text, devices=devices, fresh=fresh, meter=Meter(quiet=as_json))
    if path is not None:
        measured = load_checkpoint(path)[0].measured
        if as_json:
            click.echo(json.dumps({"checkpoint": str(path), "measured": measured}))
        else:
            table = Table("figure", "held-out bags")
            for name, value in measured.items():
                table.add_row(name, f"{value:.4g}")
            Console(highlight=False, markup=False).print(table)
            click.echo(f"checkpoint: {path}")
