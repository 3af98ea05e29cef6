"""Every system that can be trained: what it is made from, and what it is taught by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from xedge.models.base import Classifier, Detector, ModelConfig
from xedge.models.chr import CHR, CHRConfig
from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.ssd import SSD, SSDConfig
from xedge.models.sxmnet import SXMNet, SXMNetConfig
from xedge.models.trunk import without_fetching
from xedge.models.yolov3 import YOLOv3, YOLOv3Config
from xedge.spec import Kind
from xedge.train.criterion import Criterion, Setting
from xedge.train.losses.atss import atss_criterion
from xedge.train.losses.chr import CHRCriterion
from xedge.train.losses.fcos import fcos_criterion
from xedge.train.losses.paa import PAACriterion
from xedge.train.losses.ssd import SSDCriterion
from xedge.train.losses.sxmnet import SXMNetCriterion
from xedge.train.losses.yolov3 import YOLOv3Criterion


@dataclass(frozen=True)
class System:
    """A host of the papers, with whatever mechanisms its configuration plugs in.

    Attributes:
        config: Type of its table ``[model]``.
        build: Makes the model of such a configuration, weights drawn at random.
        criterion: Makes its criterion for a setting.
        nms_iou: Overlap above which its authors drop the weaker of two boxes of one class.
        kind: What its models say.
    """

    config: type[ModelConfig]
    build: Callable[[Any], Detector | Classifier]
    criterion: Callable[[Setting], Criterion]
    nms_iou: float = 0.6
    kind: Kind = Kind.DETECTOR

    def bare(self, config: ModelConfig) -> Detector | Classifier:
        """The model of such a configuration to load weights into: none are fetched first."""
        return self.build(without_fetching(config))


SYSTEMS: Final[Mapping[str, System]] = MappingProxyType(
    {
        "atss": System(DenseConfig, DenseDetector, atss_criterion),
        "fcos": System(DenseConfig, DenseDetector, fcos_criterion),
        "paa": System(DenseConfig, DenseDetector, PAACriterion),
        "chr": System(CHRConfig, CHR, CHRCriterion, kind=Kind.CLASSIFIER),
        "ssd": System(SSDConfig, SSD, SSDCriterion, nms_iou=0.45),
        "sxmnet": System(SXMNetConfig, SXMNet, SXMNetCriterion, kind=Kind.CLASSIFIER),
        "yolov3": System(YOLOv3Config, YOLOv3, YOLOv3Criterion, nms_iou=0.45),
    }
)
"""Name in a recipe to system."""
