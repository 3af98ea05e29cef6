"""Models as they leave PyTorch: planes in, the outputs of the contract out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from xedge.errors import ExportError
from xedge.models.base import Classifier, Detector
from xedge.models.chr import CHR
from xedge.models.dense import DenseDetector
from xedge.models.ssd import SSD
from xedge.models.sxmnet import SXMNet
from xedge.models.yolov3 import YOLOv3
from xedge.spec import ModelSpec
from xedge_export.classified import DeployedClassifier
from xedge_export.contract import Stage
from xedge_export.dense import DeployedDense
from xedge_export.priors import DeployedPriors
from xedge_export.substitutes import lowered


@dataclass(frozen=True)
class Route:
    """How models of one type leave PyTorch.

    Attributes:
        deploy: Makes the module to trace, of a model that `lowered` gave and its description:
            uint8 planes ``[1, 3, H, W]`` to the outputs of `OUTPUTS`, in that order.
        refines: Whether a model has a label-aware step; without, its only stage is the first pass.
    """

    deploy: Callable[[Any, ModelSpec], nn.Module]
    refines: Callable[[Any], bool] = lambda model: False


def _dense(model: DenseDetector, spec: ModelSpec) -> nn.Module:
    return DeployedDense(model, Stage(spec.stage), spec.candidates, (spec.height, spec.width))


def _priors(model: SSD | YOLOv3, spec: ModelSpec) -> nn.Module:
    return DeployedPriors(model, spec.candidates)


def _classifier(model: Classifier, spec: ModelSpec) -> nn.Module:
    return DeployedClassifier(model)


ROUTES: Final[Mapping[type[Detector | Classifier], Route]] = MappingProxyType(
    {
        DenseDetector: Route(_dense, lambda model: bool(model.config.label_aware)),
        SSD: Route(_priors),
        YOLOv3: Route(_priors),
        CHR: Route(_classifier),
        SXMNet: Route(_classifier),
    }
)
"""Type of a model to its route."""


def route(model: Detector | Classifier) -> Route:
    """The way out of PyTorch for a model.

    Raises:
        ExportError: When there is none.
    """
    found = ROUTES.get(type(model))
    if found is None:
        raise ExportError(
            "this kind of model cannot be exported yet",
            expected=f"one of {', '.join(kind.__name__ for kind in ROUTES)}",
            found=type(model).__name__,
        )
    return found


def deploy(
    model: Detector | Classifier, spec: ModelSpec, stage: Stage = Stage.REFINED
) -> tuple[nn.Module, ModelSpec]:
    """The module to trace, and the description that goes with it.

    Args:
        model: A trained model.
        spec: Its description.
        stage: With LA's refinement where the model has it, or the first pass alone.

    Raises:
        ExportError: When the model cannot be exported.
    """
    way = route(model)
    if not way.refines(model):
        stage = Stage.FIRST_PASS
    spec = replace(spec, stage=stage.value)
    return way.deploy(lowered(model.eval(), spec.height, spec.width), spec).eval(), spec
