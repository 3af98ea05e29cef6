"""Mechanisms whose forward pass is not what engines take, and the modules that stand for them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from torch import nn

from xedge.models.doam import DOAM
from xedge.models.early_la import EarlyLabelAware
from xedge_export.doam import DeployedDOAM
from xedge_export.early_la import without_norms

Model = TypeVar("Model", bound=nn.Module)

SUBSTITUTES: Final[Mapping[type[nn.Module], Callable[[Any, int, int], nn.Module]]] = (
    MappingProxyType({DOAM: DeployedDOAM, EarlyLabelAware: without_norms})
)
"""Type of a module to what makes its substitute, of the module, height and width of the planes."""


def lowered(model: Model, height: int, width: int) -> Model:
    """A copy of a model for planes of one size, in which every such module is replaced.

    Args:
        model: In evaluation mode; left as it is.
        height: Of the planes.
        width: Of the planes.
    """
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if make := SUBSTITUTES.get(type(child)):
                setattr(parent, name, make(child, height, width).eval())
    return copied
