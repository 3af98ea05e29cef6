from __future__ import annotations

from pathlib import Path

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.dense import DenseDetector
from xedge.train.checkpoint import Checkpoint, Progress, load_checkpoint

RECIPE = """
name = "tiny"
alarm_threshold = 0.6
[model]
classes = ["gun", "knife"]
depth = 1
groups = 4
[model.pyramid]
width = 8
[model.pyramid.options]
channels = [8, 8, 8, 8]
stem_width = 8
"""


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DenseDetector(Checkpoint(RECIPE, {}, {}, "").recipe.model)
    progress = Progress(2, 20, {"state": {}, "param_groups": []}, model.state_dict(), 20)
    saved = Checkpoint(RECIPE, model.state_dict(), {"ap50": 0.5}, "abc", progress)
    saved.save(tmp_path / "a.ckpt")
    loaded, digest = load_checkpoint(tmp_path / "a.ckpt")
    assert len(digest) == 64
    assert loaded.recipe.model == saved.recipe.model
    assert loaded.measured == {"ap50": 0.5}
    assert loaded.progress is not None
    assert loaded.progress.step == 20
    for name, value in loaded.model().state_dict().items():
        assert torch.equal(value, saved.weights[name])
    assert not list(tmp_path.glob("*.tmp"))


def test_the_spec_names_parents_and_thresholds() -> None:
    spec = Checkpoint(RECIPE, {}, {"ap50": 0.5}, "abc").spec("d" * 64)
    assert spec.parents["checkpoint"] == "d" * 64
    assert spec.parents["commit"] == "abc"
    assert spec.alarm_threshold == 0.6
    assert spec.pixel_mm == pytest.approx(1.24)
    assert spec.classes == ("gun", "knife")


def test_a_file_that_could_run_code_is_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("code ran",))

    torch.save({"recipe_text": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "evil.ckpt")
