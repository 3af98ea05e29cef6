"""The gradient step recorded from autograd: against autograd, the written form, and on engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from xedge_calibration.placement import FORMS, place
from xedge_export import traced
from xedge_export.contract import OUTPUTS
from xedge_export.deployed import deploy
from xedge_export.fp16 import to_fp16
from xedge_export.label_aware import UnrolledLabelAware, has_rule
from xedge_export.parity import check_parity, with_labels_exposed
from xedge_export.passes import finish
from xedge_export.to_onnx import trace
from xedge_export.traced import TracedLabelAware, input_gradient
from xedge_export.verifier import verify

from xedge.engines import load
from xedge.errors import ExportError
from xedge.models.dense import DenseConfig, DenseDetector, DenseHead
from xedge.models.label_aware import Coefficients
from xedge.models.pyramid import PyramidConfig
from xedge.spec import Kind
from xedge.train.checkpoint import load_checkpoint

SIZE = (6, 5)


def config(**changes: object) -> DenseConfig:
    whole = DenseConfig(
        classes=("a", "b", "c"), pyramid=PyramidConfig(width=8), depth=2, groups=4, bins=6
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def drawn(head: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.5 if p.ndim > 1 else 0.3)
                    + (p.ndim == 1) * 0.5)  # fmt: skip


def features(dtype: torch.dtype) -> Tensor:
    return torch.randn(1, 8, *SIZE, generator=torch.Generator().manual_seed(3), dtype=dtype)


REGRESSION = {"label_aware_by": "regression", "coefficients": Coefficients(0.5, 1.0, 0.0)}


@pytest.mark.parametrize("changes", [{}, {"coefficients": Coefficients(1.0, 5.0, 5.0)}, REGRESSION])
def test_the_record_and_the_written_form_are_two_oracles_of_each_other(
    changes: dict[str, Any],
) -> None:
    head = DenseHead(config(**changes)).eval()
    drawn(head)
    assert has_rule(head)
    head, x = head.double(), features(torch.float64)
    recorded = TracedLabelAware(head, 1, tuple(x.shape))
    with torch.no_grad():
        mine, theirs = recorded(x), UnrolledLabelAware(head, 1).double()(x)
        # Another input than the one that was recorded: nothing of it is a constant.
        other = TracedLabelAware(head, 1, (1, 8, 7, 9))(torch.ones(1, 8, 7, 9).double())
    oracle, _ = head.refine(torch.ones(1, 8, 7, 9).double(), 1, None)
    # All end in float32 (`apply_update`): a few roundings of a weight up to 1 + c times x.
    bound = 8 * torch.finfo(torch.float32).eps * 6 * x.abs().max().item()
    assert (mine - theirs).abs().max().item() <= bound
    assert (other - oracle).abs().max().item() <= 8 * torch.finfo(torch.float32).eps * 6


def batch_normed(width: int) -> list[nn.Module]:
    norm = nn.BatchNorm2d(width)
    norm.running_mean, norm.running_var = torch.rand(width), torch.rand(width) + 0.5
    return [nn.Conv2d(width, width, 3, padding=1), norm, nn.SiLU()]


TOWERS: dict[str, Callable[[int], list[nn.Module]]] = {
    "batch norm and SiLU": batch_normed,
    "depthwise": lambda n: [nn.Conv2d(n, n, 5, padding=2, groups=n), nn.Conv2d(n, n, 1), nn.ReLU()],
    "dilated": lambda n: [nn.Conv2d(n, n, 3, padding=2, dilation=2), nn.LeakyReLU(0.1)],
    "grouped, hard swish": lambda n: [nn.Conv2d(n, n, (1, 3), padding=(0, 1), groups=2),
                                      nn.GroupNorm(2, n), nn.Hardswish()],
}  # fmt: skip


@pytest.mark.parametrize("name", TOWERS)
def test_towers_without_a_rule_are_differentiated_as_autograd_does(name: str) -> None:
    head = DenseHead(config())
    head.cls_tower = nn.Sequential(*TOWERS[name](8), *TOWERS[name](8))
    drawn(head, 5)
    head, x = head.eval().double(), features(torch.float64)
    assert not has_rule(head)
    with torch.no_grad():
        found = TracedLabelAware(head, 0, tuple(x.shape))(x)
    oracle, update = head.refine(x, 0, None)
    assert update.weight.abs().max() > 1e-3  # there is something to compare
    bound = 8 * torch.finfo(torch.float32).eps * 2 * x.abs().max().item()
    assert (found - oracle).abs().max().item() <= bound


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "kernel"),
    [((1, 1), (0, 2), (1, 2), 2, (3, 2)), ((2, 3), (1, 0), (1, 1), 1, (3, 3)),
     ((2, 2), (1, 1), (2, 1), 4, (2, 3)), ((1, 1), (1, 1), (1, 1), 4, (3, 3))],
)  # fmt: skip
def test_a_convolutions_input_gradient_is_autograds(
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], groups: int,
    kernel: tuple[int, int],
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 9, 8, generator=generator).double().requires_grad_()
    weight = torch.randn(8, 4 // groups, *kernel, generator=generator).double()
    y = torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups)
    gradient = torch.randn(y.shape, generator=generator).double()
    (oracle,) = torch.autograd.grad(y, x, gradient)
    found, none, _ = input_gradient(gradient, x.detach(), weight, None, stride, padding, dilation,
                                    False, (0, 0), groups, [True, False, False])  # fmt: skip
    assert none is None
    assert found.shape == x.shape
    # float64, sums of at most 72 products of numbers around one.
    assert (found - oracle).abs().max().item() < 1e-12


def test_what_cannot_be_written_down_is_refused() -> None:
    x, w = torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3)
    rest = ((1, 1), (1, 1), (1, 1))
    with pytest.raises(ExportError, match="found a transposed one"):
        input_gradient(x, x, w, None, *rest, True, (0, 0), 1, [True, False, False])
    with pytest.raises(ExportError, match="differentiated by its weights"):
        input_gradient(x, x, w, None, *rest, False, (0, 0), 1, [True, True, False])

    head = DenseHead(config())
    head.cls_tower = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.ReLU())
    with pytest.raises(ExportError, match=r"no engine has: found aten\.avg_pool2d_backward"):
        TracedLabelAware(head, 0, (1, 8, *SIZE))

    class Refuses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum().item() > 0 else -x

    head.cls_tower = nn.Sequential(Refuses())
    with pytest.raises(ExportError, match="cannot be recorded: found "):
        TracedLabelAware(head, 0, (1, 8, *SIZE))
    assert traced.DERIVATIVES


@pytest.mark.full
def test_a_head_without_a_rule_leaves_pytorch_whole(tiny_checkpoint: Path) -> None:
    checkpoint, sha256 = load_checkpoint(tiny_checkpoint)
    model, spec = checkpoint.model(), checkpoint.spec(sha256)
    assert isinstance(model, DenseDetector)
    width = model.config.pyramid.width
    tower: list[nn.Module] = []
    for _ in range(2):
        tower += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.SiLU()]
    model.head.cls_tower = nn.Sequential(*tower)
    drawn(model.head.cls_tower, 2)
    deployed, spec = deploy(model, spec)
    graph = finish(trace(deployed, spec.height, spec.width, OUTPUTS[Kind.DETECTOR]), spec)
    verify(graph)
    data = ir.serde.serialize_model(graph).SerializeToString()
    exposed, names = with_labels_exposed(data)
    assert len(names) == 2 * len(model.config.pyramid.levels)
    generator = torch.Generator().manual_seed(4)
    shape = (3, spec.height, spec.width)
    planes = [torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).numpy()
              for _ in range(2)]  # fmt: skip
    for engine in ("onnxruntime", "openvino"):
        report = check_parity(model.eval(), spec, load(exposed, engine, threads=1), names, planes)
        assert report.holds, report
    # Kernels were turned round before they left, and no copy of a kernel is computed at run time.
    kernels = [n.inputs[1] for n in graph.graph if n.op_type == "Conv"]
    assert all(k is not None and k.const_value is not None for k in kernels)
    # The lower precisions know the step by its name, as they know the written one.
    assert any(n.op_type == "Cast" for n in to_fp16(graph).graph)
    placed = place(graph.graph, FORMS["int8"])
    step = {n.name for n in graph.graph if n.op_type == "Conv" and "/label_aware/" in str(n.name)}
    # Three layers forward and three back, these once for the label and once for the misleading one.
    assert len(step) == 9 * len(model.config.pyramid.levels)
    assert step <= set(placed.floats)
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
