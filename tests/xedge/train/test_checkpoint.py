from __future__ import annotations

from pathlib import Path

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.dense import DenseDetector
from xedge.spec import Kind
from xedge.train.checkpoint import Checkpoint, Progress, Standing, load_checkpoint

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
    progress = Progress(
        Standing(stage="main", epoch=2, steps=20, pool={3: 0.5}, bad={"item 1": "torn"}),
        {"state": {}, "param_groups": []},
        model.state_dict(),
        20,
        {},
    )
    saved = Checkpoint(RECIPE, model.state_dict(), {"ap50": 0.5}, "abc", progress)
    saved.save(tmp_path / "a.ckpt")
    loaded, digest = load_checkpoint(tmp_path / "a.ckpt")
    assert len(digest) == 64
    assert loaded.recipe.model == saved.recipe.model
    assert loaded.measured == {"ap50": 0.5}
    assert loaded.progress is not None
    assert loaded.progress.standing == progress.standing
    for name, value in loaded.model().state_dict().items():
        assert torch.equal(value, saved.weights[name])
    assert not list(tmp_path.glob("*.tmp"))


def test_weights_that_began_as_fetched_ones_come_back_without_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = DenseDetector(Checkpoint(RECIPE, {}, {}, "").recipe.model).state_dict()
    fetched = RECIPE.replace("[model.pyramid]\n", "[model.pyramid]\npretrained = true\n")
    checkpoint = Checkpoint(fetched, weights, {}, "")
    assert checkpoint.recipe.model.pyramid.pretrained
    for name, value in checkpoint.model().state_dict().items():
        assert torch.equal(value, weights[name])


def test_the_spec_names_parents_and_thresholds() -> None:
    spec = Checkpoint(RECIPE, {}, {"ap50": 0.5}, "abc").spec("d" * 64)
    assert spec.parents["checkpoint"] == "d" * 64
    assert spec.parents["commit"] == "abc"
    assert spec.alarm_threshold == 0.6
    assert spec.pixel_mm == pytest.approx(1.24)
    assert spec.classes == ("gun", "knife")
    assert (spec.kind, spec.candidates) == (Kind.DETECTOR, 200)


def test_the_spec_of_a_classifier_has_no_candidates() -> None:
    text = 'name = "a"\nsystem = "chr"\n[model]\nclasses = ["gun"]\n'
    spec = Checkpoint(text, {}, {}, "").spec("")
    assert (spec.kind, spec.candidates) == (Kind.CLASSIFIER, 0)


def test_a_file_that_could_run_code_is_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("code ran",))

    torch.save({"recipe_text": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match=r"not a checkpoint.*other objects than numbers"):
        load_checkpoint(tmp_path / "evil.ckpt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"\x89PNG\r\n\x1a\n", "found a file of 8 bytes that is none of torch's"),
        (b"not a checkpoint", "found a file of 16 bytes that is none of torch's"),
        (b"PK\x03\x04 and no more", "found a file of 16 bytes of which a part is missing"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_described(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{found}.*\. Give a file that `xedge train` wrote"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"progress": None, "a": 1}])
def test_a_file_of_torch_that_is_no_checkpoint_is_described(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match="found a file of torch's without a checkpoint's parts"):
        load_checkpoint(tmp_path / "other.ckpt")


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DenseDetector(Checkpoint(RECIPE, {}, {}, "").recipe.model)
    path = tmp_path / "other.ckpt"
    Checkpoint(RECIPE.replace('"knife"', '"knife", "can"'), model.state_dict(), {}, "0").save(path)
    with pytest.raises(ConfigError, match=r"other\.ckpt.*head\.cls\.\w+ \[3.*head\.cls\.\w+ \[2"):
        load_checkpoint(path)[0].model()
    fewer = {name: value for name, value in model.state_dict().items() if "cls_tower" not in name}
    Checkpoint(RECIPE, fewer, {}, "0").save(path)
    with pytest.raises(ConfigError, match=r"head\.cls_tower.*not among them"):
        load_checkpoint(path)[0].model()


def test_weights_are_given_where_names_and_shapes_agree() -> None:
    torch.manual_seed(0)
    source = DenseDetector(Checkpoint(RECIPE, {}, {}, "").recipe.model)
    given = Checkpoint(RECIPE, source.state_dict(), {}, "0")
    wider = RECIPE.replace('"knife"', '"knife", "can"')
    model = DenseDetector(Checkpoint(wider, {}, {}, "").recipe.model)
    before = model.head.cls.weight.clone()
    # All but the weight and the bias of the layer that has a row a class.
    assert given.give_weights(model, "atss") == len(source.state_dict()) - 2
    assert torch.equal(model.head.cls.weight, before)
    assert torch.equal(model.head.reg.weight, source.head.reg.weight)
    with pytest.raises(ConfigError, match=r"cannot start.*'sxmnet'.*one of 'atss'"):
        given.give_weights(model, "sxmnet")
    with pytest.raises(ConfigError, match="with 0 that fit"):
        given.give_weights(torch.nn.Linear(2, 2), "atss")
