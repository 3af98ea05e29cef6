"""The recipes that come with xedge; without torch, so that a shell completes names at once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

SHIPPED: Final = Path(__file__).parent / "recipes"
"""Folder of the recipes; their names without ``.toml`` can be given to `xedge train`."""


def shipped_recipes() -> list[Path]:
    """The recipes that come with xedge, sorted by name; a name with a leading ``_`` is a part."""
    return [path for path in _sorted("*.toml") if not path.name.startswith("_")]


def shipped_data() -> list[Path]:
    """The data parts that come with xedge, ``_on-NAME.toml`` each."""
    return _sorted("_on-*.toml")


def _sorted(pattern: str) -> list[Path]:
    # By stem: a file's name would put `chr-x.toml` behind `chr-x-tiny.toml`.
    return sorted(SHIPPED.glob(pattern), key=lambda path: path.stem)


def data_name(path: Path) -> str:
    """The name of a data part, as ``--on`` takes it."""
    return path.stem.removeprefix("_on-")


def about(path: Path) -> str:
    """What a recipe's author says of it: the comment that its file begins with, on one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in comment)


def size_of(path: Path) -> str:
    """``tiny`` for a recipe that learns on two processor cores in minutes, else ``full``."""
    return "tiny" if path.stem.endswith("-tiny") else "full"
