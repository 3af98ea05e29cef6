from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from xedge_benchmarks.studies import (
    Arm,
    Run,
    Study,
    command_of,
    conduct,
    keep,
    load_studies,
    perform,
    records_in,
    runs_of,
)

from xedge.cli import main
from xedge.errors import ConfigError, XedgeError
from xedge.train.recipe import load_recipe

STUDIES = """
[[study]]
name = "does-it-help"
title = "Does it help"
on = "here"
seeds = [1, 2]
figures = {ap50 = "AP50"}
arms = [
  {recipe = "plain", label = "plain"},
  {recipe = "taught", label = "taught", teacher = "plain"},
  {recipe = "plain", label = "moved", init = "plain on there"},
]
"""


def study(tmp_path: Path) -> Study:
    path = tmp_path / "studies.toml"
    path.write_text(STUDIES)
    (found,) = load_studies(path)
    return found


def test_runs_are_arms_times_seeds_and_what_they_need_comes_first(tmp_path: Path) -> None:
    runs = runs_of(study(tmp_path))
    names = [run.name for run in runs]
    assert len(names) == len(set(names)) == 2 * 4  # three arms, and plain on there
    for run in runs:
        for need in run.needs:
            assert names.index(need.name) < names.index(run.name)
            assert need.seed == run.seed
    assert {run.name for run in runs if run.seed == 1} == {
        "plain-on-here-seed1",
        "taught-on-here-seed1",
        "plain-on-there-seed1",
        "plain-on-here-from-there-seed1",
    }
    # A side that teaches another one is one run, under its own label.
    assert [run.arm.label for run in runs if run.name == "plain-on-here-seed2"] == ["plain"]


def test_a_command_names_the_teacher_of_the_same_seed(tmp_path: Path) -> None:
    (taught,) = (r for r in runs_of(study(tmp_path)) if r.name == "taught-on-here-seed2")
    with pytest.raises(ConfigError, match="plain-on-here-seed2 has no checkpoint"):
        command_of(taught, tmp_path, None)
    checkpoint = tmp_path / "plain-on-here-seed2" / "x" / "final.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    command = command_of(taught, tmp_path, tmp_path)
    assert command[command.index("--teacher") + 1] == str(checkpoint)
    assert command[command.index("--on") + 1] == "here"
    assert command[command.index("--seed") + 1] == "2"
    assert command[command.index("--data") + 1] == str(tmp_path)


def test_a_failed_run_fails_those_that_need_it_and_no_other(tmp_path: Path) -> None:
    ran = []

    def train(run: Run) -> dict[str, object]:
        ran.append(run.name)
        if run.name == "plain-on-there-seed1":
            raise XedgeError("no")
        return {"name": run.name}

    outcomes = {run.name: outcome for run, outcome in conduct(runs_of(study(tmp_path)), train, 2)}
    failed = {name for name, outcome in outcomes.items() if isinstance(outcome, XedgeError)}
    assert failed == {"plain-on-there-seed1", "plain-on-here-from-there-seed1"}
    assert "plain-on-here-from-there-seed1" not in ran
    assert len(outcomes) == 8


def test_a_process_that_fails_says_its_last_line(tmp_path: Path) -> None:
    run = Run(Arm("plain", "plain", "here"), 1)
    command = [sys.executable, "-c", "print('first'); raise SystemExit('the disk is on fire')"]
    with pytest.raises(XedgeError, match=r"plain-on-here-seed1 failed.*the disk is on fire"):
        perform(run, command, tmp_path)


def test_a_record_that_no_commit_names_is_refused(tmp_path: Path) -> None:
    run = Run(Arm("plain", "plain", "here"), 1)
    with pytest.raises(ConfigError, match="cannot be traced"):
        keep({"commit": "0123456789ab+"}, run, tmp_path, scratch=False)
    assert keep({"commit": "0123456789ab+"}, run, tmp_path, scratch=True).parts[-3] == "scratch"
    path = keep({"commit": "0123456789ab 89abcdef0123"}, run, tmp_path, scratch=False)
    assert json.loads(path.read_text())["commit"] == "0123456789ab 89abcdef0123"
    assert set(records_in(tmp_path)) == {"plain-on-here-seed1"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[study]]\nname = 1\n",
        STUDIES.replace("label", "lable"),
        STUDIES.replace("moved", "plain"),
        "[[study]",
        "study = 1",
    ],
)
def test_studies_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "studies.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"stud.*cannot be"):
        load_studies(path)


def test_the_projects_studies_name_recipes_that_there_are(repository: Path) -> None:
    for found in load_studies(repository / "benchmarks/studies.toml"):
        for run in runs_of(found):
            recipe, _ = load_recipe(Path(run.arm.recipe), on=run.arm.on)
            assert recipe.name.startswith(run.arm.recipe)


def test_the_command_lists_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "studies.toml"
    path.write_text(STUDIES)
    common = ["bench", "studies", "--studies", str(path), "--out", str(tmp_path)]
    listed = CliRunner().invoke(main, [*common, "--list", "--json"], catch_exceptions=False)
    rows = json.loads(listed.stdout)
    assert len(rows) == 8
    assert not any(row["done"] for row in rows)
    unknown = CliRunner().invoke(main, [*common, "nothing"])
    assert unknown.exit_code != 0
    assert "no such study" in str(unknown.exception) + unknown.output
