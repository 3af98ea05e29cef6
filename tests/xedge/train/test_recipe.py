from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xedge.cli import main
from xedge.errors import ConfigError
from xedge.models.dense import DenseConfig
from xedge.sim import CLASSES
from xedge.train.config import PictureData, SimulatedData
from xedge.train.recipe import load_recipe, parse_recipe, recipe_sha256
from xedge.train.shipped import SHIPPED, about, shipped_data, shipped_recipes
from xedge.train.tables import differences

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
        (MINIMAL + '[optim]\noptimizer = "adam"\n', "optimizer.*adamw or sgd.*found 'adam'"),
        (MINIMAL + "[optim]\nmomentum = 1.0\n", "momentum.*below 1"),
        (MINIMAL + "[optim]\nmomentum = 0\nnesterov = true\n", "nesterov"),
        (MINIMAL + '[optim]\nschedule = "steps"\n', "milestones.*rising"),
        (MINIMAL + "[optim]\nmilestones = [3]\n", "milestones.*none without"),
        (MINIMAL + '[optim]\nschedule = "steps"\nmilestones = [8, 3]\n', "milestones.*rising"),
        (MINIMAL + "[optim]\nlr_factors = {fc = -5}\n", "lr_factors.*0 or more"),
        (MINIMAL + '[optim]\noversample = "all"\n', "oversample.*none or hard or easy or random"),
        (MINIMAL + "[optim]\npool_batches = 0\n", "pool_batches.*found 0"),
        (MINIMAL + '[before]\nprecision = "32-true"\n', "one precision.*found '32-true'"),
        (MINIMAL + "[data]\ntrain_bags = 7\n", "too few bags for one batch.*found 7"),
        (MINIMAL + "[data]\nval_bags = 0\n", "data cannot be used"),
        ('system = "yolov9"\n' + MINIMAL, "system is not known.*atss"),
        (MINIMAL.replace('"b"', '"a"'), "model.classes cannot be used"),
        ("data = 3\n" + MINIMAL, "data cannot be used: expected a table, found 3"),
        ('name = "x"\nmodel = 3\n', "model cannot be used: expected a table, found 3"),
        ("optim = []\n" + MINIMAL, "optim cannot be used: expected a table, found "),
        ("system = []\n" + MINIMAL, r"system is not known: expected atss.*found \[\]"),
        ("seed = -1\n" + MINIMAL, r"^seed cannot be used: expected 0\.\..*found -1"),
        ("seed = 1.5\n" + MINIMAL, "^seed cannot be used: expected a whole number, found 1.5"),
        ("seed = true\n" + MINIMAL, "^seed cannot be used: expected a whole number, found True"),
        ("alarm_threshold = 5\n" + MINIMAL, "alarm_threshold.*up to 1, found 5"),
        ("alarm_threshold = 0\n" + MINIMAL, "alarm_threshold.*above 0, up to 1, found 0"),
        (MINIMAL + "[data]\ntrain_seed = -5\n", "data.train_seed.*0 or more, found -5"),
        (MINIMAL + "[data]\nval_seed = -5\n", "data.val_seed.*0 or more, found -5"),
        (MINIMAL + "[data]\ntone = nan\n", "data.tone.*a number, found nan"),
        (MINIMAL + "[data]\ntone = -0.1\n", r"data.tone.*0\.\.1, found -0.1"),
        (MINIMAL + "[data]\nmin_visible = 3.0\n", r"data.min_visible.*0\.\.1, found 3.0"),
        (MINIMAL + "[data]\nobjects = 0\n", r"data.objects.*1\.\.8, found 0"),
        (MINIMAL + "[data]\nclean = 2\n", r"data.clean.*0\.\.1, found 2"),
        (MINIMAL + '[data]\nchannels = "x-ray"\n', "data.channels.*dual-energy.*found 'x-ray'"),
        (MINIMAL + '[data]\nview = "side"\n', "data.view.*window or whole, found 'side'"),
        (MINIMAL + '[data]\nformat = "coco"\npixel_mm = 0\n', "data.pixel_mm.*above 0, found 0"),
        ('name = "x"\n[model]\nclasses = "gun"\n', "model.classes.*a list, found 'gun'"),
        ('name = "x"\n[model]\nclasses = ["gun", 3]\n', r"model.classes\[1\].*a text, found 3"),
        (MINIMAL + "mean = [1, 2]\n", r"model.mean.*a list of 3, found \[1, 2\]"),
        (MINIMAL + "mean = [1, inf, 2]\n", "model.mean.*found .*inf"),
        (MINIMAL + "scale = [0, 0, 0]\n", "model.scale.*three numbers above 0, found "),
        (MINIMAL + "depth = '3'\n", "model.depth.*a whole number, found '3'"),
        (MINIMAL + "label_aware = 1\n", "model.label_aware.*true or false, found 1"),
        (MINIMAL + "doam = 1\n", "model.doam.*a table, found 1"),
        (
            MINIMAL + "[model.pyramid]\nstrides = []\n",
            r"model.pyramid.strides.*one or more.*found \[\]",
        ),
        (MINIMAL + "[model.pyramid]\nstrides = [16, 8]\n", r"strides.*rising.*found \[16, 8\]"),
        (MINIMAL + "[model.pyramid]\noptions = 1\n", "model.pyramid.options.*a table, found 1"),
        (MINIMAL + "[optim]\nlr_factors = {fc = '5'}\n", "optim.lr_factors.fc.*a number"),
        (
            'name = "x"\nsystem = "chr"\n[model]\nclasses = ["a"]\ntrunk = {strides = []}\n',
            r"model.trunk.strides.*one or more.*found \[\]",
        ),
        (
            'name = "x"\nsystem = "yolov3"\n[model]\nclasses = ["a"]\nanchors = [3]\n',
            r"model.anchors\[0\].*a list of 2, found 3",
        ),
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


def test_shipped_recipes_parse_and_say_what_they_are() -> None:
    recipes = shipped_recipes()
    assert "atss-la-r18half" in {path.stem for path in recipes}
    for path in recipes:
        recipe, text = load_recipe(path)
        assert recipe.name == path.stem
        assert about(path)
        assert parse_recipe(text) == recipe


def test_a_shipped_recipe_is_found_by_its_name() -> None:
    recipe, text = load_recipe(Path("atss-la-r18half"))
    assert recipe.model.classes == CLASSES
    assert text == (SHIPPED / "atss-la-r18half.toml").read_text()
    assert len(recipe_sha256(text)) == 64


def test_a_recipe_on_another_overrides_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(MINIMAL + "depth = 2\n[optim]\nbatch = 4\nepochs = 3\n")
    (tmp_path / "b.toml").write_text('base = "a.toml"\nname = "y"\n[optim]\nepochs = 5\n')
    recipe, text = load_recipe(tmp_path / "b.toml")
    assert (recipe.name, recipe.optim.batch, recipe.optim.epochs) == ("y", 4, 5)
    assert isinstance(recipe.model, DenseConfig)
    assert recipe.model.depth == 2
    assert "base" not in text
    assert parse_recipe(text) == recipe


@pytest.mark.parametrize("path", shipped_data(), ids=lambda p: p.stem)
def test_a_data_part_goes_over_a_recipe(path: Path) -> None:
    name = path.stem.removeprefix("_on-")
    recipe, text = load_recipe(Path("atss-tiny"), on=name)
    assert recipe.name == f"atss-tiny-on-{name}"
    assert isinstance(recipe.model, DenseConfig)
    assert recipe.model.depth == 2
    assert about(path)
    assert parse_recipe(text) == recipe


def test_pictures_take_the_place_of_simulated_bags(tmp_path: Path) -> None:
    recipe, _ = load_recipe(Path("atss-tiny"), on="sixray-three")
    assert isinstance(recipe.data, PictureData)
    there, _ = load_recipe(Path("atss-tiny"), on="simulated-for-sixray")
    assert isinstance(there.data, SimulatedData)
    assert isinstance(there.held_out, PictureData)
    # Learned from simulation or from the set itself, runs are measured on the same pictures.
    for key in ("part", "held_out", "split_seed", "blocks", "ignore", "height", "width"):
        assert getattr(there.held_out, key) == getattr(recipe.data, key)
    with pytest.raises(ConfigError, match="held_out does not go with data"):
        load_recipe(Path("atss-tiny"), ["held_out.height=96"], on="simulated-for-sixray")


def test_cut_outs_come_from_the_pictures_that_a_run_is_watched_by() -> None:
    recipe, _ = load_recipe(Path("atss-tiny"), on="simulated-as-sixray-tip")
    assert isinstance(recipe.data, SimulatedData)
    assert recipe.data.tip > 0
    with pytest.raises(ConfigError, match=r"data.tip has no pictures"):
        load_recipe(Path("atss-tiny"), ["data.tip=0.5"], on="simulated-three")


def test_a_recipe_says_how_its_bags_are_packed() -> None:
    recipe, _ = load_recipe(Path("atss-tiny"), ["data.bag.turn=10"], on="simulated-as-sixray")
    assert isinstance(recipe.data, SimulatedData)
    packing = recipe.data.packing(train=True)
    assert (packing.turn, packing.clean, packing.objects) == (10, recipe.data.clean, 4)
    assert packing.labels.count("gun") == 2
    assert recipe.data.pixel_mm == 2.48
    with pytest.raises(ConfigError, match="labelled objects cannot be packed"):
        load_recipe(Path("atss-tiny"), ['data.bag.labels=["sword"]'], on="simulated-as-sixray")
    with pytest.raises(ConfigError, match=r"data.bag.turn cannot be used"):
        load_recipe(Path("atss-tiny"), ["data.bag.turn=true"], on="simulated-as-sixray")


def test_data_that_does_not_come_with_xedge() -> None:
    with pytest.raises(ConfigError, match="no data 'moonrocks'"):
        load_recipe(Path("atss-tiny"), on="moonrocks")


def test_a_recipe_of_ones_own_stands_on_a_shipped_one(tmp_path: Path) -> None:
    for base in ("atss-tiny.toml", "atss-tiny"):
        (tmp_path / "mine.toml").write_text(f'base = "{base}"\nname = "mine"\n')
        recipe, text = load_recipe(tmp_path / "mine.toml")
        assert recipe.name == "mine"
        assert recipe.model == load_recipe(Path("atss-tiny"))[0].model
        assert parse_recipe(text) == recipe


def test_a_folder_of_a_recipes_name_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssd-tiny").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("ssd-tiny"))[0].name == "ssd-tiny"
    with pytest.raises(ConfigError, match="no recipe 'mine', but a folder"):
        load_recipe(Path("mine"))


def test_a_name_that_is_nearly_right_is_told_what_is() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'atss-tinny': expected .*atss-tiny") as error:
        load_recipe(Path("atss-tinny"))
    assert str(SHIPPED) not in str(error.value)
    with pytest.raises(ConfigError, match=r"no data 'sixray-thre': expected .*sixray-three"):
        load_recipe(Path("atss-tiny"), on="sixray-thre")


def test_a_circle_of_bases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ConfigError, match="base of recipe"):
        load_recipe(tmp_path / "a.toml")


def test_changes_are_toml_or_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(MINIMAL)
    changes = ("optim.epochs=2", "name=new", "data.tone=0.5", "model.label_aware=false")
    recipe, text = load_recipe(tmp_path / "a.toml", changes)
    assert (recipe.optim.epochs, recipe.name, recipe.data.tone) == (2, "new", 0.5)
    assert parse_recipe(text) == recipe
    for bad in ("epochs", "=2", "a b=1"):
        with pytest.raises(ConfigError, match="change of the recipe"):
            load_recipe(tmp_path / "a.toml", [bad])


def test_a_recipe_has_one_stage_or_two(tmp_path: Path) -> None:
    assert list(parse_recipe(MINIMAL).stages) == ["main"]
    text = MINIMAL + '[optim]\nlr_factors = {fc = 5}\n[before]\nepochs = 3\noptimizer = "sgd"\n'
    recipe = parse_recipe(text)
    assert list(recipe.stages) == ["before", "main"]
    assert (recipe.stages["before"].epochs, recipe.stages["main"].lr_factors) == (3, {"fc": 5.0})


def test_the_differences_of_two_recipes_are_told_key_by_key() -> None:
    other = 'name = "y"\n[model]\nclasses = ["a", "b"]\n[model.trunk]\nwidth = 0.5\n'
    assert differences(MINIMAL, MINIMAL + "# a remark\n") == []
    assert differences(MINIMAL, other) == ["model.trunk.width: nothing, 0.5", "name: 'x', 'y'"]
