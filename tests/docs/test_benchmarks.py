"""The README's table of measurements is written from the records that exist."""

from __future__ import annotations

from click.testing import CliRunner

from xedge.cli import main


def test_the_table_is_not_stale(repository) -> None:  # type: ignore[no-untyped-def]
    done = CliRunner().invoke(
        main,
        ["bench", "report", "--check", "--results", str(repository / "benchmarks/results"),
         "--page", str(repository / "README.md")],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}: run `xedge bench report`"
