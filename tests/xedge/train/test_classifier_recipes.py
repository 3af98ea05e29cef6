"""What the recipes of the classifiers promise of each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xedge.models.chr import CHRConfig
from xedge.models.meta_fusion import FusionConfig
from xedge.models.sxmnet import SXMNetConfig
from xedge.train.recipe import Recipe, load_recipe
from xedge.train.schedule import parameter_groups
from xedge.train.systems import SYSTEMS


def recipe(name: str) -> Recipe:
    return load_recipe(Path(name))[0]


def chr_config(name: str) -> CHRConfig:
    config = recipe(name).model
    assert isinstance(config, CHRConfig)
    return config


def sxmnet_config(name: str) -> SXMNetConfig:
    config = recipe(name).model
    assert isinstance(config, SXMNetConfig)
    return config


@pytest.mark.parametrize(
    "stem", ["tiny", "resnet34", "resnet50", "resnet101", "inception-v3", "densenet121"]
)
def test_a_baseline_lacks_chr_and_nothing_else(stem: str) -> None:
    whole, plain = recipe(f"chr-{stem}"), recipe(f"backbone-{stem}")
    assert replace(chr_config(f"chr-{stem}"), hierarchy="none", balance="none") == plain.model
    assert replace(whole, name=plain.name, model=plain.model) == plain


@pytest.mark.parametrize("stem", ["tiny", "resnet101"])
def test_released_and_paper_differ_in_loss_and_output(stem: str) -> None:
    name = "chr-released-tiny" if stem == "tiny" else f"chr-{stem}-released"
    released = replace(chr_config(f"chr-{stem}"), balance="released", output="coarsest")
    assert chr_config(name) == released


@pytest.mark.parametrize("host", ["sxmnet", "pyramid"])
@pytest.mark.parametrize("size", ["tiny", "r50"])
def test_fusions_differ_in_their_kind_alone(host: str, size: str) -> None:
    def named(kind: str) -> str:
        words = [host, size] if size == "r50" else [host]
        words += [kind] * (kind != ("mf-n" if host == "sxmnet" else "mean"))
        return "-".join(words + ["tiny"] * (size == "tiny"))

    kinds = ("mf-n", "mf-i", "mean") + (("gated",) if host == "sxmnet" else ())
    found = {kind: sxmnet_config(named(kind)) for kind in kinds}
    assert {kind: config.fusion.kind for kind, config in found.items()} == {k: k for k in kinds}
    bare = {str(replace(c, fusion=FusionConfig())) for c in found.values()}
    assert len(bare) == 1
    for kind in kinds:
        assert (recipe(named(kind)).before is not None) == (host == "sxmnet")
        assert found[kind].attention == (host == "sxmnet")
        assert found[kind].levels == 3


@pytest.mark.parametrize(
    "name", ["sxmnet-r50", "sxmnet-r50-mean", "pyramid-r50-mf-i", "chr-resnet50-mf-n"]
)
def test_full_size_recipes_build_and_name_layers_that_exist(name: str) -> None:
    found = recipe(name)
    with torch.device("meta"):
        model = SYSTEMS[found.system].bare(found.model)
    groups = parameter_groups(model, found.optim)
    fast = sum(isinstance(m, torch.nn.Linear) for m in model.modules()) if "chr" not in name else 0
    counts = {g["factor"]: 0 for g in groups}
    for group in groups:
        parameters = group["params"]
        assert isinstance(parameters, list)
        counts[group["factor"]] += len(parameters)
    # Weight and bias of every fully connected layer learn five times as fast as the rest.
    assert counts.get(5.0, 0) == 2 * fast


def test_the_papers_values() -> None:
    chr_optim = recipe("chr-resnet101").optim
    assert (chr_optim.optimizer, chr_optim.lr, chr_optim.momentum) == ("sgd", 0.01, 0.9)
    assert (chr_optim.epochs, chr_optim.weight_decay) == (15, 1e-4)
    sxmnet = recipe("sxmnet-r50")
    assert sxmnet.before is not None
    assert (sxmnet.before.epochs, sxmnet.before.lr) == (350, 1e-5)
    assert sxmnet.before.milestones == (100, 200, 300)
    assert (sxmnet.optim.epochs, sxmnet.optim.lr) == (150, 0.02)
    assert sxmnet.optim.lr * sxmnet.optim.lr_factors["heads"] == pytest.approx(0.1)
    assert sxmnet.optim.milestones == (30, 60, 90, 120)
    assert sxmnet.optim.batch == sxmnet.before.batch == 64
    assert sxmnet_config("sxmnet-r50").fusion == FusionConfig(kind="mf-n", weight=0.1, width=256)
    assert recipe("chr-inception-v3").data.height == 299
