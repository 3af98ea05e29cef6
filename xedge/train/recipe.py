"""The recipe: one TOML file that a training run is made of, as frozen dataclasses.

Unknown keys fail; nothing is read from anywhere else, so that a recipe's sha256 names a run. A
recipe may stand on another (``base = "other.toml"``): tables are merged key by key, and what is
kept with a run is the merged text.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dacite
import tomli_w

from xedge.errors import ConfigError
from xedge.models.base import ModelConfig
from xedge.spec import Channels
from xedge.train.config import OptimConfig, PictureData, SimulatedData, refuse_unsound
from xedge.train.shipped import SHIPPED, shipped_data, shipped_recipes
from xedge.train.systems import SYSTEMS
from xedge.train.typed import check_types

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


MOST_SEED: Final = 2**63 - 1
"""Both torch's generators and TOML take whole numbers of 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run.

    Attributes:
        name: Name of the model and of the run's folder.
        system: Which of `SYSTEMS` the model is.
        seed: Seed of weights, order and augmentation.
        out: Folder under which runs are written.
        alarm_threshold: Score at which a lane alarms, written into the model's spec; without it,
            the one with the best F2 on the held-out bags.
        model: The model.
        data: What it learns from and is watched by.
        held_out: Pictures of another set that it is watched by instead, of the same size; what it
            is worth on real scans after learning from simulated ones, for instance.
        optim: The optimiser.
        before: The optimiser of a stage of its own in front of it, for a system that is taught in
            two; its criterion sees which (`Moment`). Each stage begins its schedule, its moments
            and its averaged weights anew.
    """

    name: str
    system: str = "atss"
    seed: int = 0
    out: str = "runs"
    alarm_threshold: float | None = None
    model: ModelConfig
    data: SimulatedData | PictureData = field(default_factory=SimulatedData)
    held_out: PictureData | None = None
    optim: OptimConfig = field(default_factory=OptimConfig)
    before: OptimConfig | None = None

    def __post_init__(self) -> None:
        alarm = self.alarm_threshold
        sound = {
            "seed": (0 <= self.seed <= MOST_SEED, f"0..{MOST_SEED}"),
            "alarm_threshold": (alarm is None or 0 < alarm <= 1, "a score above 0, up to 1"),
        }
        refuse_unsound("", self, sound)
        if self.before is not None and self.before.precision != self.optim.precision:
            raise ConfigError(
                "the two stages of a run have one precision",
                expected=f"before.precision = {self.optim.precision!r}",
                found=repr(self.before.precision),
            )
        if isinstance(self.data, SimulatedData) and self.data.train_bags < self.optim.batch:
            raise ConfigError(
                "there are too few bags for one batch",
                expected=f"data.train_bags of {self.optim.batch} or more",
                found=str(self.data.train_bags),
            )
        if self.held_out is not None:
            sizes = [(d.channels, d.height, d.width) for d in (self.data, self.held_out)]
            if sizes[0] != sizes[1]:
                raise ConfigError(
                    "held_out does not go with data",
                    expected="the same channels, height and width",
                    found=f"{sizes[0][0].value} {sizes[0][1:]}, {sizes[1][0].value} {sizes[1][1:]}",
                )

    @property
    def stages(self) -> dict[str, OptimConfig]:
        """Optimiser of each stage, by the names that `Moment` has for them, in their order."""
        first = {} if self.before is None else {"before": self.before}
        return first | {"main": self.optim}

    @property
    def folder(self) -> Path:
        """Where checkpoints and metrics of this run go."""
        return Path(self.out) / self.name


def parse_recipe(text: str) -> Recipe:
    """The recipe written in ``text`` (TOML), complete in itself.

    Raises:
        ConfigError: On bad TOML, unknown or missing keys, or values of a wrong type.
    """
    try:
        return _build(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("the recipe is not TOML", found=str(error)) from error
    except dacite.UnexpectedDataError as error:
        raise ConfigError(
            "the recipe has unknown keys",
            found=", ".join(sorted(map(str, error.keys))),
            remedy="Remove them, or see the attributes in xedge/train/recipe.py and config.py",
        ) from error
    except (dacite.DaciteError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("the recipe cannot be used", found=str(error)) from error


def _build(table: dict[str, Any]) -> Recipe:
    name = table.get("system", "atss")
    system = SYSTEMS.get(name) if isinstance(name, str) else None
    if system is None:
        raise ConfigError(
            "the recipe's system is not known", expected=", ".join(SYSTEMS), found=repr(name)
        )
    data = table.get("data")
    simulated = not isinstance(data, dict) or data.get("format", "simulated") == "simulated"
    kind = SimulatedData if simulated else PictureData
    check_types(Recipe, table, model=system.config, data=kind)
    rules = dacite.Config(strict=True, cast=[tuple, float, Channels])
    tables: dict[str, Any] = dict(table)
    if "model" in tables:
        tables["model"] = dacite.from_dict(system.config, tables["model"], rules)
    if "data" in tables:
        tables["data"] = dacite.from_dict(kind, tables["data"], rules)
    return dacite.from_dict(Recipe, tables, rules)


def load_recipe(path: Path, changes: Iterable[str] = (), on: str = "") -> tuple[Recipe, str]:
    """The recipe in a file, or the shipped one of that name, and its whole text.

    Args:
        path: A TOML file, or the name of a shipped recipe without its suffix.
        on: Name of the data to learn from instead, one of `shipped_data`: its tables go over the
            recipe's, and its name behind the recipe's.
        changes: Keys to set, as ``optim.epochs=2``; the value is TOML, or a plain word.

    Raises:
        ConfigError: When the file is absent or `parse_recipe` refuses it.
    """
    path = _find(path, shipped_recipes())
    table = _read(path, ())
    bare = "base" not in _table(path)
    given = [_change(change) for change in changes]
    if on:
        over = _read(_data_part(on), ())
        table = _merge(table, over | {"name": f"{table.get('name', path.stem)}-on-{on}"})
    for change in given:
        table = _merge(table, change)
    as_written = bare and not given and not on
    text = path.read_text(encoding="utf-8") if as_written else tomli_w.dumps(table)
    return parse_recipe(text), text


def recipe_sha256(text: str) -> str:
    """The digest that names a recipe."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a recipe with those that it stands on merged under it."""
    table = _table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if path in above or not isinstance(base, str):
        raise ConfigError(f"the base of recipe {str(path)!r} cannot be used", found=repr(base))
    beside = path.parent / base
    under = beside if beside.is_file() else _find(Path(base), list(SHIPPED.glob("*.toml")))
    return _merge(_read(under, (*above, path)), table)


def _find(path: Path, known: list[Path]) -> Path:
    """The file at a path, or the shipped one of that name with or without its suffix.

    Raises:
        ConfigError: When there is neither; the message has names that are nearly alike.
    """
    if path.is_file():
        return path
    by_name = {shipped.stem: shipped for shipped in known}
    name = path.name.removesuffix(".toml")
    if path.parent == Path() and name in by_name:
        return by_name[name]
    raise _unknown("recipe", str(path), name, by_name)


def _data_part(on: str) -> Path:
    by_name = {path.stem.removeprefix("_on-"): path for path in shipped_data()}
    if on not in by_name:
        raise _unknown("data", on, on, by_name)
    return by_name[on]


def _unknown(what: str, given: str, name: str, known: Iterable[str]) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=3)
    return ConfigError(
        f"there is no {what} {given!r}" + (", but a folder" if Path(given).is_dir() else ""),
        expected=f"one such as {' or '.join(close)}" if close else "",
        remedy="`xedge train --list` shows the recipes and data that come with xedge"
        + ("; a recipe may also be the path of a TOML file" if what == "recipe" else ""),
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{str(path)!r} is no text", expected="a TOML recipe in UTF-8", found=str(error)
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {str(path)!r} is not TOML", found=str(error)) from error
    except OSError as error:
        raise ConfigError(
            f"there is no recipe {str(path)!r} to read",
            remedy="Give the path of a TOML recipe, or a name that `xedge train --list` shows",
        ) from error


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        if both and value.get("format", merged[key].get("format")) != merged[key].get("format"):
            both = False  # another kind of data has other keys
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _change(text: str) -> dict[str, Any]:
    """The table that ``a.b=value`` stands for."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError("a change of the recipe cannot be used", expected="KEY=VALUE", found=text)
    for written in (value, f'"{value}"'):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError("a change of the recipe is not TOML", expected="KEY=VALUE", found=text)
