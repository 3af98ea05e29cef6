"""`xedge libxedge`: where the library for C and C++ is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from xedge.native import LibXedge, find_libxedge

PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prefix": "for CMAKE_PREFIX_PATH",
        "cmake-dir": "of the CMake package, for xedge_DIR",
        "pkgconfig-dir": "of xedge.pc, for PKG_CONFIG_PATH",
        "include-dir": "of xedge/xedge.h",
        "lib-dir": "of the library",
        "library": "the library itself",
    }
)
"""What can be asked for, and what it is."""


def place(found: LibXedge, name: str) -> Path:
    """One of `PLACES`."""
    path: Path = getattr(found, name.replace("-", "_"))
    return path


@click.command(name="libxedge")
@click.argument("what", required=False, type=click.Choice(list(PLACES)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def libxedge(what: str | None, as_json: bool) -> None:
    """Say where libxedge is: the library, header and CMake package for programs in C and C++.

    WHAT is one of the places, printed alone; without it, all are listed. Installations have the
    library when they were made, in a checkout, by: pip install . --config-settings wheel.cmake=true

    \b
    Examples:
      xedge libxedge
      cmake -S . -B build -DCMAKE_PREFIX_PATH=$(xedge libxedge prefix)
      export PKG_CONFIG_PATH=$(xedge libxedge pkgconfig-dir)
    """  # noqa: D301  # click wants the character, not a backslash
    found = find_libxedge()
    if as_json:
        named = [what] if what else list(PLACES)
        click.echo(json.dumps({name: str(place(found, name)) for name in named}))
        return
    if what:
        click.echo(place(found, what))
        return
    for name, meaning in PLACES.items():
        click.echo(f"{name:14} {place(found, name)}  ({meaning})")
