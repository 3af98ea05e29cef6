"""Every system of the papers trains, gets better, is evaluated and comes back from its checkpoint.

Tiny recipes run as they are but for the data: 64 small simulated bags, two epochs. The everyday
tier takes one of each host; the full tier takes all.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from xedge.cli import main
from xedge.models.base import Classifier, Detector
from xedge.train.checkpoint import load_checkpoint
from xedge.train.recipe import load_recipe
from xedge.train.shipped import shipped_recipes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

TINY = [path.stem for path in shipped_recipes() if path.stem.endswith("-tiny")]
SAMPLE = ("atss-lacls-tiny", "fcos-doam-tiny", "ssd-tiny", "yolov3-tiny", "chr-tiny")
SHRUNK = (
    "data.binning=8", "data.height=128", "data.width=128", "data.train_bags=64",
    "data.val_bags=16", "optim.epochs=2", "optim.batch=8", "optim.warmup_steps=4",
    "optim.workers=0", 'optim.precision="32-true"', "optim.label_aware_from=0.5",
)  # fmt: skip
SHRUNK_FIRST = (
    "before.epochs=1", "before.batch=8", "before.warmup_steps=4", "before.workers=0",
    'before.precision="32-true"',
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def trained(name: str, folder: Path, *more: str) -> Path:
    """The finished checkpoint of a recipe, trained now or before."""
    done = folder / name / "final.ckpt"
    if not done.exists():
        staged = load_recipe(Path(name))[0].before is not None
        changes = [*SHRUNK, *(SHRUNK_FIRST if staged else ()),
                   f"out={folder}", f"data.cache={folder / 'bags'}"]  # fmt: skip
        options = [word for change in changes for word in ("--set", change)]
        result = CliRunner().invoke(
            main, ["train", name, *options, *more, "--json"], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["checkpoint"] == str(done)
    return done


def check(name: str, folder: Path) -> None:
    fusion = getattr(load_recipe(Path(name))[0].model, "fusion", None)
    neural = fusion is not None and fusion.kind == "mf-n"
    more = ["--teacher", str(trained("chr-tiny", folder))] if neural else []
    path = trained(name, folder, *more)
    lines = (path.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [record["loss"] for record in map(json.loads, lines) if "loss" in record]
    assert losses[-1] < losses[-2]
    checkpoint, _ = load_checkpoint(path)
    model = checkpoint.model()
    assert {"ap50", "map"} & set(checkpoint.measured)
    data = checkpoint.recipe.data
    planes = torch.randint(0, 256, (1, 3, data.height, data.width), dtype=torch.uint8)
    outputs = model(planes)
    classes = len(checkpoint.recipe.model.classes)
    if isinstance(model, Detector):
        boxes, scores = model.decode(outputs)
        assert boxes.shape == (1, scores.shape[1], 4)
        assert scores.shape[2] == classes
    else:
        assert isinstance(model, Classifier)
        assert model.scores(outputs).shape == (1, classes)
        assert model.locate(outputs).shape[:2] == (1, classes)


@pytest.mark.parametrize("name", SAMPLE)
def test_one_of_each_host_learns(name: str, folder: Path) -> None:
    check(name, folder)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(set(TINY) - set(SAMPLE)))
def test_every_system_learns(name: str, folder: Path) -> None:
    check(name, folder)
