"""What commands share that open or write a bundle: which one, whose signature, and where to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from xedge.errors import ConfigError
from xedge.signing import read_public_key

Command = TypeVar("Command", bound=Callable[..., Any])


def _read_key(_: click.Context, __: click.Parameter, path: Path | None) -> bytes | None:
    return None if path is None else read_public_key(path)


require_signature: Final[Callable[[Command], Command]] = click.option(
    "--require-signature", "public_key", type=click.Path(path_type=Path), metavar="KEY",
    callback=_read_key,
    help="A public key (.pub); a bundle that its owner has not signed is refused.",
)  # fmt: skip
"""Gives a command the argument ``public_key``, 32 raw bytes or None, for `open_bundle`."""


refine_all: Final[Callable[[Command], Command]] = click.option(
    "--refine-all", is_flag=True, help="Every window, whatever the bundle says of quiet ones."
)
"""Gives a command the argument ``refine_all``, for `open_detector`."""


def bundle_options(command: Command) -> Command:
    """The command with the arguments ``bundle`` and ``public_key``, for `open_bundle`."""
    option = click.option(
        "--bundle", type=click.Path(path_type=Path), help="A .xedge file; else the shipped."
    )
    return option(require_signature(command))


def refuse_output(out: Path) -> None:
    """An error when a bundle cannot be written to ``out``, said before hours of work for it.

    Raises:
        ConfigError: When the name is no FILE.xedge, or its folder is not there.
    """
    if out.suffix != ".xedge":
        raise ConfigError("the output's name says nothing", expected="FILE.xedge", found=str(out))
    if not out.parent.is_dir():
        raise ConfigError(
            "there is no folder to write to", found=str(out.parent), remedy="Make it first"
        )
