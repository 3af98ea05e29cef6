"""What every command that opens a bundle shares: which one, and whose signature it must carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from xedge.signing import read_public_key

Command = TypeVar("Command", bound=Callable[..., Any])


class PublicKey(click.ParamType):
    """A file with a public key, read where the option is parsed: 32 raw bytes."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The key in the file.

        Raises:
            SignatureError: When there is none.
        """
        return value if isinstance(value, bytes) else read_public_key(Path(value))


require_signature: Final[Callable[[Command], Command]] = click.option(
    "--require-signature", "public_key", type=PublicKey(), metavar="KEY",
    help="A public key (.pub); a bundle that its owner has not signed is refused.",
)  # fmt: skip
"""Gives a command the argument ``public_key``, for `open_bundle`."""


def bundle_options(command: Command) -> Command:
    """The command with the arguments ``bundle`` and ``public_key``, for `open_bundle`."""
    option = click.option(
        "--bundle", type=click.Path(path_type=Path), help="A .xedge file; else the shipped."
    )
    return option(require_signature(command))
