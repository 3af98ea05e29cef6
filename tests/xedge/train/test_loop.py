"""A training run that is real but tiny: it learns, it is interrupted, it goes on."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from xedge.cli import main
from xedge.errors import ConfigError
from xedge.sim import CLASSES
from xedge.train.checkpoint import load_checkpoint
from xedge.train.config import OptimConfig
from xedge.train.loop import learning_rate, train
from xedge.train.progress import Meter
from xedge.train.recipe import Recipe, parse_recipe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def recipe_text(out: Path, cache: Path, epochs: int) -> str:
    return f"""
name = "tiny"
out = "{out}"
[model]
classes = {list(CLASSES)}
depth = 1
groups = 4
[model.pyramid]
width = 16
[model.pyramid.options]
channels = [8, 8, 16, 16]
stem_width = 8
[data]
binning = 8
height = 128
width = 128
train_bags = 8
val_bags = 6
cache = "{cache}"
[optim]
epochs = {epochs}
batch = 4
warmup_steps = 2
ema = 0.5
label_aware_from = 0.5
precision = "32-true"
workers = 0
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bags")


def run(recipe: Recipe, text: str, *, fresh: bool = False) -> Path:
    path = train(recipe, text, devices=1, fresh=fresh, meter=Meter(quiet=True))
    assert path is not None
    return path


def lines(recipe: Recipe) -> list[dict[str, float]]:
    text = (recipe.folder / "log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_learns_and_leaves_what_the_export_needs(tmp_path: Path, cache: Path) -> None:
    text = recipe_text(tmp_path, cache, 4)
    recipe = parse_recipe(text)
    final = run(recipe, text)
    log = lines(recipe)
    assert [r["epoch"] for r in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"]
    checkpoint, _ = load_checkpoint(final)
    assert checkpoint.progress is None
    assert {"ap50", "la_off_ap50", "la_w_mean", "la_w_max"} <= set(checkpoint.measured)
    assert checkpoint.measured["la_w_mean"] > 0
    checkpoint.model()
    # The run is finished: the command only says what it found, in either way.
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    people = CliRunner().invoke(main, ["train", str(path)], catch_exceptions=False)
    assert re.search(r"la_off_ap50 +\S +[\d.]+", people.stdout)
    assert f"checkpoint: {final}" in people.stdout
    machine = CliRunner().invoke(main, ["train", str(path), "--json"], catch_exceptions=False)
    assert json.loads(machine.stdout)["checkpoint"] == str(final)


def test_an_interrupted_run_goes_on_and_ends_where_the_whole_one_does(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_text = recipe_text(tmp_path / "whole", cache, 2)
    whole = run(parse_recipe(whole_text), whole_text)
    text = recipe_text(tmp_path / "cut", cache, 2)
    recipe = parse_recipe(text)

    class Pulled(RuntimeError):
        pass

    import xedge.train.loop as loop

    real = loop.one_epoch

    def until_the_plug_is_pulled(run_, *args, **kwargs):  # type: ignore[no-untyped-def]
        if run_.epoch == 1:
            raise Pulled
        yield from real(run_, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "one_epoch", until_the_plug_is_pulled)
        with pytest.raises(Pulled):
            run(recipe, text)
    assert [r["epoch"] for r in lines(recipe)] == [1]
    resumed = run(recipe, text)
    assert [r["epoch"] for r in lines(recipe)] == [1, 2]
    ours, theirs = load_checkpoint(resumed)[0].weights, load_checkpoint(whole)[0].weights
    # The same steps in the same order; float32 sums may be split among threads differently.
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=1e-3, atol=1e-5), name


def test_a_run_does_not_go_on_under_another_recipe(tmp_path: Path, cache: Path) -> None:
    text = recipe_text(tmp_path, cache, 1)
    run(parse_recipe(text), text)
    other = text.replace("warmup_steps = 2", "warmup_steps = 3")
    with pytest.raises(ConfigError, match="begun with another recipe"):
        run(parse_recipe(other), other)
    run(parse_recipe(other), other, fresh=True)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    optim = OptimConfig(lr=1.0, warmup_steps=10)
    rates = [learning_rate(s, 100, optim) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[100] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))


@pytest.mark.full
def test_two_processes_train_one_model(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(tmp_path, cache, 1).replace("batch = 4", "batch = 2"))
    command = [Path(sys.executable).with_name("xedge"), "train", path, "--devices", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert load_checkpoint(Path(answer["checkpoint"]))[0].measured == answer["measured"]
    (line,) = lines(parse_recipe(path.read_text()))
    assert line["epoch"] == 1
