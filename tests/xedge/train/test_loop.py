"""A training run that is real but tiny: it learns, it is interrupted, it goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import xedge.train.loop as loop
from xedge.cli import main
from xedge.errors import ConfigError, DataError, ImageError, TrainingError
from xedge.sim import CLASSES
from xedge.train.bags import Windows
from xedge.train.batch import Batch, Item
from xedge.train.checkpoint import load_checkpoint
from xedge.train.criterion import Moment
from xedge.train.loop import train
from xedge.train.options import RunOptions
from xedge.train.progress import Meter
from xedge.train.recipe import parse_recipe
from xedge.train.run import Run

TinyRecipe = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums split among threads differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(text: str, **options: Any) -> Path:
    recipe = parse_recipe(text)
    path = train(recipe, text, options=RunOptions(**options), meter=Meter(quiet=True))
    assert path is not None
    return path


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].weights


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name, value in ours.items() if not torch.equal(value, theirs[name])] == []


class Pulled(BaseException):
    """The plug is pulled."""


def pull_the_plug(patch: pytest.MonkeyPatch, after: int) -> None:
    """Stop a run when it has done so many steps."""
    real = loop.one_epoch

    def until(run_: Run, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for answer in real(run_, *args, **kwargs):
            yield answer
            if run_.standing.steps == after:
                raise Pulled

    patch.setattr(loop, "one_epoch", until)


def test_a_run_learns_and_leaves_what_the_export_needs(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 4)
    final = run(text)
    log = lines(final.parent)
    assert [r["epoch"] for r in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"]
    checkpoint, digest = load_checkpoint(final)
    assert checkpoint.progress is None
    assert {"ap50", "la_off_ap50", "la_w_mean", "la_w_max"} <= set(checkpoint.measured)
    assert checkpoint.measured["la_w_mean"] > 0
    checkpoint.model()
    record = checkpoint.record
    assert record is not None
    assert (record.items_seen, record.steps, record.sizes) == (32, 8, {"train": 8, "held_out": 6})
    result = json.loads((final.parent / "result.json").read_text())
    assert result["schema"] == 1
    assert result["recipe"]["name"] == "tiny"
    assert result["figures"] == checkpoint.measured
    assert (result["checkpoint_sha256"], result["seed"], result["epochs"]) == (digest, 0, 4)
    assert torch.__version__.startswith(result["versions"]["torch"])
    assert result["parameters"] == sum(p.numel() for p in checkpoint.model().parameters())
    events = EventAccumulator(str(final.parent)).Reload()
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 9))
    assert len(events.Scalars("held out/ap50")) == 4
    # The run is finished: the command only says what it found, in either way.
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    people = CliRunner().invoke(main, ["train", str(path)], catch_exceptions=False)
    assert re.search(r"la_off_ap50 +\S +[\d.]+", people.stdout)
    assert f"checkpoint: {final}" in people.stdout
    assert "finished before" in people.stderr
    machine = CliRunner().invoke(main, ["train", str(path), "--json"], catch_exceptions=False)
    assert json.loads(machine.stdout)["checkpoint"] == str(final)
    assert load_checkpoint(final)[1] == digest


@pytest.mark.parametrize("after", [2, 4, 5, 9])
def test_an_interrupted_run_ends_where_the_whole_one_does(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch, whole: Path, two_stages: TinyRecipe
) -> None:
    text = two_stages(tmp_path)
    with monkeypatch.context() as patch:
        pull_the_plug(patch, after)
        with pytest.raises(Pulled):
            run(text)
    resumed = run(text)
    assert_equal(weights(resumed), weights(whole))
    ours, theirs = (
        [{k: v for k, v in line.items() if k != "seconds"} for line in lines(path.parent)]
        for path in (resumed, whole)
    )
    assert ours == theirs
    record = load_checkpoint(resumed)[0].record
    assert record is not None
    assert (record.steps, record.retrained, record.items_seen) == (11, 3, 34)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, two_stages: TinyRecipe) -> Path:
    """The finished checkpoint of a run in two stages that nothing interrupted."""
    torch.set_num_threads(1)
    final = run(two_stages(tmp_path_factory.mktemp("whole")))
    assert [(r["stage"], r["epoch"], r["retrained"]) for r in lines(final.parent)] == [
        ("before", 1, 1),
        ("main", 1, 1),
        ("main", 2, 1),
    ]
    return final


def test_epochs_see_all_items_in_new_orders_and_the_hardest_batch_again(
    tmp_path: Path, two_stages: TinyRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Moment, tuple[str, ...], float, float, float]] = []
    real = loop.Run.learn

    def learn(self: Run, batch: Batch, moment: Moment, rate: float) -> dict[str, float]:
        figures = real(self, batch, moment, rate)
        pixels = float(batch.planes.sum(dtype=torch.float64))
        seen.append((moment, tuple(batch.names), figures["loss"], rate, pixels))
        return figures

    monkeypatch.setattr(loop.Run, "learn", learn)
    run(two_stages(tmp_path))
    epochs = [seen[:5], seen[5:8], seen[8:]]
    every = sorted(f"bag {seed}" for seed in range(1_000_000, 1_000_008))
    for *steps, again in epochs:
        assert sorted(name for _, names, *_ in steps for name in names) == every
        _, names, _, _, pixels = max(steps, key=lambda step: step[2])
        assert (again[1], again[4]) == (names, pixels)  # augmented alike, too
        assert again[3] == steps[-1][3]
    assert len({tuple(n for _, names, *_ in steps[:-1] for n in names) for steps in epochs}) == 3
    sums = [sum(pixels for *_, pixels in steps[:-1]) for steps in epochs]
    assert len(set(sums)) == 3  # augmented differently
    moments = [(m.stage, m.epoch, m.share) for m, *_ in seen]
    assert moments[3:7] == [("before", 0, 0.75), ("before", 0, 1.0), ("main", 0, 0.0),
                            ("main", 0, 0.25)]  # fmt: skip
    assert moments[-1] == ("main", 1, 1.0)


def test_a_run_does_not_go_on_under_another_recipe_or_from_something_else(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 1)
    final = run(text)
    other = text.replace("warmup_steps = 2", "warmup_steps = 3")
    with pytest.raises(
        ConfigError, match=r"begun with another recipe: found optim.warmup_steps: 2, 3"
    ):
        run(other)
    with pytest.raises(ConfigError, match=r"begun from something else.*init"):
        run(text, init=final)
    run(other, fresh=True)


def test_a_fresh_run_that_is_killed_leaves_nothing_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 1)
    folder = run(text).parent
    assert {"last.ckpt", "final.ckpt", "result.json"} <= {path.name for path in folder.iterdir()}

    def pulled(*_: object) -> None:
        raise Pulled

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "prepare", pulled)
        with pytest.raises(Pulled):
            run(text, fresh=True)
    assert list(folder.iterdir()) == []
    assert [line["epoch"] for line in lines(run(text).parent)] == [1]


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path, tiny_recipe: TinyRecipe) -> None:
    first = run(tiny_recipe(tmp_path / "first", 1))
    text = tiny_recipe(tmp_path / "second", 1)
    text = text.replace(str(list(CLASSES)), str(list(CLASSES)[1:]))
    checkpoint, _ = load_checkpoint(run(text, init=first))
    assert checkpoint.record is not None
    assert checkpoint.record.parents["init"] == load_checkpoint(first)[1]
    assert checkpoint.record.taken == len(checkpoint.weights) - 2  # weight and bias a class
    with pytest.raises(ConfigError, match=r"nothing.*'tiny' learns from a teacher.*'atss'"):
        run(tiny_recipe(tmp_path / "third", 1), teacher=first)


def test_a_loss_that_is_not_finite_stops_the_run_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: TinyRecipe
) -> None:
    text = tiny_recipe(tmp_path, 2, "save_minutes = 0.0")
    real = loop.Run.learn

    def learn(self: Run, *args: Any) -> dict[str, float]:
        if self.standing.steps == 3:
            with torch.no_grad():
                next(self.model.parameters()).fill_(torch.inf)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "learn", learn)
        with pytest.raises(TrainingError, match=r"step 4 \(epoch 2 of .*nan.* on the batch bag 1"):
            run(text)
    # The checkpoint from before is a good one: the run goes on from it.
    progress = load_checkpoint(tmp_path / "tiny/last.ckpt")[0].progress
    assert progress is not None
    assert progress.standing.steps == 3
    assert all(value.isfinite().all() for value in progress.model.values())
    assert [r["epoch"] for r in lines(run(text).parent)] == [1, 2]


def test_an_item_that_cannot_be_read_stops_the_run_or_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: TinyRecipe
) -> None:
    real = Windows.__getitem__

    def torn(self: Windows, index: int) -> Item:
        if index == 5:
            raise ImageError(f"scan_{index}.png does not decode")
        return real(self, index)

    monkeypatch.setattr(Windows, "__getitem__", torn)
    text = tiny_recipe(tmp_path, 1)
    with pytest.raises(DataError, match=r"training item 5.*scan_5\.png does not decode"):
        run(text)
    final = run(text, skip_bad=True)
    expected = {f"{part} item 5": "scan_5.png does not decode" for part in ("training", "held-out")}
    record = load_checkpoint(final)[0].record
    assert record is not None
    assert record.bad_items == expected
    assert json.loads((final.parent / "result.json").read_text())["bad_items"] == expected
    (line,) = lines(final.parent)
    assert (line["bad_items"], line["bad"]) == (2, expected)


def damaged_set(folder: Path) -> Path:
    """Ten pictures of two classes, one of whose boxes has no area, and one that is not there."""
    folder.mkdir()
    images, boxes = [], []
    for k in range(10):
        cv2.imwrite(str(folder / f"{10 * k:03}.png"), np.full((48, 48, 3), 20 * k, np.uint8))
        images.append({"id": k, "file_name": f"{10 * k:03}.png", "width": 48, "height": 48})
        side = 0 if k == 3 else 20
        boxes.append({"id": k, "image_id": k, "category_id": k % 2, "bbox": [9, 9, side, side]})
    (folder / "070.png").unlink()
    classes = [{"id": k, "name": name} for k, name in enumerate(("gun", "bottle"))]
    table = {"images": images, "annotations": boxes, "categories": classes}
    (folder / "set.json").write_text(json.dumps(table))
    return folder


def on_pictures(text: str) -> str:
    """The recipe on pictures with guns and bottles, in the format of COCO."""
    before, rest = text.split("[data]")
    before = re.sub("classes = .*", 'classes = ["gun", "bottle"]', before)
    data = 'format = "coco"\nheight = 64\nwidth = 64\nblocks = 5\ncache = ""\n'
    return f"{before}[data]\n{data}[optim]{rest.split('[optim]')[1]}"


def test_a_bad_annotation_stops_the_run_or_is_skipped_and_counted(
    tmp_path: Path, tiny_recipe: TinyRecipe
) -> None:
    text = on_pictures(tiny_recipe(tmp_path / "runs", 1)).replace("batch = 4", "batch = 2")
    root = damaged_set(tmp_path / "set")
    with pytest.raises(DataError, match=r"set\.json.*--skip-bad"):
        run(text, data=root)
    assert not (tmp_path / "runs").exists()
    final = run(text, data=root, skip_bad=True)
    record = load_checkpoint(final)[0].record
    assert record is not None
    assert sorted(record.bad_items.values()) == ["bad box", "missing file"]
    assert any("070.png" in name for name in record.bad_items)
    assert sum(record.sizes.values()) == 9
    assert json.loads((final.parent / "result.json").read_text())["bad_items"] == record.bad_items
    assert lines(final.parent)[0]["bad_items"] == 2


def test_fewer_items_than_a_step_takes_are_refused(tmp_path: Path, two_stages: TinyRecipe) -> None:
    text = two_stages(tmp_path).replace("batch = 2", "batch = 9")
    with pytest.raises(ConfigError, match=r"too few items.*expected 9 or more, found 8"):
        run(text)


def command(path: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "xedge.cli", "train", str(path), "--json", *more]


@pytest.mark.full
@pytest.mark.parametrize("by", ["devices", "torchrun"])
def test_two_processes_train_one_model(tmp_path: Path, by: str, two_stages: TinyRecipe) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(two_stages(tmp_path).replace("batch = 4", "batch = 2"))
    if by == "devices":
        words = command(path, "--devices", "2")
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        words = [*torchrun, "--nproc-per-node", "2", *command(path)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    (answer,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    checkpoint, _ = load_checkpoint(Path(answer["checkpoint"]))
    assert checkpoint.measured == answer["measured"]
    record = checkpoint.record
    assert record is not None
    # Two steps of the stage before and two of each main epoch, one more on each pool.
    assert (record.processes, record.steps, record.retrained) == (2, 9, 3)
    assert record.items_seen == 9 * 4
    assert [line["epoch"] for line in lines(tmp_path / "tiny")] == [1, 1, 2]
