from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from xedge_export.probes import CHECK_SEED, bags_for, pictures_for

from xedge.errors import ConfigError, ExportError, ImageError
from xedge.sim.bags import BagConfig
from xedge.spec import Channels
from xedge.train.bags import simulate
from xedge.train.recipe import Recipe, parse_recipe
from xedge.train.sample import fit

PICTURES = 'format = "sixray"\nheight = 64\nwidth = 96\n'


def recipe(data: str) -> Recipe:
    return parse_recipe(f'name = "a"\n[model]\nclasses = ["gun"]\n[data]\n{data}')


def test_a_model_of_pictures_is_shown_whole_bags_in_its_colours() -> None:
    (planes,) = bags_for(recipe(PICTURES), 1)
    bag = simulate(CHECK_SEED, 2, BagConfig(clean=0.0), Channels.PSEUDO_COLOUR)
    wanted = fit(bag, 64, 96, Channels.PSEUDO_COLOUR, keep_ratio=False).planes
    assert np.array_equal(planes, wanted)


def test_a_model_of_bags_is_shown_what_it_is_watched_by() -> None:
    shown = list(bags_for(recipe("height = 112\nwidth = 112\nbinning = 8\n"), 2))
    assert [p.shape for p in shown] == [(3, 112, 112)] * 2
    assert not np.array_equal(*shown)


def test_given_pictures_are_fitted_and_other_files_passed_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "c.bmp"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    (tmp_path / "labels.csv").write_text("a,1")
    (tmp_path / "more.png").mkdir()
    shown = list(pictures_for(recipe(PICTURES), tmp_path, 2))
    assert [p.shape for p in shown] == [(3, 64, 96)] * 2
    blue_first = cv2.imread(str(tmp_path / "b.png"))
    assert blue_first is not None
    # Enlarged twice each way, b.png keeps its means; red comes first.
    means = shown[1].reshape(3, -1).mean(1)
    assert np.abs(means - blue_first[..., ::-1].reshape(-1, 3).mean(0)).max() < 2


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no picture to check on"):
        list(pictures_for(recipe(PICTURES), tmp_path, 1))
    with pytest.raises(ExportError, match=r"do not go into this model.*dual-energy.*--pictures"):
        list(pictures_for(recipe("binning = 8\n"), tmp_path, 1))
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        list(pictures_for(recipe(PICTURES), tmp_path, 1))
