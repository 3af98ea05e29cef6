"""The tables of measurements are written from the records that exist."""

from __future__ import annotations

from click.testing import CliRunner
from xedge_benchmarks.report_command import PAGES

from xedge.cli import main


def test_no_table_is_stale(repository) -> None:  # type: ignore[no-untyped-def]
    done = CliRunner().invoke(
        main,
        ["bench", "report", "--check", "--results", str(repository / "benchmarks/results"),
         *(word for page in PAGES for word in ("--page", str(repository / page)))],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}: run `xedge bench report`"
