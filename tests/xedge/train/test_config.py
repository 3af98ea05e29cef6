from __future__ import annotations

from pathlib import Path

import pytest

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
    ],
)
def test_a_bad_recipe_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text)


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        load_recipe(Path("no-such-recipe.toml"))


def test_shipped_recipes_parse_and_name_the_simulators_classes(repository: Path) -> None:
    recipes = sorted((repository / "xedge/train/recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        recipe, digest = load_recipe(path)
        assert recipe.model.classes == CLASSES
        assert len(digest) == 64
