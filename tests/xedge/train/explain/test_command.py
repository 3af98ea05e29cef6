"""`xedge explain` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from xedge.cli import main

pytest.importorskip("jinja2", reason="jinja2 (extra `report`) makes the page")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, args)])


@pytest.fixture
def checkpoint(recipe, save) -> Path:
    return save(recipe("[model.doam]\n", label_aware=True))


def test_held_out_bags_are_explained_and_measured(checkpoint, tmp_path, read_page) -> None:
    out = tmp_path / "page"
    done = run(checkpoint, "--count", 9, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((out / "explain.json").read_text())
    assert found["measured_pictures"] == 3  # all that the recipe holds out
    assert [picture["name"] for picture in found["pictures"]] == [
        "bag 2000003", "bag 2000004", "bag 2000005",
    ]  # fmt: skip
    objects = sum(len(picture["truth"]) for picture in found["pictures"])
    assert sum(curve["objects"] for curve in found["curves"]) == objects > 0
    kinds = {one["kind"] for picture in found["pictures"] for one in picture["maps"]}
    assert kinds == {"HiResCAM", "Grad-CAM", "DOAM", "LA, size", "LA, sign"}
    named = {one["file"] for picture in found["pictures"] for one in picture["maps"]}
    assert {path.name for path in out.glob("*.png")} == named
    read_page((out / "explain.html").read_text(encoding="utf-8"))
    # A second page takes the first one's place, figures and all.
    done = run(checkpoint, "--count", 1, "--curves", 0, "-o", out)
    assert done.exit_code == 0, done.output
    assert str(out / "explain.html") in done.stdout
    assert list(out.glob("001-*"))
    assert not list(out.glob("002-*"))
    assert json.loads((out / "explain.json").read_text())["curves"] == []


def test_picture_files_are_explained_without_truth(checkpoint, tmp_path) -> None:
    counts = np.full((300, 900), 30_000, np.uint16)
    np.savez(tmp_path / "bag.npz", low=counts, high=counts)
    done = run(checkpoint, tmp_path / "bag.npz", "-o", tmp_path / "page", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["curves"] == []
    assert found["pictures"][0]["truth"] is None
    assert found["checkpoint"] == f"{tmp_path.name}/tiny.ckpt"


def test_a_run_s_folder_stands_for_its_finished_checkpoint(checkpoint, tmp_path) -> None:
    folder, page = tmp_path / "run", ["-o", tmp_path / "page"]
    folder.mkdir()
    done = run(folder, *page)
    assert done.exit_code == 1
    assert "run holds no finished checkpoint: expected final.ckpt" in done.stderr
    checkpoint.rename(folder / "last.ckpt")
    done = run(folder, *page)
    assert done.exit_code == 1
    assert "last.ckpt itself" in done.stderr
    (folder / "last.ckpt").rename(folder / "final.ckpt")
    done = run(folder, *page, "--count", 1, "--curves", 0, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["checkpoint"] == "run/final.ckpt"


def test_a_trained_classifier_of_the_papers_is_explained(bags, save, tmp_path) -> None:
    text = f"""
name = "levels"
system = "chr"
[model]
classes = ["gun", "knife"]
[model.trunk]
strides = [16, 32]
options = {{channels = [8, 8, 16, 16], stem_width = 8}}
[data]
binning = 8
height = 96
width = 128
train_bags = 8
val_bags = 3
cache = "{bags}"
"""
    done = run(save(text), "--count", 1, "-o", tmp_path / "page", "--json")
    assert done.exit_code == 0, done.output
    (picture,) = json.loads(done.stdout)["pictures"]
    assert set(picture["scores"]) == {"gun", "knife"}
    assert {one["kind"] for one in picture["maps"]} == {"CAM", "Grad-CAM"}


def test_bad_input_is_one_clear_line(checkpoint, tmp_path) -> None:
    wide = np.full((10, 2000), 30_000, np.uint16)
    np.savez(tmp_path / "wide.npz", low=wide, high=wide)
    (tmp_path / "text.ckpt").write_text("no weights")
    (tmp_path / "file").write_text("")
    page = ["-o", tmp_path / "page"]
    for args, words in (
        ([tmp_path / "none.ckpt", *page], "none.ckpt' to read"),
        ([tmp_path / "text.ckpt", *page], "text.ckpt' is not a checkpoint of xedge"),
        ([checkpoint, tmp_path / "none.png", *page], "none.png does not exist"),
        ([checkpoint, tmp_path / "wide.npz", *page], "wide.npz does not fit the model"),
        ([checkpoint, "-o", tmp_path / "file" / "page"], "cannot be used"),
    ):
        done = run(*args)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
    assert not (tmp_path / "page").exists()


def test_a_recipe_of_pictures_asks_where_they_are(recipe, save, tmp_path) -> None:
    pictures = '[data]\nformat = "coco"\nheight = 96\nwidth = 128\n'
    path = save(recipe().split("[data]")[0] + pictures)
    done = run(path, "-o", tmp_path / "page")
    assert done.exit_code == 1
    assert "Give it with --data DIR" in done.stderr
