"""`xedge bench studies`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from xedge.errors import ConfigError, XedgeError
from xedge_benchmarks.record import checkout
from xedge_benchmarks.studies import (
    Json,
    Run,
    Study,
    checkpoint_of,
    command_of,
    conduct,
    load_studies,
    perform,
    runs_of,
)
from xedge_benchmarks.study_page import rewritten, table_of
from xedge_benchmarks.study_record import (
    keep,
    must_start_over,
    records_in,
    sees_pictures,
    stale_among,
)

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    epilog="\b\nExamples:\n  xedge bench studies --list\n"
    "  xedge bench studies label-aware --data sixray/ --jobs 2\n"
    "  xedge bench studies --page docs/results.md"
)
@click.argument("names", nargs=-1)
@click.option(
    "--list", "listing", is_flag=True, help="Show the studies, and which runs are missing or stale."
)
@click.option("--data", type=_FOLDER, help="Folder of the data set that the studies learn from.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True,
              help="Runs side by side, one thread each.")  # fmt: skip
@click.option("--runs", type=_FOLDER, default=Path("runs/studies"), show_default=True,
              help="Folder of checkpoints and logs.")  # fmt: skip
@click.option("--studies", "file", type=click.Path(path_type=Path, dir_okay=False),
              help="TOML file of the studies; without it, that of the checkout.")  # fmt: skip
@click.option("--out", type=_FOLDER, help="Folder of the records.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Only write this page's tables anew, from the records that exist.")  # fmt: skip
@click.option("--scratch", is_flag=True,
              help="Keep, and read, records of code that no commit names.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def studies(
    names: tuple[str, ...],
    listing: bool,
    data: Path | None,
    jobs: int,
    runs: Path,
    file: Path | None,
    out: Path | None,
    page: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Train recipes side by side and keep what each was worth.

    Without NAMES all studies are run. What has a record of today's recipe is not run again; what
    was interrupted resumes.
    """
    root = checkout()
    if root is None and (file is None or out is None):
        raise ConfigError("this is no checkout", remedy="Name --studies FILE and --out FOLDER")
    known = load_studies(file or (root or Path()) / "benchmarks/studies.toml")
    results = out or (root or Path()) / "benchmarks/results"
    if strangers := set(names) - {study.name for study in known}:
        raise ConfigError("there is no such study", found=", ".join(sorted(strangers)),
                          expected=", ".join(study.name for study in known))  # fmt: skip
    chosen = [study for study in known if not names or study.name in names]
    if page is not None:
        tables = {study.name: _table(study, results, scratch=scratch) for study in known}
        page.write_text(rewritten(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
        return
    if listing:
        _list(chosen, results, scratch=scratch, as_json=as_json)
        return
    failures = [e for s in chosen for e in _run(s, results, runs, data, jobs, scratch=scratch)]
    if as_json:
        records = records_in(results, scratch=scratch)
        wanted = {s.name: [r.name for r in runs_of(s)] for s in chosen}
        found = {
            s: {n: records[n].content for n in names_ if n in records}
            for s, names_ in wanted.items()
        }
        click.echo(json.dumps(found))
    else:
        for study in chosen:
            click.echo(f"{study.title}\n\n{_table(study, results, scratch=scratch)}")
    if failures:
        raise failures[0]


def _table(study: Study, results: Path, *, scratch: bool) -> str:
    records = records_in(results, scratch=scratch)
    return table_of(study, records, stale_among(runs_of(study), records))


def _list(chosen: list[Study], results: Path, *, scratch: bool, as_json: bool) -> None:
    rows = []
    records = records_in(results, scratch=scratch)
    for study in chosen:
        runs = runs_of(study)
        stale = stale_among(runs, records)
        for run in runs:
            state = "stale" if run.name in stale else "yes" if run.name in records else "missing"
            rows.append({"study": study.name, "run": run.name, "record": state})
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table("study", "run", "record")
    for row in rows:
        table.add_row(*row.values())
    Console(highlight=False, markup=False).print(table)


def _run(
    study: Study, results: Path, runs: Path, data: Path | None, jobs: int, *, scratch: bool
) -> list[XedgeError]:
    """Errors of the runs of a study that were missing or stale; the others have records now."""
    done, every = records_in(results, scratch=scratch), runs_of(study)
    stale = stale_among(every, done)
    missing = [run for run in every if run.name not in done or run.name in stale]

    def train(run: Run) -> Json:
        parents = {kind: checkpoint_of(runs, parent) for kind, parent in run.parents.items()}
        fresh = must_start_over(runs / run.name, run, parents)
        root = data if sees_pictures(run) else None
        return perform(run, command_of(run, runs, root, fresh=fresh), runs)

    failures: list[XedgeError] = []
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task(study.name, total=len(missing))
        for run, outcome in conduct(missing, train, jobs):
            progress.advance(bar)
            if isinstance(outcome, XedgeError):
                failures.append(outcome)
                console.print(f"{run.name}: {outcome}", style="red", markup=False)
            else:
                keep(outcome, run, results, scratch=scratch)
    return failures
