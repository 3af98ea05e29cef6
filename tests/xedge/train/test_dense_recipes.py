"""What the recipes of the dense hosts promise of each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.label_aware import Coefficients
from xedge.train.recipe import Recipe, load_recipe


def recipe(name: str) -> Recipe:
    return load_recipe(Path(name))[0]


def model_config(name: str) -> DenseConfig:
    config = recipe(name).model
    assert isinstance(config, DenseConfig)
    return config


def shapes(config: DenseConfig) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in DenseDetector(config).named_parameters()}


@pytest.mark.parametrize(
    ("with_la", "without"),
    [
        ("atss-lacls-tiny", "atss-tiny"),
        ("atss-lacls-0-2-0-tiny", "atss-tiny"),
        ("atss-lareg-tiny", "atss-tiny"),
        ("fcos-lacls-tiny", "fcos-tiny"),
        ("paa-lacls-tiny", "paa-tiny"),
    ],
)
def test_la_is_the_only_difference_of_a_pair(with_la: str, without: str) -> None:
    ours, plain = recipe(with_la), recipe(without)
    on, off = model_config(with_la), model_config(without)
    assert on.label_aware
    assert not off.label_aware
    assert (
        replace(
            on,
            label_aware=False,
            label_aware_by=off.label_aware_by,
            coefficients=off.coefficients,
        )
        == off
    )
    assert replace(ours, name=plain.name, model=plain.model) == plain
    assert shapes(on) == shapes(off)


def test_the_early_version_adds_its_own_weights_only() -> None:
    on, off = shapes(model_config("atss-early-la-tiny")), shapes(model_config("atss-tiny"))
    assert {n: s for n, s in on.items() if not n.startswith("head.early.")} == off
    assert len(on) > len(off)


def test_coefficients_are_those_of_the_paper_and_leave_an_idle_la_the_identity() -> None:
    found = {
        name: model_config(f"{name}-tiny").coefficients
        for name in ("atss-lacls", "atss-lacls-0-2-0", "atss-lacls-05-1-0", "atss-lacls-15-0-1",
                     "atss-lareg", "fcos-lacls", "paa-lacls")
    }  # fmt: skip
    assert list(found.values()) == [
        Coefficients(1.0, 1.0, 1.0),
        Coefficients(0.0, 2.0, 0.0),
        Coefficients(0.5, 1.0, 0.0),
        Coefficients(1.5, 0.0, 1.0),
        Coefficients(0.5, 1.0, 0.0),
        Coefficients(1.0, 5.0, 5.0),
        Coefficients(1.0, 1.0, 1.0),
    ]
    assert {k.a + k.b / 2 - k.c / 2 for k in found.values()} == {1.0}  # equation 8
