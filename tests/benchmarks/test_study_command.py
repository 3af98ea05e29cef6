from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from xedge_benchmarks.studies import Run, load_studies, runs_of
from xedge_benchmarks.study_record import FOLDER, recipe_today

from xedge.cli import main

STUDIES = """
[[study]]
name = "does-it-help"
title = "Does it help"
on = "sixray-three"
seeds = [1, 2, 3]
figures = {ap50 = "AP50"}
arms = [{recipe = "atss-tiny", label = "plain"}]
"""
RESULT = {
    "figures": {"ap50": 0.5},
    "parameters": 1234,
    "commit": "0123456789ab",
    "sizes": {"train": 10, "held_out": 5},
    "epochs": 3,
    "machine": {"cpu": "Z80", "cores": 1},
    "seconds": 1800.0,
    "parents": {},
    "checkpoint_sha256": "c",
}


def prepare(folder: Path) -> tuple[list[str], tuple[Run, ...]]:
    """Words of the command; runs of which the first is recorded, the second in scratch."""
    path = folder / "studies.toml"
    path.write_text(STUDIES)
    (study,) = load_studies(path)
    runs = runs_of(study)
    for run, machine in zip(runs, ("z80", "scratch"), strict=False):
        write(folder, machine, run, recipe_today(run))
    return ["bench", "studies", "--studies", str(path), "--out", str(folder)], runs


def write(folder: Path, machine: str, run: Run, sha256: str) -> None:
    path = folder / machine / FOLDER / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(RESULT | {"recipe": {"sha256": sha256}}))


def typed(*words: str) -> str:
    return CliRunner().invoke(main, list(words), catch_exceptions=False).stdout


def states(*words: str) -> list[str]:
    return [row["record"] for row in json.loads(typed(*words, "--list", "--json"))]


def test_the_command_lists_what_is_missing_and_what_is_stale(tmp_path: Path) -> None:
    common, runs = prepare(tmp_path)
    assert states(*common) == ["yes", "missing", "missing"]
    assert states(*common, "--scratch") == ["yes", "yes", "missing"]
    write(tmp_path, "z80", runs[0], "old")
    assert states(*common) == ["stale", "missing", "missing"]
    assert "stale" in typed(*common, "--list")


def test_the_page_shows_traceable_records_and_says_which_are_stale(tmp_path: Path) -> None:
    common, runs = prepare(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- study: does-it-help -->\n<!-- end -->\n")
    typed(*common, "--page", str(page))
    assert "| plain | 1 | 0.500 |" in page.read_text()
    assert "another text" not in page.read_text()
    write(tmp_path, "z80", runs[0], "old")
    typed(*common, "--page", str(page))
    assert "| plain | 1 | 0.500 |" in page.read_text()
    assert "1 of the runs were made with another text of the recipe" in page.read_text()


def test_what_is_stale_is_run_again_and_what_is_not_is_left(tmp_path: Path) -> None:
    common, runs = prepare(tmp_path)
    for run, sha256 in zip(
        runs, (recipe_today(runs[0]), "old", recipe_today(runs[2])), strict=True
    ):
        write(tmp_path, "z80", run, sha256)
    # The data set's folder is not there, so that each run that is begun fails at once.
    words = [*common, "--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "nowhere")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code != 0
    assert [path.stem for path in (tmp_path / "runs").glob("*.log")] == [runs[1].name]


def test_a_study_that_there_is_not(tmp_path: Path) -> None:
    common, _ = prepare(tmp_path)
    unknown = CliRunner().invoke(main, [*common, "nothing"])
    assert unknown.exit_code != 0
    assert "no such study" in str(unknown.exception) + unknown.output


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom xedge.cli import main\n"
        "main(['bench', 'studies', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--scratch" in done.stdout
