"""The detector that comes back out of a bundle is the one that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from xedge_export.label_aware import UnrolledLabelAware
from xedge_export.parity import check_parity, with_labels_exposed
from xedge_export.restore import model_from_bundle
from xedge_export.to_onnx import Exported, export_model

from xedge.bundle import Bundle, Tolerance, Variant, open_bundle
from xedge.engines import load
from xedge.errors import ExportError
from xedge.models.dense import DenseDetector
from xedge.models.label_aware import misleading_label, one_hot_argmax
from xedge.sim.bags import BagConfig
from xedge.train.bags import simulate, window
from xedge.train.checkpoint import Checkpoint, load_checkpoint
from xedge.train.recipe import parse_recipe


def bundle_of(exported: Exported, recipe: str) -> Bundle:
    counts = np.zeros((1, 1), np.uint16)
    variant = Variant(exported.model, {}, Tolerance())
    return Bundle(
        spec=exported.spec,
        variants={"fp32": variant},
        golden_low=counts,
        golden_high=counts,
        licence="",
        recipe=recipe,
        measured={},
        created="2026-01-01",
        sha256="",
        verified=False,
    )


def unsettled(model: DenseDetector) -> DenseDetector:
    """The detector with every statistic and affine drawn, as training leaves them."""
    generator = torch.Generator().manual_seed(8)

    def draw(value: torch.Tensor, low: float, high: float) -> None:
        value.copy_(torch.rand(value.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        draw(model.head.level_scale, 0.8, 1.2)
        for module in model.modules():
            if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.GroupNorm)):
                draw(module.weight, 0.5, 1.5)
                draw(module.bias, -0.5, 0.5)
            if isinstance(module, torch.nn.BatchNorm2d):
                draw(module.running_mean, -1, 1)
                draw(module.running_var, 0.5, 2)
    return model.eval()


def test_a_restored_detector_answers_as_the_trained_one(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint, _ = load_checkpoint(tiny_checkpoint)
    trained = unsettled(checkpoint.model())
    path = tmp_path / "drawn.ckpt"
    Checkpoint(checkpoint.recipe_text, trained.state_dict(), {}, "0").save(path)
    restored = model_from_bundle(bundle_of(export_model(path), checkpoint.recipe_text))
    planes = torch.randint(0, 256, (1, 3, 96, 128), dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = restored(planes)[0], trained(planes)[0]
    for mine, its in zip(ours, theirs, strict=True):
        for a, b in zip(mine, its, strict=True):
            # A batch norm folded into its convolution rounds once more a layer, twenty layers.
            assert (a - b).abs().max() < 1e-5 * max(b.abs().max().item(), 1.0)


def test_a_graph_of_another_recipe_is_refused(tiny_checkpoint: Path) -> None:
    exported = export_model(tiny_checkpoint)
    other = exported.checkpoint.recipe_text.replace("depth = 2", "depth = 3")
    assert other != exported.checkpoint.recipe_text
    with pytest.raises(ExportError, match="not that of its recipe"):
        model_from_bundle(bundle_of(exported, other))


def test_what_cannot_be_read_back_is_refused(tiny_checkpoint: Path) -> None:
    exported = export_model(tiny_checkpoint)
    for text in (
        exported.checkpoint.recipe_text.replace("[data]", "[model.doam]\n[data]"),
        'name = "a"\nsystem = "ssd"\n[model]\nclasses = ["gun"]\n',
    ):
        with pytest.raises(ExportError, match="cannot be read back out of its graph"):
            model_from_bundle(bundle_of(exported, text))


def shipped_parity(engine: str, bags: int) -> None:
    bundle = open_bundle()
    data, exposed = with_labels_exposed(bundle.model())
    config = parse_recipe(bundle.recipe).data
    runner = load(data, engine)
    windows = (
        window(simulate(seed, config.binning, BagConfig(clean=0.0)), 0, config).planes
        for seed in range(6_000_000, 6_000_000 + bags)
    )
    report = check_parity(model_from_bundle(bundle), bundle.spec, runner, exposed, windows)
    runner.close()
    print(engine, report)  # noqa: T201  the figures are the point; shown by `pytest -rP`
    assert report.holds, report


def test_the_shipped_bundle_is_at_parity_with_autograd() -> None:
    shipped_parity("onnxruntime", 3)


def test_the_shipped_gradients_are_those_of_autograd() -> None:
    """With the oracle's one-hots. The update is small, so detections alone would not show it."""
    bundle = open_bundle()
    model = model_from_bundle(bundle)
    data = parse_recipe(bundle.recipe).data
    planes = window(simulate(6_000_000, data.binning, BagConfig(clean=0.0)), 0, data).planes
    with torch.no_grad():
        features = model.pyramid(torch.from_numpy(planes[None]))
    unrolled = UnrolledLabelAware(model.head, 0)
    for x in features:
        leaf = x.detach().requires_grad_()
        scores = model.head.classify(leaf).sigmoid()
        first = one_hot_argmax(scores.detach())
        second = misleading_label(scores.detach(), first)
        oracle = [
            torch.autograd.grad((scores * label).sum(), leaf, retain_graph=True)[0]
            for label in (first, second)
        ]
        with torch.no_grad():
            found = unrolled.gradients(*unrolled.first_pass(x), [first, second])
        for mine, its in zip(found, oracle, strict=True):
            assert mine is not None
            # float32 has 6e-8; sums over 2,704 locations and three layers cost some three digits.
            assert its.abs().max() > 0
            assert (mine - its).abs().max() < 1e-4 * its.abs().max()


@pytest.mark.full
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_shipped_bundle_is_at_parity_with_autograd_on_fifty_bags(engine: str) -> None:
    shipped_parity(engine, 50)
