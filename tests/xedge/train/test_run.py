"""The moving parts of a run that the tests of the loop do not reach on a processor."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from xedge.errors import ConfigError, TrainingError
from xedge.models.base import Classifier
from xedge.provenance import CodeVersion
from xedge.train.batch import Batch, collate
from xedge.train.checkpoint import Checkpoint
from xedge.train.criterion import Moment
from xedge.train.data import open_data
from xedge.train.options import RunOptions
from xedge.train.recipe import load_recipe, parse_recipe
from xedge.train.run import Run, code_mark, load_teacher, start_run
from xedge.train.systems import SYSTEMS

TinyRecipe = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Overflow:
    """A loss that is finite and has a gradient that is not."""

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weight = next(model.parameters())
        return (weight - weight.detach()).abs().sum().sqrt(), {}


def begun(text: str, fabric: Fabric) -> Run:
    fabric.launch()
    return start_run(fabric, parse_recipe(text), text, RunOptions(), data="0", sizes={"train": 8})


def batch_of(text: str) -> Batch:
    items = open_data(parse_recipe(text), None, train=True)
    return collate([items[0], items[1]])


def scaled() -> Fabric:
    return Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", device="cpu")])


def test_the_scale_of_16_bit_losses_is_taken_up_again(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 1)
    run, batch = begun(text, scaled()), batch_of(text)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.criterion = Overflow()
    scale = run.fabric.strategy.precision.state_dict()["scale"]
    # The scaler skips the step by itself, and halves the scale.
    run.learn(batch, Moment(), 0.1)
    assert run.fabric.strategy.precision.state_dict()["scale"] == scale / 2
    assert all(torch.equal(value, before[n]) for n, value in run.model.state_dict().items())
    run.checkpoint(finished=False).save(tmp_path / "last.ckpt")
    again = begun(text, scaled())
    assert again.fabric.strategy.precision.state_dict()["scale"] == scale
    again.resume(tmp_path / "last.ckpt")
    assert again.fabric.strategy.precision.state_dict() == (
        run.fabric.strategy.precision.state_dict()
    )


def test_a_gradient_that_is_not_finite_stops_a_run_without_a_scaler(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 1)
    run = begun(text, Fabric(accelerator="cpu"))
    run.criterion = Overflow()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"the gradient of step 1 .*loss 0, lr 0\.1.*bag \d+"):
        run.learn(batch_of(text), Moment(), 0.1)
    assert all(torch.equal(value, before[n]) for n, value in run.model.state_dict().items())


def test_a_run_names_each_commit_that_trained_it_once(
    tmp_path: Path, tiny_recipe: TinyRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, last = tiny_recipe(tmp_path, 1), tmp_path / "last.ckpt"
    for commit, expected in (("a", "a"), ("b", "a b"), ("b", "a b"), ("c+", "a b c+")):
        run = begun(text, Fabric(accelerator="cpu"))
        run.commit = commit
        if last.exists():
            run.resume(last)
        assert run.commit == expected
        run.checkpoint(finished=False).save(last)
    monkeypatch.setattr("xedge.train.run.code_version", lambda: CodeVersion("xedge 0.1.0", False))
    assert code_mark() == "xedge-0.1.0"


def test_a_classifier_teaches_and_is_not_taught(tmp_path: Path) -> None:
    recipe, text = load_recipe(Path("chr-tiny"))
    weights = SYSTEMS[recipe.system].build(recipe.model).state_dict()
    path = tmp_path / "teacher.ckpt"
    Checkpoint(text, weights, {}, "0").save(path)
    teacher, digest = load_teacher(path)
    assert isinstance(teacher, Classifier)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    recipe, text = load_recipe(Path("atss-tiny"))
    weights = SYSTEMS[recipe.system].build(recipe.model).state_dict()
    Checkpoint(text, weights, {}, "0").save(path)
    with pytest.raises(ConfigError, match=r"cannot teach.*of a classifier.*'atss'"):
        load_teacher(path)


DRIFT = """
import sys, torch
from pathlib import Path
from xedge.errors import ConfigError, TrainingError
from xedge.train.options import RunOptions
from xedge.train.recipe import parse_recipe
from xedge.train.run import launch, start_run

text = Path(sys.argv[1]).read_text()
recipe = parse_recipe(text)
fabric = launch(recipe, 1)
run = start_run(fabric, recipe, text, RunOptions(), data="0", sizes={"train": 8})
run.agree()
with torch.no_grad():
    next(run.model.parameters()).add_(1e-3 * fabric.global_rank)
try:
    run.agree()
except TrainingError as error:
    print("drifted", flush=True)
"""


@pytest.mark.full
def test_processes_that_drift_apart_are_noticed(tmp_path: Path, tiny_recipe: TinyRecipe) -> None:
    (tmp_path / "drift.py").write_text(DRIFT)
    (tmp_path / "recipe.toml").write_text(tiny_recipe(tmp_path, 1))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [*torchrun, "--nproc-per-node", "2", "drift.py", "recipe.toml"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("drifted") == 2
