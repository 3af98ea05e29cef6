"""Maps that explain what a trained model answers: where it looks, and what speaks for a class.

All are of one picture, and in the model's own numbers: nothing is stretched to 0..1 here, so that
maps of two pictures or two models can be compared. A map shows what a number hangs on; it does not
say that the model is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn
from torchvision.ops import box_iou

from xedge.errors import ConfigError, InputError
from xedge.models.base import Classifier, Detector
from xedge.models.dense import DenseOutput
from xedge.models.levels import LevelsOutput
from xedge.models.ssd import SSD
from xedge.models.trunk import Trunk
from xedge.types import F32, U8

SAME_BOX: Final = 0.6
"""From this IoU on two boxes of one class are one object: what non-maximum suppression keeps."""


@dataclass(frozen=True, eq=False)
class UpdateMaps:
    """LA's update w at one level, over its F channels (`xedge.models.label_aware.Update`).

    Attributes:
        size: Mean of ``|w|``, float32 ``[h, w]``, 0 or more: how much the features change.
        lean: Mean of ``w``, float32 ``[h, w]``: whether they grow or shrink.
    """

    size: F32
    lean: F32


def doam_map(model: Detector | Classifier, planes: Tensor | U8) -> F32 | None:
    """DOAM's attention map M, float32 ``[H, W]`` in 0..1 (equation 8); None without attention.

    Args:
        model: A trained model, in evaluation mode.
        planes: uint8 ``[3, H, W]``, a tensor or an array.
    """
    doam = _trunk(model).doam
    if doam is None or doam.edge_guidance is None:
        return None
    with torch.no_grad():
        return _array(doam.attention(_batch(planes))[0, 0])


def doam_share(model: Detector | Classifier) -> float | None:
    """How much of DOAM's gate is M, its gamma; 1 in the paper's form, None without attention.

    A pixel is multiplied by ``gamma M + (1 - gamma)``: at a gamma near 0 the map does nothing.
    """
    doam = _trunk(model).doam
    if doam is None or doam.edge_guidance is None:
        return None
    return 1.0 if doam.gamma is None else float(doam.gamma.detach())


def label_aware_maps(model: Detector | Classifier, planes: Tensor | U8) -> dict[int, UpdateMaps]:
    """LA's update at each level, its stride in pixels to ``[h, w]``; empty without LA.

    The labels are those of the first pass, as in use (Zhao et al., section IV-D).

    Args:
        model: A trained model, in evaluation mode.
        planes: uint8 ``[3, H, W]``, a tensor or an array; H and W multiples of the coarsest stride.
    """
    with torch.no_grad():
        outputs = model(_batch(planes))
    maps = {}
    for update in outputs.updates if isinstance(outputs, DenseOutput) else ():
        stride = round(planes.shape[-2] / update.weight.shape[-2])
        weight = update.weight[0]
        maps[stride] = UpdateMaps(_array(weight.abs().mean(dim=0)), _array(weight.mean(dim=0)))
    return maps


def attention_maps(model: Detector | Classifier, planes: Tensor | U8) -> dict[str, F32]:
    """SXMNet's attention masks, ``coarse`` and ``fine`` to float32 ``[h, w]`` in 0..1, else none.

    The fine one is what the levels are multiplied by (Hu et al., SXMNet, section 3.2).

    Args:
        model: A trained model, in evaluation mode.
        planes: uint8 ``[3, H, W]``, a tensor or an array.
    """
    with torch.no_grad():
        outputs = model(_batch(planes))
    masks = outputs.attention if isinstance(outputs, LevelsOutput) else ()
    return {name: _array(mask[0, 0]) for name, mask in zip(("coarse", "fine"), masks, strict=False)}


def cam(model: Classifier, planes: Tensor | U8, label: int) -> F32:
    """Class activation map, float32 ``[h, w]`` of any sign, the size of `Classifier.locate`'s.

    ``sum_k w[c, k] F_k`` of Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016: what each place adds to the class's logit, but for the bias and the mean over places.

    Args:
        model: A trained classifier, in evaluation mode.
        planes: uint8 ``[3, H, W]``, a tensor or an array.
        label: The class.

    Raises:
        InputError: When there is no such class.
    """
    _check_label(model, label)
    with torch.no_grad():
        return _array(model.locate(model(_batch(planes)))[0, label])


def grad_cam(
    model: Detector | Classifier,
    planes: Tensor | U8,
    label: int,
    box: F32 | None = None,
    *,
    by_place: bool = False,
) -> F32:
    """Grad-CAM or HiResCAM of one score, float32 ``[h, w]``, 0 or more.

    Grad-CAM is ``ReLU(sum_k a_k F_k)``, where a_k is the mean over places of the gradient g_k of
    the score with respect to F_k (Selvaraju et al., ICCV 2017, equations 1 and 2). HiResCAM,
    ``ReLU(sum_k g_k F_k)``, keeps the gradient's place (Draelos and Carin, arXiv 2011.08891). For
    the score of a single box that matters: its gradient is nearly 0 but around the box, and its
    mean over all places weighs channels that may be strongest anywhere. The score is taken as log
    odds, a sigmoid's logit, which do not fade where it is sure. Computed by Captum.

    F are maps that the trunk hands out: for a classifier the coarsest; for a detector the finest
    that the score hangs on, of SSD as its L2 norm leaves it: before, no place could add anything,
    since a score does not change with the length of what is normalised.

    Args:
        model: A trained model, in evaluation mode.
        planes: uint8 ``[3, H, W]``, a tensor or an array.
        label: The class.
        box: For a detector, x1 y1 x2 y2 in pixels: explains the class's best score among the
            locations whose boxes overlap this one by `SAME_BOX`, else at the one that overlaps it
            most; without one, the class's best score in the picture.
        by_place: HiResCAM instead of Grad-CAM.

    Raises:
        InputError: When there is no such class, or a classifier is asked for a box.
    """
    _check_label(model, label)
    if isinstance(model, Classifier) and box is not None:
        raise InputError(
            "a classifier has no boxes to explain",
            expected="no box",
            found=str(np.asarray(box).tolist()),
        )
    score, image = _score_of(model, label, box), _batch(planes).float()
    values = torch.zeros(1, 1, 1)
    for layer in _layers(model):
        # A box of a coarse level may not hang on a finer map at all.
        absent = {"materialize_grads": True}
        if by_place:
            method = LayerGradientXActivation(score, layer)
            values = method.attribute(image, grad_kwargs=absent).sum(dim=1)
        else:
            values = LayerGradCam(score, layer).attribute(image, grad_kwargs=absent)[:, 0]
        if values.any():
            break
    return _array(values[0].relu())


def _batch(planes: Tensor | U8) -> Tensor:
    """The planes as a batch of one, ``[1, 3, H, W]``."""
    if isinstance(planes, Tensor):
        return planes[None]
    # A copy: torch takes no negative strides, and warns of what is read-only.
    return torch.from_numpy(np.array(planes, order="C"))[None]


def _score_of(
    model: Detector | Classifier, label: int, box: F32 | None
) -> Callable[[Tensor], Tensor]:
    """What answers the log-odds of the explained score, ``[1]``, for planes ``[1, 3, H, W]``."""

    def of_class(planes: Tensor) -> Tensor:
        assert isinstance(model, Classifier)
        return model.scores(model(planes))[:, label].logit()

    def of_box(planes: Tensor) -> Tensor:
        assert isinstance(model, Detector)
        boxes, scores = model.decode(model(planes))
        own = scores[0, :, label]
        at = _location(boxes[0].detach(), own.detach(), box)
        return own[at : at + 1].logit()

    return of_class if isinstance(model, Classifier) else of_box


def _location(boxes: Tensor, scores: Tensor, box: F32 | None) -> int:
    """The location that speaks for a box; ``boxes [A, 4]``, scores ``[A]`` of one class."""
    if box is None:
        return int(scores.argmax())
    overlap = box_iou(boxes, torch.tensor(np.asarray(box, np.float32))[None])[:, 0]
    same = overlap >= min(SAME_BOX, float(overlap.max()))
    return int(torch.where(same, scores, -1.0).argmax())


def _layers(model: Detector | Classifier) -> list[nn.Module]:
    """What gives the maps that a score is explained by, in the order in which they are tried."""
    layers = list(_trunk(model).attention)
    if isinstance(model, Classifier):
        return layers[-1:]
    return [model.norm, *layers[1:]] if isinstance(model, SSD) else layers


def _trunk(model: Detector | Classifier) -> Trunk:
    """The trunk that the model stands on."""
    found = next((m for m in model.modules() if isinstance(m, Trunk)), None)
    if found is None:
        raise ConfigError(
            "this model cannot be explained",
            expected="a model on a trunk",
            found=type(model).__name__,
        )
    return found


def _check_label(model: Detector | Classifier, label: int) -> None:
    classes = model.config.classes
    if not 0 <= label < len(classes):
        raise InputError(
            "the model has no such class",
            expected=f"0..{len(classes) - 1} ({', '.join(classes)})",
            found=str(label),
        )


def _array(values: Tensor) -> F32:
    """The values on the CPU as float32."""
    array: F32 = values.detach().float().cpu().numpy()
    return array
