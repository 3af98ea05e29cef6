from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from xedge.errors import ConfigError, InputError
from xedge.models.doam import DOAM, PARTS, VARIANTS, DOAMConfig, region_means, sobel, stretch

F64 = NDArray[np.float64]
BOTH = pytest.mark.parametrize("variant", VARIANTS)
SOBEL = (((-1, -2, -1), (0, 0, 0), (1, 2, 1)), ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)))


# The reference: NumPy, float64, one image [C, H, W], loops; its weights come from the module.


def slow_sobel(plane: F64) -> F64:
    h, w = plane.shape
    edges = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            for kernel in SOBEL:
                total = 0.0
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        if 0 <= i + di < h and 0 <= j + dj < w:
                            total += kernel[di + 1][dj + 1] * plane[i + di, j + dj]
                edges[i, j] += total**2
    return np.sqrt(edges)


def slow_region_means(x: F64, k: int) -> F64:
    _, h, w = x.shape
    means = np.zeros_like(x)
    for i in range(h):
        for j in range(w):
            top, left = i - i % k, j - j % k
            inside = [
                x[:, m, n]
                for m in range(top, min(top + k, h))
                for n in range(left, min(left + k, w))
            ]
            means[:, i, j] = np.mean(inside, axis=0)
    return means


def array(tensor: Tensor | None) -> F64:
    assert tensor is not None
    return tensor.detach().double().numpy()


def slow_conv(x: F64, conv: nn.Module) -> F64:
    assert isinstance(conv, nn.Conv2d)
    weight = array(conv.weight)
    border = weight.shape[-1] // 2
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (border, border), (border, border)))
    total = np.zeros((len(weight), h, w)) + array(conv.bias)[:, None, None]
    for di in range(weight.shape[2]):
        for dj in range(weight.shape[3]):
            total += np.einsum(
                "oc,chw->ohw", weight[:, :, di, dj], padded[:, di : di + h, dj : dj + w]
            )
    return total


def slow_norm(x: F64, norm: nn.Module) -> F64:
    assert isinstance(norm, nn.BatchNorm2d)
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    shift = array(norm.bias) - scale * array(norm.running_mean)
    return x * scale[:, None, None] + shift[:, None, None]


def slow_layers(x: F64, layers: nn.Sequential) -> F64:
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
        elif isinstance(layer, nn.BatchNorm2d):
            x = slow_norm(x, layer)
        else:
            x = slow_conv(x, layer)
    return x


def slow_sigmoid(x: F64) -> F64:
    return 1 / (1 + np.exp(-x))


def slow_doam(planes: F64, m: DOAM) -> tuple[F64, F64]:
    """Map ``[1, H, W]`` and output ``[4, H, W]`` of planes ``[3, H, W]``."""
    edges = slow_sobel(planes[0])[None]
    stretched = (edges - edges.min()) / (edges.max() - edges.min()) * 255
    p = np.concatenate([planes, stretched])
    assert m.edge_guidance is not None
    features = [slow_layers(edges, m.edge_guidance)]
    released = m.config.variant == "released"
    if m.material is not None:
        ma = m.material
        b1 = slow_layers(p, ma.blocks)
        u = [np.concatenate([b1, slow_region_means(b1, k)]) for k in ma.regions]
        if released:
            assert ma.pairs is not None
            u = [slow_conv(b3, conv) for b3, conv in zip(u, ma.pairs, strict=True)]
        b = np.concatenate(u)
        if ma.gate is not None:
            mask = slow_sigmoid(slow_conv(b, ma.gate.mask))
            b = slow_norm(slow_conv(b, ma.gate.feature) * mask, ma.gate.norm)
        features.insert(0, b)
    attention = slow_sigmoid(slow_conv(np.concatenate(features), m.fuse))
    gamma = array(m.gamma)[0] if released else 1.0
    return attention, gamma * attention * p + (1 - gamma) * p


def doam(variant: str = "released", parts: str = "full", *, gamma: float = 0.6) -> DOAM:
    """A module in evaluation mode whose every parameter and statistic differs from its default."""
    torch.manual_seed(7)
    module = DOAM(DOAMConfig(variant=variant, parts=parts))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 1.5)
    if parts != "edge":
        # A map that is neither 0, 1 nor flat: logits of order one.
        with torch.no_grad():
            module.fuse.weight *= 0.2
    if module.gamma is not None:
        nn.init.constant_(module.gamma, gamma)
    return module.eval()


def image(height: int, width: int, *, n: int = 1, seed: int = 0) -> Tensor:
    """Whole counts 0..255, ``[N, 3, H, W]``, dark and bright areas with noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 200, (n, 3, height // 4 + 1, width // 4 + 1), generator=generator)
    painted = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :height, :width]
    return (painted + torch.randint(0, 56, painted.shape, generator=generator)).float()


@BOTH
@pytest.mark.parametrize("parts", PARTS[1:])
@pytest.mark.parametrize("size", [(17, 23), (30, 31), (4, 9)])
def test_it_equals_the_slow_reference(variant: str, parts: str, size: tuple[int, int]) -> None:
    module, planes = doam(variant, parts), image(*size)
    with torch.no_grad():
        attention, out = module.attention(planes)[0], module(planes)[0]
    true_attention, true_out = slow_doam(planes[0].double().numpy(), module)
    assert true_attention.std() > 0.005  # the map is no constant: the comparison says something
    # About ten layers whose sums, of order 1e3 at first, shrink to logits of order 10: an error of
    # 10 * 10 eps = 1e-5 in the logit, times the sigmoid's slope of at most 1/4. P errs by 1e-4.
    assert np.abs(attention.numpy() - true_attention).max() < 1e-5
    assert np.abs(out.numpy() - true_out).max() < 255 * 1e-5 + 1e-4


def test_the_reference_at_300_is_what_the_released_code_paints() -> None:
    """A fixed grid of 60 x 60, 30 x 30, 20 x 20 means, each painted over k x k pixels."""
    x = torch.rand(1, 2, 300, 300)
    for k, grid in ((5, 60), (10, 30), (15, 20)):
        means = nn.functional.adaptive_avg_pool2d(x, grid)
        assert torch.allclose(
            region_means(x, k), means.repeat_interleave(k, 2).repeat_interleave(k, 3)
        )


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**31 - 1))
@example(1, 1, 15, 0)
@example(40, 16, 15, 0)
@settings(max_examples=25, deadline=None)
def test_regions_are_averaged_at_any_size(height: int, width: int, side: int, seed: int) -> None:
    x = torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(seed))
    means = region_means(x, side)
    assert means.shape == x.shape
    for one, true in zip(means, x, strict=True):
        # A float32 sum of up to 1600 values below 1, divided: 1600 eps at worst.
        assert np.abs(one.numpy() - slow_region_means(true.double().numpy(), side)).max() < 1e-4


def test_no_side_of_a_region_paints_the_neighbour() -> None:
    x = torch.arange(64.0).repeat_interleave(1)
    for side in range(1, 65):
        row = x.repeat_interleave(side)[None, None, None]
        assert torch.equal(region_means(row.expand(1, 1, side, -1), side)[0, 0, 0], row[0, 0, 0])


@given(st.integers(1, 33), st.integers(1, 33), st.integers(0, 2**31 - 1))
@example(1, 1, 0)
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("variant", VARIANTS)
def test_any_size_keeps_its_shape_and_is_finite(
    variant: str, height: int, width: int, seed: int
) -> None:
    module, planes = doam(variant), image(height, width, n=2, seed=seed)
    with torch.no_grad():
        out, attention = module(planes), module.attention(planes)
    assert out.shape == (2, 4, height, width)
    assert attention.shape == (2, 1, height, width)
    assert out.isfinite().all()
    assert attention.min() >= 0
    assert attention.max() <= 1


def test_edges_are_those_of_the_first_plane_and_exact_for_whole_counts() -> None:
    planes = image(9, 14)
    planes[0, 0, :3, :3] = torch.tensor([[0.0, 0, 0], [0, 0, 0], [255, 255, 255]])
    edges = sobel(planes[:, :1])
    true = slow_sobel(planes[0, 0].double().numpy())
    assert edges.max() > 1000
    # The root may err by one unit in the last place, 2^-13 above 1024: 0.35 in the square.
    assert np.array_equal(edges[0, 0].double().square().round().numpy(), (true**2).round())
    assert (true == 0).any()
    assert edges.min() < 1.1e-6
    with torch.no_grad():
        p = doam(parts="edge")(planes)
    assert torch.equal(p[:, :3], planes)
    assert torch.equal(p[:, 3:], stretch(edges, 0.01))
    assert (p[:, 3].min(), p[:, 3].max()) == (0, 255)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_edge_image_alone(dtype: torch.dtype) -> None:
    planes = image(32, 20)
    planes[..., 16:, :] = 255
    planes[..., :16, :] = 0
    module = doam()
    edges_only = doam(parts="edge")
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        edges, p = sobel(planes[:, :1]), edges_only(planes)
        out, attention = module(planes), module.attention(planes)
    assert edges.dtype == out.dtype == attention.dtype == torch.float32
    assert torch.equal(edges, sobel(planes[:, :1]))
    assert edges.max() > 1000  # its square, 1e6, would be infinite in half precision
    assert torch.equal(p, edges_only(planes))
    assert out.isfinite().all()
    with torch.no_grad():
        # The branches do run in the 16-bit format; a dozen layers of eps(bf16) = 8e-3.
        assert (attention - module.attention(planes)).abs().max() < 0.1


def test_sobel_takes_half_precision_planes_without_overflow() -> None:
    planes = torch.tensor([[0.0] * 4, [255.0] * 4, [255.0] * 4])[None, None]
    assert torch.equal(sobel(planes.half()), sobel(planes))


@BOTH
@pytest.mark.parametrize("value", [0.0, 255.0])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (12, 7)])
def test_a_flat_image_is_finite_and_so_are_its_gradients(
    variant: str, value: float, size: tuple[int, int]
) -> None:
    module = doam(variant)
    planes = torch.full((1, 3, *size), value, requires_grad=True)
    out = module(planes)
    out.sum().backward()
    assert out.isfinite().all()
    assert planes.grad is not None
    assert planes.grad.isfinite().all()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_noise_below_eps_is_not_stretched_to_full_contrast() -> None:
    edges = 1000 + torch.tensor([0.0, 0.001]).reshape(1, 1, 1, 2)
    assert stretch(edges, 0.01).max() < 0.12 * 255
    assert stretch(edges, 1e-6).max() == 255


@BOTH
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(variant: str) -> None:
    module, planes = doam(variant), image(21, 18, n=3)
    planes[1] *= 0.1
    planes[2] = 0
    with torch.no_grad():
        together = module(planes)
        alone = torch.cat([module(one[None]) for one in planes])
    # The same sums in an order that may differ with the batch.
    assert (together - alone).abs().max() < 1e-3


@pytest.mark.parametrize("parts", PARTS)
def test_the_released_module_starts_as_the_identity(parts: str) -> None:
    module, planes = DOAM(DOAMConfig(parts=parts)), image(16, 13, n=2)
    out = module(planes)
    assert torch.equal(out, doam(parts="edge")(planes))
    if parts != "edge":
        assert module.gamma is not None
        assert module.gamma.item() == 0
        out.square().mean().backward()
        assert module.gamma.grad is not None
        assert module.gamma.grad.abs() > 0  # it can leave zero


@BOTH
def test_every_parameter_learns_once_gamma_has_left_zero(variant: str) -> None:
    module = doam(variant).train()
    module(image(16, 13, n=2)).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        # A bias before BatchNorm cannot matter.
        if variant == "released" or "bias" not in name:
            assert parameter.grad.abs().max() > 0, name


EG, MA, PAIR, GATE, NORM = 4_801, 11_888, 1_160, 3_472, 16


@pytest.mark.parametrize(
    ("variant", "parts", "count"),
    [
        ("released", "edge", 0),
        ("released", "eg", EG + 10 + 1),
        ("released", "eg+ma-no-gate", EG + MA + PAIR + 82 + 1),
        ("released", "full", 23_740),
        ("paper", "edge", 0),
        # BatchNorm: two per channel; fuse 1x1.
        ("paper", "eg", EG + 2 * 49 + 2),
        ("paper", "eg+ma-no-gate", EG + 2 * 49 + MA + 2 * 80 + (17 + 1)),
        ("paper", "full", EG + 2 * 49 + MA + 2 * 80 + 2 * (48 * 8 * 9 + 8) + NORM + (9 + 1)),
    ],
)
def test_parameters_and_shape_of_each_part(variant: str, parts: str, count: int) -> None:
    module = DOAM(DOAMConfig(variant=variant, parts=parts))
    assert sum(p.numel() for p in module.parameters()) == count
    assert module(image(11, 16, n=2)).shape == (2, DOAM.channels_out, 11, 16)


def test_the_released_sum_is_that_of_its_parts() -> None:
    assert EG + MA + 3 * PAIR + GATE + NORM + 82 + 1 == 23_740


def test_regions_are_a_choice() -> None:
    module = DOAM(DOAMConfig(regions=(8, 32)))
    assert module.material is not None
    assert module.material.regions == (8, 32)
    assert module(image(20, 20, n=2)).shape == (2, 4, 20, 20)


@BOTH
def test_it_leaves_pytorch_as_a_static_graph(variant: str) -> None:
    module, planes = doam(variant), image(18, 25)
    program = torch.export.export(module, (planes,))
    with torch.no_grad():
        assert torch.allclose(program.module()(planes), module(planes))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"variant": "published"}, "released, paper.*'published'"),
        ({"parts": "ma"}, "edge, eg, eg\\+ma-no-gate, full.*'ma'"),
        ({"regions": ()}, "regions"),
        ({"regions": (5, 0)}, "regions"),
        ({"regions": (5, 5)}, "regions"),
        ({"ungated_region": 0}, "ungated_region 0"),
        ({"eps": 0.0}, "eps"),
        ({"eps": float("nan")}, "eps"),
    ],
)
def test_what_cannot_be_built_says_so(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DOAMConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 1, 8, 8), (3, 8, 8)])
def test_another_number_of_planes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="3, H, W"):
        doam()(torch.zeros(shape))


def test_bytes_are_taken_as_they_are() -> None:
    planes = image(9, 9)
    with torch.no_grad():
        assert torch.equal(doam()(planes.byte()), doam()(planes))


def test_without_attention_there_is_no_map() -> None:
    with pytest.raises(ConfigError, match="no attention map"):
        doam(parts="edge").attention(image(8, 8))
