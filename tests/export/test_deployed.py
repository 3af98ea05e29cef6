"""Which models can leave PyTorch, and by which route."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from xedge_export.contract import Stage
from xedge_export.dense import DeployedDense
from xedge_export.deployed import ROUTES, deploy
from xedge_export.doam import DeployedDOAM

from xedge.errors import ExportError
from xedge.models.base import Detector
from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.doam import DOAM, DOAMConfig
from xedge.models.pyramid import PyramidConfig
from xedge.models.ssd import SSD
from xedge.models.yolov3 import YOLOv3
from xedge.spec import Channels, Kind, ModelSpec
from xedge.train.systems import SYSTEMS

OPTIONS = {"channels": [8, 8, 16, 16], "stem_width": 8}
CONFIG = DenseConfig(
    classes=("gun", "knife"), pyramid=PyramidConfig(options=OPTIONS, width=16), groups=4
)
SPEC = ModelSpec(
    name="m", classes=("gun", "knife"), height=64, width=64, channels=Channels.DUAL_ENERGY,
    binning=4, pixel_mm=1.0, candidates=20,
)  # fmt: skip


def test_every_detector_that_can_be_trained_has_a_route() -> None:
    built = {system.build for system in SYSTEMS.values() if system.kind is Kind.DETECTOR}
    assert built == {DenseDetector, SSD, YOLOv3}
    assert built <= set(ROUTES)


def test_a_model_without_a_route_is_refused_by_name() -> None:
    class Other(Detector):
        def forward(self, planes: Tensor) -> Any:
            return planes

        def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
            return outputs, outputs

    with pytest.raises(ExportError, match=r"expected one of .*DenseDetector.*found Other"):
        deploy(Other(), SPEC)


@pytest.mark.parametrize(
    ("label_aware", "asked", "stage"),
    [
        (True, Stage.REFINED, "refined"),
        (True, Stage.FIRST_PASS, "first-pass"),
        (False, Stage.REFINED, "first-pass"),
    ],
)
def test_the_stage_is_what_was_asked_for_where_the_model_has_it(
    label_aware: bool, asked: Stage, stage: str
) -> None:
    module, spec = deploy(DenseDetector(replace(CONFIG, label_aware=label_aware)), SPEC, asked)
    assert isinstance(module, DeployedDense)
    assert spec == replace(SPEC, stage=stage)


def test_mechanisms_are_replaced_in_a_copy() -> None:
    model = DenseDetector(replace(CONFIG, doam=DOAMConfig()))
    module, _ = deploy(model, SPEC)
    assert isinstance(module, DeployedDense)
    assert isinstance(model.pyramid.trunk.doam, DOAM)
    assert isinstance(module.pyramid.trunk.doam, DeployedDOAM)
    assert module.pyramid.trunk.backbone is not model.pyramid.trunk.backbone


def test_the_module_gives_what_the_contract_wants() -> None:
    module, _ = deploy(DenseDetector(CONFIG), SPEC)
    with torch.no_grad():
        boxes, scores, labels = module(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert (boxes.shape, scores.shape, labels.shape) == ((1, 20, 4), (1, 20), (1, 20))
    assert labels.dtype == torch.int32
