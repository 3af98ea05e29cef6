from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xedge.errors import ConfigError
from xedge.models.base import centres, top_candidates
from xedge.models.dense import DenseConfig, DenseDetector, DenseHead, LevelOutput, decode
from xedge.models.label_aware import Coefficients
from xedge.models.pyramid import PyramidConfig

SMALL = PyramidConfig(
    backbone="resnet18d", options={"channels": [8, 8, 16, 16], "stem_width": 8}, width=16
)
CONFIG = DenseConfig(classes=("gun", "knife", "can"), pyramid=SMALL, depth=2, groups=4)


def test_every_level_answers_for_every_location() -> None:
    torch.manual_seed(0)
    model = DenseDetector(CONFIG).eval()
    with torch.no_grad():
        outputs, updates = model(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    for out, update, stride in zip(outputs, updates, (8, 16, 32), strict=True):
        h, w = 64 // stride, 96 // stride
        assert out.logits.shape == (2, 3, h, w)
        assert out.distances.shape == (2, 4, h, w)
        assert out.quality.shape == (2, 1, h, w)
        assert update.weight.shape == (2, 16, h, w)
        assert (out.distances >= 0).all()
        assert (out.distances <= 16 * stride).all()


def test_the_label_aware_step_can_be_switched_off_and_changes_something() -> None:
    torch.manual_seed(0)
    model = DenseDetector(CONFIG).eval()
    planes = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        on, updates = model(planes)
        off, none = model(planes, label_aware=False)
    assert len(updates) == 3
    assert none == []
    assert not torch.equal(on[0].logits, off[0].logits)


def drawn_head(config: DenseConfig) -> DenseHead:
    """The head in float64 with weights that spread its scores."""
    torch.manual_seed(2)
    head = DenseHead(config)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim > 1 else 0.2) + (p.ndim == 1) * 0.5)
    return head.double()


@pytest.mark.parametrize(
    "k",
    [
        Coefficients(),
        Coefficients(1.0, 5.0, 5.0),
        Coefficients(0.5, 1.0, 0.0),
        Coefficients(1.5, 0.0, 1.0),
    ],
    ids=["ATSS and PAA", "FCOS", "no misleading label", "only the misleading label"],
)
@pytest.mark.parametrize("quality", ["statistics", "top4", "conv"])
def test_lacls_is_equation_7_on_every_form_of_the_head(k: Coefficients, quality: str) -> None:
    regression = "direct" if quality == "conv" else "distribution"
    config = replace(CONFIG, regression=regression, quality=quality, coefficients=k)
    head = drawn_head(config)
    x = torch.randn(2, 16, 5, 4, dtype=torch.float64)
    classes = torch.randint(-1, 3, (2, 5, 4))
    label = torch.stack([classes == c for c in range(3)], 1).double()
    leaf = x.clone().requires_grad_()
    y = head.cls(head.cls_tower(leaf)).sigmoid()
    gradients = []
    for column in (classes, torch.where(label.bool(), -1.0, y).argmax(1)):
        chosen = y.gather(1, column.clamp(min=0)[:, None])[:, 0]
        gradients.append(torch.autograd.grad(chosen[column >= 0].sum(), leaf, retain_graph=True)[0])
    w1, w2 = (g.sigmoid() for g in gradients)
    refined, update = head.refine(x, 0, label)
    expected = k.a * x + k.b * w1 * x - k.c * w2 * x
    # Values up to 20 in float32: 2e-6 an operation.
    assert torch.allclose(refined.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(update.weight.double(), k.a + k.b * w1 - k.c * w2 - 1, atol=2e-6)


BY_BINS = replace(CONFIG, label_aware_by="regression", coefficients=Coefficients(0.5, 1.0, 0.0))


@pytest.mark.parametrize("training", [True, False])
def test_lareg_is_equation_6(training: bool) -> None:
    """Against the gradient of the chosen bins' confidences, summed side by side."""
    head, level = drawn_head(BY_BINS), 1
    x = torch.randn(2, 16, 5, 4, dtype=torch.float64)

    def confidences(features: torch.Tensor) -> torch.Tensor:
        raw = head.reg(head.reg_tower(features)) * head.level_scale[level]
        return raw.sigmoid().reshape(2, 4, 17, 5, 4)

    leaf = x.clone().requires_grad_()
    y = confidences(leaf)
    bins = torch.randint(0, 16, (2, 4, 5, 4)) if training else y.argmax(2)
    total = sum(y[:, s].gather(1, bins[:, s, None]).sum() for s in range(4))
    (g,) = torch.autograd.grad(total, leaf)
    label = torch.nn.functional.one_hot(bins, 17).movedim(-1, 2).flatten(1, 2).double()
    refined, update = head.refine(x, level, label if training else None)
    # The head's raw values are float32: 1e-7 of each, through two layers' sums.
    assert torch.allclose(refined.double(), 0.5 * x + g.sigmoid() * x, rtol=1e-4, atol=1e-5)
    assert update.scores.shape == (2, 68, 5, 4)
    # And the gradient itself against finite differences, at one feature.
    step, k = 1e-5, (1, 7, 2, 3)
    ends = []
    for sign in (1, -1):
        moved = x.clone()
        moved[k] += sign * step
        with torch.no_grad():
            found = confidences(moved)
        ends.append(sum(found[:, s].gather(1, bins[:, s, None]).sum() for s in range(4)))
    slope = (ends[0] - ends[1]) / (2 * step)
    # Central differences err by step^2 of a third derivative, and by 1e-16 / step.
    assert slope.item() == pytest.approx(g[k].item(), rel=1e-6, abs=1e-8)


def test_a_level_without_a_label_takes_its_own_best_bins() -> None:
    torch.manual_seed(0)
    model = DenseDetector(BY_BINS).eval()
    planes = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        alone, _ = model(planes)
        told, _ = model(planes, [None, None, None])
    assert torch.equal(alone[0].logits, told[0].logits)


def test_the_early_version_is_told_by_labels_and_has_weights_to_learn() -> None:
    torch.manual_seed(0)
    model = DenseDetector(replace(CONFIG, label_aware_by="early"))
    planes = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = [torch.rand(2, 3, 64 // s, 64 // s).round() for s in (8, 16, 32)]
    outputs, updates = model(planes, labels)
    assert len(updates) == 3
    outputs[0].logits.sum().backward()
    assert model.head.early is not None
    assert model.head.early.weight.weight.grad is not None
    assert model.head.early.weight.weight.grad.abs().max() > 0
    assert DenseDetector(replace(model.config, label_aware=False)).head.early is None


def test_labels_can_be_made_of_a_first_pass() -> None:
    torch.manual_seed(0)
    model = DenseDetector(CONFIG)
    planes = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = [torch.rand(2, 3, 64 // s, 64 // s).round() for s in (8, 16, 32)]
    seen: list[list[LevelOutput]] = []

    def assign(first: list[LevelOutput]) -> list[torch.Tensor]:
        seen.append(first)
        return labels

    made, _ = model(planes, assign)
    given, _ = model(planes, labels)
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(made, given, strict=True))
    (first,) = seen
    assert not any(value.requires_grad for output in first for value in output)
    # As released, the first pass goes once through the regression tower, though twice is set.
    once = DenseDetector(replace(CONFIG, regression_repeats=1, label_aware=False))
    once.load_state_dict(model.state_dict())
    expected, _ = once(planes)
    assert all(torch.equal(a.distances, b.distances) for a, b in zip(first, expected, strict=True))


@pytest.mark.parametrize("by", ["class", "early"])
def test_a_first_pass_under_autocast_leaves_the_gradients_of_the_second(by: str) -> None:
    """An older autocast keeps the weights it casts, which the first pass must not make constants.

    With a PyTorch that has its pull request 165068 this cannot fail; older ones are supported too.
    """
    torch.manual_seed(0)
    model = DenseDetector(replace(CONFIG, label_aware_by=by))
    planes = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    labels = [torch.rand(1, 3, 64 // s, 64 // s).round() for s in (8, 16, 32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _ = model(planes, labels if by == "early" else lambda first: labels)
    sum(o.logits.sum() + o.distances.sum() for o in outputs).backward()
    for name in ("cls_tower.0.weight", "reg_tower.0.weight", "cls.weight", "reg.weight"):
        assert model.head.get_parameter(name).grad is not None, name


def test_direct_regression_is_the_exponential_in_strides() -> None:
    head = DenseHead(replace(CONFIG, regression="direct", quality="conv"))
    with torch.no_grad():
        head.reg.weight.zero_()
        head.reg.bias.copy_(torch.tensor([0.0, 0.5, 1.0, 2.0]))  # type: ignore[union-attr]
        head.level_scale[1] = 2.0
        distances = head.predict(torch.randn(1, 16, 2, 2), 1).distances
    expected = 16 * torch.tensor([0.0, 1.0, 2.0, 4.0]).exp()
    assert torch.allclose(distances[0, :, 0, 0], expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regression": "boxes"}, "model.regression is not known.*direct.*'boxes'"),
        ({"quality": "iou"}, "model.quality is not known"),
        ({"label_aware_by": "labels"}, "model.label_aware_by is not known"),
        ({"regression": "direct"}, "no bins to read"),
        (
            {"regression": "direct", "quality": "conv", "label_aware_by": "regression"},
            "no LA by regression",
        ),
        ({"quality": "top4", "bins": 2}, "bins of 3 or more.*found 2"),
        ({"label_aware_by": "regression"}, "no misleading label.*c = 0.*found c = 1"),
        ({"regression_repeats": 0}, "1 or more.*0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_a_distance_of_known_bins_decodes_to_a_known_box() -> None:
    logits = torch.full((1, 2, 2, 3), -10.0)
    logits[0, 1, 1, 2] = 10.0
    distances = torch.zeros(1, 4, 2, 3)
    distances[0, :, 1, 2] = torch.tensor([4.0, 5.0, 6.0, 7.0])
    out = LevelOutput(logits, distances, torch.full((1, 1, 2, 3), 10.0))
    boxes, scores, labels = top_candidates(*decode([out], (8,)), 2)
    # Location (row 1, column 2) of stride 8 has its centre at x 20, y 12.
    assert boxes[0, 0].tolist() == [16.0, 7.0, 26.0, 19.0]
    assert labels[0, 0].item() == 1
    assert labels.dtype == torch.int32
    assert scores[0, 0].item() == pytest.approx(torch.tensor(10.0).sigmoid().item() ** 2)


def test_candidates_are_the_best_pairs_of_location_and_class_in_falling_order() -> None:
    torch.manual_seed(1)
    boxes, scores = torch.rand(2, 50, 4), torch.rand(2, 50, 7)
    chosen, best, labels = top_candidates(boxes, scores, 20)
    for n in range(2):
        flat = scores[n].flatten()
        order = flat.argsort(descending=True)[:20]
        assert torch.equal(best[n], flat[order])
        assert torch.equal(labels[n].long(), order % 7)
        assert torch.equal(chosen[n], boxes[n][order // 7])


def test_centres_lie_in_the_middle_of_their_cells() -> None:
    assert centres(1, 3, 8).tolist() == [[4.0, 4.0], [12.0, 4.0], [20.0, 4.0]]


def test_groups_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="divide the width 16"):
        DenseConfig(classes=("a",), pyramid=SMALL, groups=5)


@pytest.mark.parametrize(
    ("pyramid", "message"),
    [
        (PyramidConfig(backbone="no-such-net"), "no-such-net"),
        (PyramidConfig(options={"no_such_option": 1}), "timm cannot make"),
        (PyramidConfig(strides=(8, 16, 64)), "lacks strides"),
    ],
)
def test_a_backbone_that_cannot_serve_is_refused(pyramid: PyramidConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DenseDetector(DenseConfig(classes=("a",), pyramid=pyramid))
