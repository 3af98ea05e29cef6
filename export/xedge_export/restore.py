"""The PyTorch detector inside a bundle, so that a shipped graph can be held against autograd.

A bundle ships no checkpoint, but its graph holds every weight and its recipe the architecture.
Modules are matched to nodes by the order in which they run; batch norms come back folded into
their convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from xedge.bundle import Bundle
from xedge.errors import ExportError
from xedge.models.dense import DenseDetector
from xedge.train.recipe import parse_recipe
from xedge.train.systems import SYSTEMS
from xedge_export.contract import Stage, example_planes
from xedge_export.dense import DeployedDense


def model_from_bundle(bundle: Bundle) -> DenseDetector:
    """The detector of a bundle in PyTorch, in evaluation mode.

    Raises:
        ExportError: When the graph is not one that `export_model` makes of the bundle's recipe.
        ConfigError: When the bundle holds no recipe that can be used.
    """
    graph = ir.serde.deserialize_model(onnx.load_model_from_string(bundle.model())).graph
    recipe = parse_recipe(bundle.recipe)
    model = SYSTEMS[recipe.system].bare(recipe.model).eval()
    if not isinstance(model, DenseDetector) or model.config.doam is not None:
        raise ExportError(
            "the weights of this kind of model cannot be read back out of its graph",
            expected="a model on the dense head, without DOAM",
            found=f"system {recipe.system!r}",
            remedy="Use its checkpoint",
        )
    drop_batch_norms(model.pyramid.trunk.backbone)
    spec = bundle.spec
    size = (spec.height, spec.width)
    deployed = DeployedDense(model, Stage(spec.stage), spec.candidates, size)
    ran = _order_of_calls(deployed, *size)
    convolutions = [n for n in graph if n.op_type == "Conv" and not _is_adjoint(n)]
    norms = [n for n in graph if n.op_type == "InstanceNormalization"]
    _fill(convolutions, [m for m in ran if isinstance(m, nn.Conv2d)], _constants)
    _fill(norms, [m for m in ran if isinstance(m, nn.GroupNorm)], _affine_values)
    for index, level in enumerate(deployed.levels):
        (scale,) = graph.node(f"{level}/head/reg/Conv").outputs[0].consumers()
        with torch.no_grad():
            model.head.level_scale[index] = _constants(scale)[0].item()
    return model


def drop_batch_norms(backbone: nn.Module) -> None:
    """Replace each batch norm by its activation, and let every convolution have a bias."""
    for name, child in list(backbone.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            # timm's own norms may carry an activation with them.
            setattr(backbone, name, getattr(child, "act", nn.Identity()))
        elif isinstance(child, nn.Conv2d):
            if child.bias is None:
                child.bias = nn.Parameter(torch.zeros(child.out_channels))
        else:
            drop_batch_norms(child)


def _is_adjoint(node: ir.Node) -> bool:
    name = node.name or ""
    return "/backward/" in name or name.endswith("/label_aware/Conv")


def _order_of_calls(module: nn.Module, height: int, width: int) -> list[nn.Module]:
    """Convolutions and group norms in the order of their calls, repeats included."""
    ran: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda m, *_: ran.append(m))
        for m in set(module.modules())
        if isinstance(m, (nn.Conv2d, nn.GroupNorm))
    ]
    with torch.no_grad():
        module(example_planes(height, width))
    for hook in hooks:
        hook.remove()
    return ran


def _constants(node: ir.Node) -> list[Tensor]:
    found = [v.const_value for v in node.inputs if v is not None and v.const_value is not None]
    return [torch.from_numpy(np.array(t.numpy())) for t in found]


def _affine_values(node: ir.Node) -> list[Tensor]:
    """Weight and bias of a group norm: the Mul and the Add after its InstanceNormalization."""
    values: list[Tensor] = []
    while len(values) < 2:
        (node,) = node.outputs[0].consumers()
        if node.op_type in ("Mul", "Add"):
            values.append(_constants(node)[0].flatten())
    return values


def _fill(
    nodes: list[ir.Node],
    modules: Sequence[nn.Conv2d | nn.GroupNorm],
    values_of: Callable[[ir.Node], list[Tensor]],
) -> None:
    if len(nodes) != len(modules):
        raise ExportError(
            "the bundle's graph is not that of its recipe",
            expected=f"{len(modules)} layers",
            found=str(len(nodes)),
            remedy="Use the version of xedge that exported it",
        )
    for node, module in zip(nodes, modules, strict=True):
        own = [p for p in (module.weight, module.bias) if p is not None]
        given = values_of(node)
        for parameter, value in zip(own, given, strict=False):
            if parameter.shape != value.shape:
                raise ExportError(f"{node.name} does not fit its module", found=str(value.shape))
            with torch.no_grad():
                parameter.copy_(value)
