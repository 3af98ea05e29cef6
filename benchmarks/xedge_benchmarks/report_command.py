"""`xedge bench report`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xedge.errors import ConfigError
from xedge_benchmarks.record import checkout
from xedge_benchmarks.study_page import rewritten

if TYPE_CHECKING:
    from xedge_benchmarks.report import Report

MARK = "benchmarks"
PAGES = ("README.md", "docs/benchmarks.md", "docs/speed.md")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the records; without it, benchmarks/results of the checkout.",
)
@click.option(
    "--page",
    "pages",
    type=_FILE,
    multiple=True,
    help="Markdown page with tables, may be repeated; without it, README.md, "
    "docs/benchmarks.md and docs/speed.md of the checkout.",
)
@click.option("--html", "html_file", type=_FILE, default=Path("runs/benchmarks.html"),
              show_default=True, help="Where the page for a browser is written.")  # fmt: skip
@click.option("--check", is_flag=True,
              help="Write nothing; exit with 1 when the page's table is stale.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print every line as JSON as well.")
def report(
    results: Path | None, pages: tuple[Path, ...], html_file: Path, check: bool, as_json: bool
) -> None:
    """Write a page and tables from the newest records of each machine.

    A table goes between two marks of a Markdown page. What has no record is "not measured".

    \b
    Examples:
      xedge bench report
      xedge bench report --check
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.report import html_page, repeated, report_of

    root = checkout()
    if root is None and (results is None or not pages):
        raise ConfigError("this is no checkout", remedy="Name --results FOLDER and --page FILE")
    results = results or (root or Path()) / "benchmarks/results"
    pages = pages or tuple((root or Path()) / page for page in PAGES)
    found = report_of(results)
    fresh = {page: _fresh(page, found) for page in pages}
    if check:
        if stale := [page for page, (old, new) in fresh.items() if old != new]:
            raise ConfigError(f"the table of {stale[0]} is stale",
                              remedy="Run: xedge bench report")  # fmt: skip
    else:
        for page, (_, text) in fresh.items():
            page.write_text(text, encoding="utf-8")
        html_file.parent.mkdir(parents=True, exist_ok=True)
        html_file.write_text(html_page(found), encoding="utf-8")
        click.echo(" and ".join(map(str, [*pages, html_file])), err=as_json)
        if said := repeated(found):
            click.echo(said, err=as_json)
    if as_json:
        rows = [
            {
                "benchmark": s.stored.benchmark,
                "machine": s.stored.machine,
                "record": s.stored.path.name,
                "notes": s.notes,
                "findings": [dataclasses.asdict(line) for line in s.findings],
            }
            for s in found.sections
        ]
        click.echo(json.dumps({"sections": rows, "not_measured": found.missing}))


def _fresh(page: Path, found: Report) -> tuple[str, str]:
    """What a page is, and what it should be.

    Raises:
        ConfigError: When it cannot be read, or has no place for a table.
    """
    from xedge_benchmarks.report import headlines, markdown
    from xedge_benchmarks.speed_page import speed_tables

    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the page {page} cannot be read", found=str(error)) from error
    if f"<!-- {MARK}: " not in text:
        raise ConfigError(f"{page} has no place for the table",
                          expected=f"<!-- {MARK}: all --> and <!-- end --> in it")  # fmt: skip
    shown = {"all": found, "headlines": headlines(found)}
    tables = {name: markdown(table, page.parent) for name, table in shown.items()}
    return text, rewritten(text, tables | speed_tables(found, page.parent), MARK)
