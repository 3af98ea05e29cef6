"""Values of a table held against the types of the dataclass that it is for, with their keys."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from xedge.errors import ConfigError

PLAIN: Final[Mapping[type, tuple[tuple[type, ...], str]]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
}
"""Type of an attribute to the types of the values that do, and what those are called."""


def check_types(kind: type, table: Mapping[str, Any], *, key: str = "", **instead: type) -> None:
    """Return nothing when all values of a table are of the types that a dataclass asks for.

    Keys that are missing or not known are left to whoever builds it.

    Args:
        kind: The dataclass.
        table: The table, as TOML gives it.
        key: Its key in the whole, for messages.
        instead: Attribute to the type that counts instead of the declared one.

    Raises:
        ConfigError: Naming the first key whose value is of another type.
    """
    hints = get_type_hints(kind) | instead
    for field in dataclasses.fields(kind):
        if field.name in table:
            whole = f"{key}.{field.name}" if key else field.name
            _check(hints[field.name], table[field.name], whole)


def _check(kind: Any, value: Any, key: str) -> None:
    inner = get_args(kind)
    if kind is Any:
        return
    if NoneType in inner:
        # TOML has no null: what may be absent is absent, or of the other type.
        (kind,) = (k for k in inner if k is not NoneType)
        _check(kind, value, key)
    elif get_origin(kind) is tuple:
        _check_list(inner, value, key)
    elif get_origin(kind) is dict:
        _expect(isinstance(value, dict), "a table", value, key)
        for name, part in value.items():
            _check(inner[1], part, f"{key}.{name}")
    elif dataclasses.is_dataclass(kind):
        _expect(isinstance(value, dict), "a table", value, key)
        check_types(kind, value, key=key)  # type: ignore[arg-type]  # a class, not an instance
    elif issubclass(kind, enum.Enum):
        known = [member.value for member in kind]
        _expect(value in known, " or ".join(map(str, known)), value, key)
    else:
        types, called = PLAIN[kind]
        # A bool is an int to Python, and NaN a float.
        fits = isinstance(value, types) and isinstance(value, bool) is (kind is bool)
        _expect(fits and not (kind is float and math.isnan(value)), called, value, key)


def _check_list(inner: tuple[Any, ...], value: Any, key: str) -> None:
    if Ellipsis in inner:
        _expect(isinstance(value, list), "a list", value, key)
        inner = (inner[0],) * len(value)
    expected = f"a list of {len(inner)}"
    _expect(isinstance(value, list) and len(value) == len(inner), expected, value, key)
    for k, (kind, part) in enumerate(zip(inner, value, strict=True)):
        _check(kind, part, f"{key}[{k}]")


def _expect(fits: bool, expected: str, found: Any, key: str) -> None:
    if not fits:
        raise ConfigError(f"{key} cannot be used", expected=expected, found=repr(found))
