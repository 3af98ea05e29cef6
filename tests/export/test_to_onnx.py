"""An exported detector on real engines, against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from xedge_export.contract import Stage
from xedge_export.dense import DeployedDense
from xedge_export.to_onnx import Exported, export_model, trace

from xedge.engines import load
from xedge.errors import AutogradInGraph, ConfigError, ExportError
from xedge.spec import METADATA_KEY, ModelSpec
from xedge.train.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def refined(tiny_checkpoint: Path) -> Exported:
    return export_model(tiny_checkpoint)


def planes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 96, 128), dtype=np.uint8)


def test_the_graph_names_what_it_takes_gives_and_comes_from(
    refined: Exported, tiny_checkpoint: Path
) -> None:
    model = onnx.load_model_from_string(refined.model)
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["planes"]
    assert [o.name for o in model.graph.output] == ["boxes", "scores", "labels"]
    (prop,) = [p for p in model.metadata_props if p.key == METADATA_KEY]
    spec = ModelSpec.from_json(prop.value)
    assert spec == refined.spec
    assert spec.parents["checkpoint"] == load_checkpoint(tiny_checkpoint)[1]
    assert spec.stage == "refined"
    assert spec.candidates == 200


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("stage", list(Stage))
def test_an_engine_gives_what_pytorch_gives(tiny_checkpoint: Path, name: str, stage: Stage) -> None:
    exported = export_model(tiny_checkpoint, stage)
    checkpoint, _ = load_checkpoint(tiny_checkpoint)
    module = DeployedDense(checkpoint.model(), stage, exported.spec.candidates, (96, 128))
    engine = load(exported.model, name, threads=1)
    x = planes(1)
    answer = engine.run({"planes": x})
    with torch.no_grad():
        boxes, scores, labels = (t.numpy() for t in module(torch.from_numpy(x)))
    # Scores differ by rounding through some forty layers: 1e-5 is a hundred float32 steps.
    assert np.abs(answer["scores"] - scores).max() < 1e-5
    # Ties may come in another order, so rows are compared as a set of (label, box, score).
    mine = {(int(c), *np.rint(b * 4).astype(int)) for c, b in zip(labels[0], boxes[0], strict=True)}
    theirs = {
        (int(c), *np.rint(b * 4).astype(int))
        for c, b in zip(answer["labels"][0], answer["boxes"][0], strict=True)
    }
    assert len(mine & theirs) > 0.9 * len(mine)
    engine.close()


def test_the_refined_stage_really_refines(tiny_checkpoint: Path, refined: Exported) -> None:
    first = export_model(tiny_checkpoint, Stage.FIRST_PASS)
    x = planes(2)
    scores = [
        load(e.model, "onnxruntime", threads=1).run({"planes": x})["scores"]
        for e in (refined, first)
    ]
    assert np.abs(scores[0] - scores[1]).max() > 1e-5
    assert first.nodes < refined.nodes


def test_autograd_left_in_is_refused_with_the_remedy(tiny_checkpoint: Path) -> None:
    model = load_checkpoint(tiny_checkpoint)[0].model()
    with pytest.raises(AutogradInGraph, match="xedge export"):
        trace(model, 96, 128)


def test_a_module_that_cannot_be_traced_is_an_export_error() -> None:
    class Bad(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.float().mean() > 3 else x + 1

    with pytest.raises(ExportError, match="cannot trace"):
        trace(Bad(), 8, 8)


def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no checkpoint"):
        export_model(tmp_path / "none.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"PK not a checkpoint")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        export_model(tmp_path / "bad.ckpt")


def test_the_same_checkpoint_exports_to_the_same_bytes(
    refined: Exported, tiny_checkpoint: Path
) -> None:
    assert export_model(tiny_checkpoint).model == refined.model
