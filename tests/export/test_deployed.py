"""Which models can leave PyTorch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from xedge_export.deployed import deployable

from xedge.errors import ExportError
from xedge.models.attention import ATTENTIONS
from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.doam import DOAMConfig
from xedge.models.label_aware import Coefficients
from xedge.models.pyramid import PyramidConfig

CONFIG = DenseConfig(
    classes=("gun", "knife"),
    pyramid=PyramidConfig(options={"channels": [8, 8, 16, 16], "stem_width": 8}, width=16),
    groups=4,
)


@pytest.mark.parametrize("label_aware", [True, False])
def test_the_shipped_form_can(label_aware: bool) -> None:
    model = DenseDetector(replace(CONFIG, label_aware=label_aware))
    assert deployable(model) is model


def test_doam_is_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"DOAM cannot be exported.*'released', parts 'full'"):
        deployable(DenseDetector(replace(CONFIG, doam=DOAMConfig())))


@pytest.mark.parametrize("attention", [a for a in ATTENTIONS if a != "none"])
def test_attention_can(attention: str) -> None:
    model = DenseDetector(replace(CONFIG, pyramid=replace(CONFIG.pyramid, attention=attention)))
    assert deployable(model) is model


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"regression": "direct", "quality": "conv"}, 'found regression = "direct"'),
        ({"quality": "top4"}, 'quality = "top4"'),
        (
            {"label_aware_by": "regression", "coefficients": Coefficients(0.5, 1.0, 0.0)},
            'LA by "regression"',
        ),
        ({"label_aware_by": "early"}, 'LA by "early"'),
    ],
)
def test_another_form_is_refused(other: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=f"cannot be exported yet.*{message}"):
        deployable(DenseDetector(replace(CONFIG, **other)))  # type: ignore[arg-type]
