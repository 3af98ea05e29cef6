from __future__ import annotations

import sys
from pathlib import Path

import pytest
from xedge_benchmarks.studies import (
    Arm,
    Run,
    Study,
    command_of,
    conduct,
    load_studies,
    perform,
    run_of,
    runs_of,
)

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
        for need in run.parents.values():
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
    checkpoint = tmp_path / "plain-on-here-seed2" / "final.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    command = command_of(taught, tmp_path, tmp_path)
    assert command[command.index("--teacher") + 1] == str(checkpoint)
    assert command[command.index("--on") + 1] == "here"
    assert command[command.index("--seed") + 1] == "2"
    assert command[command.index("--data") + 1] == str(tmp_path)
    # Where a run goes is no part of its recipe.
    assert command[command.index("--out") + 1] == str(tmp_path / "taught-on-here-seed2")
    assert "--set" not in command
    assert command_of(taught, tmp_path, tmp_path, fresh=True) == [*command, "--fresh"]


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


def test_the_record_of_a_process_is_what_it_left_in_the_runs_folder(tmp_path: Path) -> None:
    run = Run(Arm("plain", "plain", "here"), 1)
    result = tmp_path / run.name / "result.json"
    result.parent.mkdir()
    result.write_text('{"seed": 1}')
    assert perform(run, [sys.executable, "-c", ""], tmp_path) == {"seed": 1}


def test_runs_go_by_what_they_need_and_not_by_how_many(tmp_path: Path) -> None:
    first = Run(Arm("a", "a", "d"), 1)
    second = Run(Arm("b", "b", "d"), 1, {"init": first})
    third = Run(Arm("c", "c", "d"), 1, {"init": second})  # as many needs as the second
    alone = Run(Arm("e", "e", "d"), 1, {"init": Run(Arm("elsewhere", "", "d"), 1)})
    for jobs in (1, 3):
        ran = [run for run, _ in conduct((third, second, alone, first), lambda _: {}, jobs)]
        assert len(ran) == 4
        assert [run for run in ran if run != alone] == [first, second, third]

    def fail(run: Run) -> dict[str, object]:
        raise XedgeError(f"no {run.name}")

    outcomes = {
        run.arm.recipe: str(error) for run, error in conduct((third, second, first), fail, 2)
    }
    assert outcomes["b"].startswith("run b-on-d-seed1 needs a-on-d-seed1")
    assert outcomes["c"].startswith("run c-on-d-seed1 needs b-on-d-seed1")


def test_an_arm_may_be_taught_by_and_start_from_the_same_run() -> None:
    run = run_of(Arm("r", "r", "d", teacher="p", init="p on d"), 1)
    study = Study("s", "S", (run.arm,), (1,), {})
    assert [one.name for one in runs_of(study)] == ["p-on-d-seed1", "r-on-d-from-d-seed1"]


@pytest.mark.parametrize("init", ["plain", "plain on ", " on there", "plain-on-there"])
def test_a_start_without_data_is_refused(tmp_path: Path, init: str) -> None:
    path = tmp_path / "studies.toml"
    path.write_text(STUDIES.replace("plain on there", init))
    with pytest.raises(ConfigError, match=r"init of a study's arm 'moved'.*RECIPE on DATA"):
        load_studies(path)


@pytest.mark.parametrize("study_of_its_own", [False, True])
def test_runs_of_one_name_with_other_teachers_are_refused(
    tmp_path: Path, study_of_its_own: bool
) -> None:
    other = '{recipe = "taught", label = "taught otherwise", teacher = "other"},'
    if study_of_its_own:
        text = STUDIES + STUDIES.replace("does-it-help", "again").replace(
            'teacher = "plain"', 'teacher = "other"'
        )
    else:
        text = STUDIES.replace("arms = [", f"arms = [\n  {other}")
    path = tmp_path / "studies.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"both be taught-on-here-seed1.*teacher"):
        load_studies(path)


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
