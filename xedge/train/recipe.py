"""The recipe: one TOML file that a training run is made of, as frozen dataclasses.

Unknown keys fail; nothing is read from anywhere else, so that a recipe's sha256 names a run. A
recipe may stand on another (``base = "other.toml"``): tables are merged key by key, and what is
kept with a run is the merged text.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dacite
import tomli_w

from xedge.errors import ConfigError
from xedge.models.base import ModelConfig
from xedge.spec import Channels
from xedge.train.config import OptimConfig, PictureData, SimulatedData, refuse_unsound
from xedge.train.shipped import shipped_recipes
from xedge.train.systems import SYSTEMS
from xedge.train.tables import DEFAULT_SYSTEM, find_data, find_recipe, merge, own_table, read_table
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
    system: str = DEFAULT_SYSTEM
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
        if isinstance(self.data, SimulatedData) and self.data.tip and self.held_out is None:
            raise ConfigError(
                "data.tip has no pictures to cut objects out of",
                expected="a set of pictures in held_out",
                found=f"tip = {self.data.tip} and no held_out",
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

    @property
    def sees_pictures(self) -> bool:
        """True when it learns from a data set in a folder, or is watched by one."""
        return any(isinstance(data, PictureData) for data in (self.data, self.held_out))


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
    name = table.get("system", DEFAULT_SYSTEM)
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
    path = find_recipe(path, shipped_recipes())
    table = read_table(path)
    bare = "base" not in own_table(path)
    given = [_change(change) for change in changes]
    if on:
        over = read_table(find_data(on))
        table = merge(table, over | {"name": f"{table.get('name', path.stem)}-on-{on}"})
    for change in given:
        table = merge(table, change)
    as_written = bare and not given and not on
    text = path.read_text(encoding="utf-8") if as_written else tomli_w.dumps(table)
    return parse_recipe(text), text


def recipe_sha256(text: str) -> str:
    """The digest that names a recipe."""
    return hashlib.sha256(text.encode()).hexdigest()


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
