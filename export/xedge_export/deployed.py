"""Models as they leave PyTorch: planes in, the outputs of the contract out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from xedge.errors import ExportError
from xedge.models.base import Classifier, Detector
from xedge.models.dense import DenseDetector
from xedge.spec import ModelSpec
from xedge_export.contract import Stage
from xedge_export.dense import DeployedDense


@dataclass(frozen=True)
class Route:
    """How models of one type leave PyTorch.

    Attributes:
        deploy: Makes the module to trace, of a model in evaluation mode and its description: uint8
            planes ``[1, 3, H, W]`` to the outputs of `OUTPUTS`, in that order.
        refines: Whether a model has a label-aware step; without, its only stage is the first pass.
    """

    deploy: Callable[[Any, ModelSpec], nn.Module]
    refines: Callable[[Any], bool] = lambda model: False


def deploy_dense(model: DenseDetector, spec: ModelSpec) -> nn.Module:
    """The module to trace of a model on the dense head."""
    return DeployedDense(deployable(model), Stage(spec.stage), spec.candidates)


def _refines(model: DenseDetector) -> bool:
    return model.config.label_aware


ROUTES: Final[Mapping[type[Detector | Classifier], Route]] = MappingProxyType(
    {DenseDetector: Route(deploy_dense, _refines)}
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
    return way.deploy(model.eval(), spec).eval(), spec


def deployable(model: Detector | Classifier) -> DenseDetector:
    """The model, when it is of a kind that can be exported.

    Raises:
        ExportError: When it is not.
    """
    if not isinstance(model, DenseDetector):
        raise ExportError(
            "this kind of model cannot be exported yet",
            expected="a model on the dense head (system atss)",
            found=type(model).__name__,
        )
    config = model.config
    if config.doam is not None:
        raise ExportError(
            "DOAM cannot be exported yet: its gate ends in a normalisation that no engine folds",
            expected="a model without a table model.doam",
            found=f"variant {config.doam.variant!r}, parts {config.doam.parts!r}",
        )
    unrolled = not config.label_aware or config.label_aware_by == "class"
    if (config.regression, config.quality, unrolled) != ("distribution", "statistics", True):
        raise ExportError(
            "this form of the dense head cannot be exported yet",
            expected='regression = "distribution", quality = "statistics", LA by "class" or none',
            found=f'regression = "{config.regression}", quality = "{config.quality}", LA '
            + (f'by "{config.label_aware_by}"' if config.label_aware else "off"),
        )
    return model
