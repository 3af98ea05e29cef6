"""Recipes as TOML tables, found and merged; without torch, so that they can be listed at once."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from xedge.errors import ConfigError
from xedge.train.shipped import SHIPPED, data_name, shipped_data

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_SYSTEM: Final = "atss"
"""The system of a recipe that names none."""


def read_table(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The table of a recipe with those that it stands on merged under it.

    Args:
        path: A TOML file.
        above: The recipes that stand on it, none of which it may stand on itself.

    Raises:
        ConfigError: When it or its base cannot be read, or stands on itself.
    """
    table = own_table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if path in above or not isinstance(base, str):
        raise ConfigError(f"the base of recipe {str(path)!r} cannot be used", found=repr(base))
    beside = path.parent / base
    under = beside if beside.is_file() else find_recipe(Path(base), list(SHIPPED.glob("*.toml")))
    return merge(read_table(under, (*above, path)), table)


def find_recipe(path: Path, known: list[Path]) -> Path:
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


def find_data(on: str) -> Path:
    """The shipped data part of that name.

    Raises:
        ConfigError: When there is none; the message has names that are nearly alike.
    """
    by_name = {data_name(path): path for path in shipped_data()}
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


def own_table(path: Path) -> dict[str, Any]:
    """The table that is written in a recipe's own file.

    Raises:
        ConfigError: When there is none.
    """
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


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables in one, key by key; where both have a value, that of ``over``."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        if both and value.get("format", merged[key].get("format")) != merged[key].get("format"):
            both = False  # another kind of data has other keys
        merged[key] = merge(merged[key], value) if both else value
    return merged


def differences(one: str, other: str) -> list[str]:
    """What two recipes' texts say otherwise, a line a key as ``optim.lr: 0.1, 0.2``; sorted."""
    before, after = (dict(_leaves(tomllib.loads(text))) for text in (one, other))
    absent = object()
    keys = sorted(before.keys() | after.keys())
    said = {key: [table.get(key, absent) for table in (before, after)] for key in keys}
    return [
        f"{key}: " + ", ".join("nothing" if v is absent else repr(v) for v in values)
        for key, values in said.items()
        if values[0] != values[1]
    ]


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value
