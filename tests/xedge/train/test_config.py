from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xedge.cli import main
from xedge.errors import ConfigError
from xedge.sim import CLASSES
from xedge.train.config import load_recipe, parse_recipe

MINIMAL = 'name = "x"\n[model]\nclasses = ["a", "b"]\n'


def test_a_minimal_recipe_takes_defaults() -> None:
    recipe = parse_recipe(MINIMAL)
    assert recipe.model.classes == ("a", "b")
    assert recipe.optim.batch == 8
    assert recipe.folder == Path("runs/x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        (MINIMAL + "[optim]\nbatchh = 2\n", "unknown keys: found batchh"),
        ("colour = 1\n" + MINIMAL, "unknown keys: found colour"),
        ('[model]\nclasses = ["a"]\n', "name"),
        (MINIMAL + '[optim]\nlr = "fast"\n', "cannot be used"),
        (MINIMAL + "[data]\nval_seed = 1000100\n", "overlap"),
        (MINIMAL + "groups = 7\n", "divide the width"),
        (MINIMAL + "[optim]\nepochs = 0\n", "epochs.*found 0"),
        (MINIMAL + "[optim]\nbatch = 0\n", "batch.*found 0"),
        (MINIMAL + "[optim]\nlr = nan\n", "lr.*found nan"),
        (MINIMAL + "[optim]\nema = 1.5\n", "ema.*found 1.5"),
        (MINIMAL + "[optim]\nlabel_aware_from = -0.1\n", "label_aware_from.*found -0.1"),
        (MINIMAL + '[optim]\nprecision = "half"\n', "precision.*bf16-mixed.*found 'half'"),
        (MINIMAL + "[optim]\nworkers = -1\n", "workers.*found -1"),
        (MINIMAL + "[data]\ntrain_bags = 7\n", "too few bags for one batch.*found 7"),
        (MINIMAL + "[data]\nval_bags = 0\n", "data cannot be used"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text)


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        load_recipe(Path("no-such-recipe.toml"))


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(ConfigError, match="is no text"):
        load_recipe(tmp_path / "program")


def test_no_devices_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["train", "recipe.toml", "--devices", "0"])
    assert result.exit_code == 2
    assert "--devices" in result.stderr


def test_shipped_recipes_parse_and_name_the_simulators_classes(repository: Path) -> None:
    recipes = sorted((repository / "xedge/train/recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        recipe, digest = load_recipe(path)
        assert recipe.model.classes == CLASSES
        assert len(digest) == 64
