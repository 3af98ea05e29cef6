"""`xedge bench report`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from xedge.errors import ConfigError
from xedge_benchmarks.record import checkout
from xedge_benchmarks.study_page import rewritten

MARK = "benchmarks"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the records; without it, benchmarks/results of the checkout.",
)
@click.option(
    "--page",
    type=_FILE,
    help="Markdown page with the table; without it, README.md of the checkout.",
)
@click.option("--html", "html_file", type=_FILE, default=Path("runs/benchmarks.html"),
              show_default=True, help="Where the page for a browser is written.")  # fmt: skip
@click.option("--check", is_flag=True,
              help="Write nothing; exit with 1 when the page's table is stale.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print every line as JSON as well.")
def report(
    results: Path | None, page: Path | None, html_file: Path, check: bool, as_json: bool
) -> None:
    """Write a page and a table from the newest records of each machine.

    The table goes between two marks of a Markdown page. What has no record is "not measured".

    \b
    Examples:
      xedge bench report
      xedge bench report --check
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.report import html_page, markdown, report_of

    root = checkout()
    if root is None and (results is None or page is None):
        raise ConfigError("this is no checkout", remedy="Name --results FOLDER and --page FILE")
    results = results or (root or Path()) / "benchmarks/results"
    page = page or (root or Path()) / "README.md"
    found = report_of(results)
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the page {page} cannot be read", found=str(error)) from error
    if f"<!-- {MARK}: all -->" not in text:
        raise ConfigError(f"{page} has no place for the table",
                          expected=f"<!-- {MARK}: all --> and <!-- end --> in it")  # fmt: skip
    fresh = rewritten(text, {"all": markdown(found, page.parent)}, MARK)
    if check:
        if fresh != text:
            raise ConfigError(f"the table of {page} is stale",
                              remedy="Run: xedge bench report")  # fmt: skip
    else:
        page.write_text(fresh, encoding="utf-8")
        html_file.parent.mkdir(parents=True, exist_ok=True)
        html_file.write_text(html_page(found), encoding="utf-8")
        click.echo(f"{page} and {html_file}", err=as_json)
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
