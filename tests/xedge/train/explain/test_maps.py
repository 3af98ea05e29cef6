"""Maps against what they are said to be, computed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xedge.errors import InputError
from xedge.models.dense import DenseDetector
from xedge.models.levels import LevelsOutput
from xedge.train.explain.maps import (
    attention_maps,
    cam,
    doam_map,
    doam_share,
    grad_cam,
    label_aware_maps,
)

DOAM = "[model.doam]\n"
# Sums of at most 64 float32 products in two orders: 64 roundings of 6e-8, with room.
CLOSE = {"rtol": 1e-4, "atol": 1e-7}


def test_doam_gives_its_attention_of_every_pixel(recipe, build, planes) -> None:
    model = build(recipe(DOAM))
    found = doam_map(model, planes)
    assert found.shape == planes.shape[1:]
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1
    # M gates the planes: D = gamma M P + (1 - gamma) P, as released.
    doam = model.pyramid.trunk.doam
    assert doam_share(model) == 0.0  # as released: at first the map does nothing
    with torch.no_grad():
        doam.gamma.fill_(1.0)
        gated = doam(planes[None])[0, :3].numpy()
    assert doam_share(model) == 1.0
    np.testing.assert_allclose(gated, found * planes.numpy().astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("tables", ["", '[model.doam]\nparts = "edge"\n'])
def test_without_attention_there_is_no_map_of_it(recipe, build, planes, tables) -> None:
    model = build(recipe(tables))
    assert doam_map(model, planes) is None
    assert doam_share(model) is None


def test_the_paper_s_doam_has_no_share_of_the_picture_itself(recipe, build) -> None:
    assert doam_share(build(recipe('[model.doam]\nvariant = "paper"\n'))) == 1.0


def test_la_gives_size_and_lean_of_its_update_at_each_level(recipe, build, planes) -> None:
    model = build(recipe(label_aware=True))
    maps = label_aware_maps(model, planes)
    assert list(maps) == [8, 16, 32]
    with torch.no_grad():
        outputs = model(planes[None])
    for (stride, found), update in zip(maps.items(), outputs.updates, strict=True):
        height, width = planes.shape[1] // stride, planes.shape[2] // stride
        assert found.size.shape == found.lean.shape == (height, width)
        weight = update.weight[0].numpy()
        np.testing.assert_allclose(found.size, np.abs(weight).mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.lean, weight.mean(axis=0), rtol=1e-4, atol=1e-9)
        assert (found.size >= np.abs(found.lean) * (1 - 1e-5)).all()
        assert found.size.max() > 0


def test_without_la_there_are_no_maps_of_it(recipe, build, classifier, planes) -> None:
    assert label_aware_maps(build(recipe()), planes) == {}
    assert label_aware_maps(classifier, planes) == {}


def test_cam_is_what_each_place_adds_to_the_logit(classifier, planes) -> None:
    with torch.no_grad():
        features = classifier(planes[None])
        logits = classifier.linear(features.mean(dim=(2, 3)))[0]
    for label in range(3):
        found = cam(classifier, planes, label)
        assert found.shape == features.shape[2:]
        by_hand = sum(
            float(w) * f
            for w, f in zip(classifier.linear.weight[label].detach(), features[0], strict=True)
        )
        np.testing.assert_allclose(found, by_hand.detach().numpy(), **CLOSE)
        bias = float(classifier.linear.bias[label].detach())
        assert found.mean() == pytest.approx(float(logits[label]) - bias, abs=1e-4)


def test_behind_a_mean_and_one_layer_grad_cam_is_cam_over_the_places(classifier, planes) -> None:
    """The gradient of a logit that is a mean over n places is w / n at each of them."""
    for label in range(3):
        found = grad_cam(classifier, planes, label)
        expected = np.maximum(cam(classifier, planes, label), 0) / found.size
        np.testing.assert_allclose(found, expected, **CLOSE)


def test_arrays_do_as_well_as_tensors(recipe, build, classifier, planes) -> None:
    model = build(recipe(DOAM, label_aware=True))
    array = planes.numpy()[..., ::-1]  # negative strides, which torch does not take
    array.flags.writeable = False
    tensor = torch.from_numpy(array.copy())
    for own, maps_of in (
        (model, doam_map),
        (model, lambda *a: label_aware_maps(*a)[8].size),
        (model, lambda *a: grad_cam(*a, 1, by_place=True)),
        (classifier, lambda *a: cam(*a, 1)),
    ):
        np.testing.assert_array_equal(maps_of(own, array), maps_of(own, tensor))


def test_the_printed_example_runs(recipe, save, tmp_path, monkeypatch) -> None:
    text = (Path(__file__).parents[4] / "docs/explain.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder := tmp_path / "runs" / "atss-tiny").mkdir(parents=True)
    save(recipe()).rename(folder / "final.ckpt")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet, names)
    assert names["seen"].shape == (12, 16)  # 96 x 128 planes, at stride 8
    assert {"label", "box"} <= names.keys()  # the bag held an object


def direct(model: DenseDetector, planes: torch.Tensor, label: int, at: int, tap: int):
    """Features of a map of the trunk, and the gradient of one location's log-odds by it."""
    trunk = model.pyramid.trunk
    kept = []
    hook = trunk.attention[tap].register_forward_hook(lambda *a: kept.append(a[2]))
    _, scores = model.decode(model(planes[None].float()))
    hook.remove()
    score = scores[0, at, label]
    (gradient,) = torch.autograd.grad(torch.log(score / (1 - score)), kept[0])
    return kept[0][0].detach(), gradient[0]


@pytest.mark.parametrize("label_aware", [False, True])
@pytest.mark.parametrize("by_place", [False, True])
def test_grad_cam_of_a_box_equals_a_direct_computation(
    recipe, build, planes, label_aware, by_place
) -> None:
    model = build(recipe(label_aware=label_aware))
    with torch.no_grad():
        boxes, scores = model.decode(model(planes[None]))
    best = int(scores[0, :, 1].argmax())
    features, gradient = direct(model, planes, 1, best, 0)
    channels = gradient if by_place else gradient.mean(dim=(1, 2), keepdim=True)
    expected = (channels * features).sum(dim=0).relu().numpy()
    assert expected.max() > 0
    for box in (None, boxes[0, best].numpy()):  # its own box leads to a location as well
        found = grad_cam(model, planes, 1, box, by_place=by_place)
        assert found.shape == (planes.shape[1] // 8, planes.shape[2] // 8)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=expected.max() * 1e-4)


def test_a_box_is_explained_by_the_best_score_in_its_place(recipe, build, planes) -> None:
    model = build(recipe())
    with torch.no_grad():
        boxes, _ = model.decode(model(planes[None]))
    far = int((boxes[0, :, :2].sum(dim=1)).argmax())  # the box nearest to the lower right corner
    box = boxes[0, far].numpy()
    found = grad_cam(model, planes, 0, box, by_place=True)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert found.max() > 0
    # A location sees no further than its receptive field, but most near its middle.
    middle = (box[:2] + box[2:]) / 16
    assert np.hypot(x + 0.5 - middle[0], y + 0.5 - middle[1]) < np.hypot(*found.shape) / 2


def test_a_score_that_hangs_on_no_finer_map_is_explained_by_a_coarser_one(
    recipe, build, planes
) -> None:
    """With attention behind its maps, a pyramid's coarsest level knows nothing of the finest."""
    model = build(recipe(attention="se"))
    # The last location lies on the coarsest level; make it the best one.
    real = model.decode

    def last_is_best(outputs):
        boxes, scores = real(outputs)
        return boxes[:, -1:], scores[:, -1:]

    model.decode = last_is_best
    assert grad_cam(model, planes, 0).shape == (planes.shape[1] // 32, planes.shape[2] // 32)
    model.decode = real


def test_attention_masks_are_given_as_they_are(classifier, recipe, build, planes) -> None:
    masks = (torch.rand(1, 1, 3, 4), torch.rand(1, 1, 6, 8))

    class Attentive(nn.Module):
        def forward(self, planes: torch.Tensor) -> LevelsOutput:
            return LevelsOutput([], [], attention=masks)

    found = attention_maps(Attentive(), planes)
    assert list(found) == ["coarse", "fine"]
    for mask, values in zip(masks, found.values(), strict=True):
        np.testing.assert_array_equal(values, mask[0, 0].numpy())
    assert attention_maps(classifier, planes) == {}
    assert attention_maps(build(recipe()), planes) == {}


def test_what_is_no_class_and_a_box_for_a_classifier_are_refused(classifier, planes) -> None:
    for label in (-1, 3):
        with pytest.raises(InputError, match=r"no such class: expected 0\.\.2 .*gun, knife"):
            cam(classifier, planes, label)
        with pytest.raises(InputError, match="no such class"):
            grad_cam(classifier, planes, label)
    with pytest.raises(InputError, match="has no boxes"):
        grad_cam(classifier, planes, 0, np.zeros(4, np.float32))
