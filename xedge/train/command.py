"""`xedge train`."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.table import Table

from xedge.train.options import RunOptions
from xedge.train.shipped import about, data_name, shipped_data, shipped_recipes, size_of
from xedge.train.tables import DEFAULT_SYSTEM, read_table


class RecipeType(click.ParamType[Path]):
    """A recipe: the path of a TOML file, or the name of one that comes with xedge."""

    name = "recipe"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """The path, or the name as one."""
        del param, ctx
        return Path(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of shipped recipes that begin so; without one, files."""
        del ctx, param
        found = [
            CompletionItem(path.stem, help=about(path))
            for path in shipped_recipes()
            if path.stem.startswith(incomplete)
        ]
        return found or [CompletionItem(incomplete, type="file")]


class DataType(click.ParamType[str]):
    """Name of a data part that comes with xedge."""

    name = "data"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of data parts that begin so."""
        del ctx, param
        parts = [(data_name(path), path) for path in shipped_data()]
        return [CompletionItem(n, help=about(p)) for n, p in parts if n.startswith(incomplete)]


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_EXAMPLES = """\b
Examples:
  xedge train --list
  xedge train atss-tiny --set optim.epochs=2 --seed 3
  torchrun --nproc-per-node 2 -m xedge.cli train atss-la-r18half
"""


@click.command(epilog=_EXAMPLES)
@click.argument("recipe", type=RecipeType(), required=False)
@click.option("--list", "listing", is_flag=True, help="Show the recipes that come with xedge.")
@click.option("--on", type=DataType(), default="", metavar="NAME",
              help="Learn from other data, one that --list shows.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the recipe, as optim.epochs=2; repeatable.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0),
              help="Seed instead of the recipe's; has a folder of its own.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="The run's folder itself; no part of the recipe.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Folder of the data set, for a recipe that learns from one.")  # fmt: skip
@click.option("--teacher", type=_FILE, help="Checkpoint of a classifier to learn from.")
@click.option("--init", type=_FILE, help="Checkpoint to take weights over from where they fit.")
@click.option("--skip-bad", is_flag=True, help="Leave out, and count, what cannot be read.")
@click.option("--tensorboard/--no-tensorboard", default=True, show_default=True,
              help="Write curves into the run's folder.")  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True,
              help="Processes, or GPUs.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, no bars.")
def train(
    recipe: Path | None,
    listing: bool,
    on: str,
    changes: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the model of RECIPE, a TOML file or a name that --list shows.

    Simulated bags are made once and kept; a run that was interrupted resumes by itself. Leaves
    `final.ckpt`, for `xedge export`, and `result.json` in the run's folder.
    """
    if listing:
        _list(as_json)
        return
    if recipe is None:
        raise click.UsageError("Give a RECIPE; `xedge train --list` shows those that are shipped.")
    # Not before: `xedge train --help` needs no torch.
    from xedge.train.checkpoint import load_checkpoint
    from xedge.train.loop import FINAL
    from xedge.train.loop import train as run_training
    from xedge.train.progress import Meter
    from xedge.train.recipe import load_recipe

    seeded = changes if seed is None else (*changes, f"seed={seed}")
    parsed, text = load_recipe(recipe, seeded, on)
    folder = parsed.folder
    if seed is not None:
        folder = folder.with_name(f"{folder.name}-seed{seed}")
    run_options = RunOptions(folder=out or folder, **options)
    final = (out or folder) / FINAL
    before = final.stat().st_mtime_ns if final.is_file() else 0
    path = run_training(parsed, text, options=run_options, meter=Meter(quiet=as_json))
    if path is None:
        return
    if path.stat().st_mtime_ns == before:
        click.echo("this run was finished before: --fresh starts over", err=True)
    measured = load_checkpoint(path)[0].measured
    if as_json:
        click.echo(json.dumps({"checkpoint": str(path), "measured": measured}))
        return
    table = Table("figure", "held-out items")
    for name, value in measured.items():
        table.add_row(name, f"{value:.4g}")
    Console(highlight=False, markup=False).print(table)
    click.echo(f"checkpoint: {path}")


def _list(as_json: bool) -> None:
    recipes = [
        {
            "name": path.stem,
            "system": read_table(path).get("system", DEFAULT_SYSTEM),
            "size": size_of(path),
            "about": about(path),
        }
        for path in shipped_recipes()
    ]
    data = [{"name": data_name(path), "about": about(path)} for path in shipped_data()]
    if as_json:
        click.echo(json.dumps({"recipes": recipes, "data": data}))
        return
    by_system = itemgetter("system")
    table = Table("recipe", "system", "size", "what it is")
    for _, rows in groupby(sorted(recipes, key=by_system), by_system):
        for row in rows:
            table.add_row(*row.values())
        table.add_section()
    parts = Table("data (--on)", "what it is")
    for row in data:
        parts.add_row(*row.values())
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(parts)
