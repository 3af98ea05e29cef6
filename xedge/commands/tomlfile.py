"""Tables of a TOML file as dataclasses; what is wrong is said with the file's name and line."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union

from xedge.control.bus import Secret
from xedge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]\]?\s*(?:#.*)?$")
_T = TypeVar("_T")


class TomlFile:
    """A TOML file, and where in it everything stands.

    Args:
        path: The file.

    Raises:
        ConfigError: When it cannot be read, or is no TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8")
            self.tables: dict[str, Any] = tomllib.loads(self._text)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read", found=error.strerror or "",
                              remedy="Name a lane's file") from error  # fmt: skip
        except (ValueError, RecursionError) as error:  # no TOML, or no UTF-8, or too deep
            raise ConfigError(f"{path} is no TOML", found=str(error)) from error

    def line(self, table: str, number: int = 0, key: str = "") -> int:
        """Line of a table's ``number``-th header, or of a key in it; 1 when it stands nowhere."""
        here, seen, header = table == "", -1, 1
        for at, text in enumerate(self._text.splitlines(), 1):
            if found := _HEADER.match(text):
                here = found[2] == table
                seen += here
                here = here and (found[1] == "[" or seen == number)
                header = at if here else header
                if here and not key:
                    return at
            elif here and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", text):
                return at
        return header

    def error(self, error: ConfigError, table: str, number: int = 0, key: str = "") -> ConfigError:
        """The same error with the place in the file before it."""
        where = f"{self.path}:{self.line(table, number, key)}"
        return error.at(f"{where}: [{table}]" if table else f"{where}:")

    def check_tables(self, known: tuple[str, ...]) -> None:
        """Nothing, when only these tables stand in the file.

        Raises:
            ConfigError: When there is another.
        """
        for name in self.tables:
            if name not in known:
                raise self.error(_unknown(name, known, "there is no table"), name)

    def section(self, kind: type[_T], table: str) -> _T:
        """A table as a dataclass; without it in the file, one of defaults."""
        return self.build(kind, self.tables.get(table, {}), table)

    def build(self, kind: type[_T], values: Any, table: str, number: int = 0) -> _T:
        """A dataclass of what stands in a table.

        Paths are relative to the file. A `Secret` is ``{ file = "..." }`` or ``{ env = "..." }``.

        Raises:
            ConfigError: When a key is unknown or missing, or a value of the wrong kind; naming the
                line.
        """
        if not isinstance(values, Mapping):
            raise self.error(ConfigError("must be a table", found=repr(values)), table, number)
        wanted = typing.get_type_hints(kind)
        fields = [f for f in dataclasses.fields(kind) if f.init]  # type: ignore[arg-type]
        names = tuple(f.name for f in fields)
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            try:
                if key not in names:
                    raise _unknown(key, names, "there is no key")
                arguments[key] = self._convert(key, value, wanted[key])
            except ConfigError as error:
                raise self.error(error, table, number, key) from error
        for f in fields:
            if f.name not in arguments and (
                f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            ):
                raise self.error(ConfigError(f"needs the key {f.name}"), table, number)
        try:
            return kind(**arguments)
        except ConfigError as error:
            key = next((name for name in arguments if re.search(rf"\b{name}\b", str(error))), "")
            raise self.error(error, table, number, key) from error

    def _convert(self, key: str, value: Any, wanted: Any) -> Any:
        origin = typing.get_origin(wanted)
        if origin in (Union, types.UnionType):
            options = [option for option in typing.get_args(wanted) if option is not type(None)]
            if len(options) == 1:
                return self._convert(key, value, options[0])
        elif origin is Literal:
            if value in typing.get_args(wanted):
                return value
            raise ConfigError(f"{key} cannot be {value!r}",
                              expected=" or ".join(map(repr, typing.get_args(wanted))))  # fmt: skip
        elif origin is tuple:
            parts = typing.get_args(wanted)
            if isinstance(value, list) and parts[-1] is Ellipsis:
                parts = parts[:1] * len(value)
            if isinstance(value, list) and len(value) == len(parts):
                pairs = zip(value, parts, strict=True)
                return tuple(self._convert(key, one, part) for one, part in pairs)
        elif wanted is Secret:
            return self._secret(key, value)
        elif wanted is Path:
            if isinstance(value, str) and "\n" in value:  # a key itself, and not where it is
                raise ConfigError(f"{key} is several lines of text", expected=_in_words(wanted),
                                  remedy="Put them into a file, and name that")  # fmt: skip
            if isinstance(value, str) and value:
                return self.path.parent / value
        elif wanted is float:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                try:
                    return float(value)
                except OverflowError as error:
                    raise ConfigError(f"{key} is too large a number") from error
        elif type(value) is wanted:
            return value
        raise ConfigError(f"{key} cannot be {value!r}", expected=_in_words(wanted))

    def _secret(self, key: str, value: Any) -> Secret:
        if isinstance(value, Mapping) and len(value) == 1:
            ((how, name),) = value.items()
            if how == "file" and isinstance(name, str):
                return Secret.from_file(self.path.parent / name)
            if how == "env" and isinstance(name, str):
                return Secret.from_environment(name)
        # What stands there may be the secret itself: it is not repeated.
        raise ConfigError(
            f"{key} must not stand in this file",
            expected='{ file = "..." } or { env = "..." }',
            remedy="Put it into a file that only its owner can read",
        )


def _unknown(name: str, known: tuple[str, ...], what: str) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    return ConfigError(f"{what} {name!r}", expected=", ".join(known),
                       remedy=f"Did you mean {near[0]!r}?" if near else "")  # fmt: skip


def _in_words(wanted: Any) -> str:
    names = {str: "a text in quotes", int: "a whole number", float: "a number",
             bool: "true or false", Path: "a path in quotes"}  # fmt: skip
    if typing.get_origin(wanted) is tuple:
        parts = typing.get_args(wanted)
        many = "a list of" if parts[-1] is Ellipsis else f"a list of {len(parts)}, each"
        return f"{many} {_in_words(parts[0])}"
    return names.get(wanted, str(wanted))


def above_zero(table: Any, *names: str) -> None:
    """Nothing, when these numbers of a table are above zero, or not given.

    Raises:
        ConfigError: When one is not.
    """
    for name in names:
        value = getattr(table, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} cannot be used", expected="above 0", found=str(value))
