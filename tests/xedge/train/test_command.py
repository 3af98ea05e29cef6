"""`xedge train` as it is typed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from xedge.cli import main
from xedge.train.checkpoint import load_checkpoint
from xedge.train.command import train
from xedge.train.recipe import load_recipe, recipe_sha256
from xedge.train.shipped import SHIPPED, about, data_name, shipped_data, shipped_recipes

TinyRecipe = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, words)], catch_exceptions=False)


def test_the_list_names_every_recipe_and_all_data() -> None:
    listing = json.loads(typed("--list", "--json").stdout)
    assert [row["name"] for row in listing["recipes"]] == [path.stem for path in shipped_recipes()]
    tiny = next(row for row in listing["recipes"] if row["name"] == "atss-tiny")
    assert tiny == {
        "name": "atss-tiny",
        "system": "atss",
        "size": "tiny",
        "about": about(SHIPPED / "atss-tiny.toml"),
    }
    assert [row["name"] for row in listing["data"]] == [data_name(p) for p in shipped_data()]
    table = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["train", "--list"]).stdout
    for row in (*listing["recipes"], *listing["data"]):
        assert row["name"] in table
        assert not row["about"].startswith("The same")
    sections = table.split("data (--on)")[0].count("├")
    assert sections == len({row["system"] for row in listing["recipes"]}) - 1


def test_the_list_names_the_system_that_a_recipe_inherits() -> None:
    for row in json.loads(typed("--list", "--json").stdout)["recipes"][::20]:
        assert row["system"] == load_recipe(Path(row["name"]))[0].system


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["atss-t"], ["atss-tiny"]),
        (["atss-tiny", "--on", "simulated-th"], ["simulated-three"]),
        (["no-such-recipe/"], ["no-such-recipe/"]),  # a path: the shell looks for files
    ],
)
def test_a_shell_completes_names(words: list[str], expected: list[str]) -> None:
    found = ShellComplete(train, {}, "train", "_X").get_completions(words[:-1], words[-1])
    assert [item.value for item in found] == expected
    assert {item.type for item in found} == {"file" if "/" in words[-1] else "plain"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Give a RECIPE"),
        (["no-such-recipe"], 1, "no recipe"),
        (["atss-tiny", "--set", "epochs"], 1, "expected KEY=VALUE, found epochs"),
        (["atss-tiny", "--set", "optim.epoch=2"], 1, "unknown keys: found epoch"),
        (["atss-tiny", "--on", "moonrocks"], 1, "no data"),
        (["atss-tiny", "--seed", "-1"], 2, "--seed"),
        (["atss-tiny", "--devices", "0"], 2, "--devices"),
        (["atss-tiny", "--init", "no-such.ckpt"], 2, "--init"),
        (["atss-tiny", "--teacher", "no-such.ckpt"], 2, "--teacher"),
        (["atss-tiny", "--data", "no-such-folder"], 2, "--data"),
    ],
)
def test_what_cannot_be_used_is_one_line(words: list[str], code: int, message: str) -> None:
    result = typed(*words)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_seeds_have_folders_of_their_own(tmp_path: Path, tiny_recipe: TinyRecipe) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(tiny_recipe(tmp_path, 2))
    weights = []
    for seed in (4, 5):
        answer = typed(
            path, "--seed", str(seed), "--set", "optim.epochs=1", "--no-tensorboard", "--json"
        )
        final = tmp_path / f"tiny-seed{seed}" / "final.ckpt"
        assert json.loads(answer.stdout)["checkpoint"] == str(final)
        assert not list(final.parent.glob("events*"))
        checkpoint, _ = load_checkpoint(final)
        assert (checkpoint.recipe.seed, checkpoint.recipe.optim.epochs) == (seed, 1)
        assert checkpoint.recipe.name == "tiny"
        weights.append(checkpoint.weights["head.cls.weight"])
    assert not torch.equal(*weights)


def test_a_folder_that_is_named_is_no_part_of_the_recipe(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(tiny_recipe(tmp_path, 1))
    out = tmp_path / "somewhere" / "else"
    answer = typed(path, "--seed", "4", "--out", out, "--no-tensorboard", "--json")
    assert json.loads(answer.stdout)["checkpoint"] == str(out / "final.ckpt")
    assert not (tmp_path / "tiny-seed4").exists()
    _, text = load_recipe(path, ["seed=4"])
    result = json.loads((out / "result.json").read_text())
    assert result["recipe"]["sha256"] == recipe_sha256(text)


@pytest.mark.full
def test_a_killed_run_goes_on_to_the_very_same_weights(
    tmp_path: Path, two_stages: TinyRecipe
) -> None:
    """SIGKILL at a random step, a worker process reading; three real processes, two at once."""
    paths = [tmp_path / name / "recipe.toml" for name in ("whole", "cut")]
    for path in paths:
        path.parent.mkdir()
        text = two_stages(path.parent).replace("workers = 0", "workers = 1")
        path.write_text(text)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def begin(path: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "xedge.cli", "train", str(path), "--json"]
        errors = (path.parent / "stderr").open("ab")
        # No pipes: the readers that outlive a killed run for a moment would hold them open.
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=errors)

    whole, cut = map(begin, paths)
    last = tmp_path / "cut/tiny/last.ckpt"
    saves, seen = random.randint(1, 12), 0  # of the 17 of the whole run
    stamp = 0
    while seen < saves and cut.poll() is None:
        time.sleep(0.001)
        if last.exists() and (now := last.stat().st_mtime_ns) != stamp:
            stamp, seen = now, seen + 1
    time.sleep(random.uniform(0, 0.02))
    cut.kill()
    assert cut.wait(60) == -signal.SIGKILL, (tmp_path / "cut/stderr").read_text()
    progress = load_checkpoint(last)[0].progress
    assert progress is not None
    assert begin(paths[1]).wait(120) == 0, (tmp_path / "cut/stderr").read_text()
    assert whole.wait(120) == 0, (tmp_path / "whole/stderr").read_text()
    ours, theirs = (
        load_checkpoint(path.parent / "tiny/final.ckpt")[0].weights for path in reversed(paths)
    )
    wrong = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    assert wrong == [], f"killed after {progress.standing.steps} steps"
