"""The folder of a page: an earlier page in it makes room, nothing else does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from xedge.errors import ConfigError
from xedge.train.explain.record import SCHEMA

RECORD, PAGE = "explain.json", "explain.html"
GENERATOR: Final = b'<meta name="generator" content="xedge '
"""What our pages say of themselves."""
MAP_FILE: Final = re.compile(r"[0-9]{3,}-[A-Za-z0-9_.-]+\.png")
"""How `xedge.train.explain.record.map_file` names; a list that says otherwise is not followed."""


def earlier_page(folder: Path) -> list[Path]:
    """The files of the page that is in the folder, as its record lists them, the record last.

    Raises:
        ConfigError: When an explain.json or explain.html there is not of `xedge explain`, or the
            folder cannot be read.
    """
    record, page = folder / RECORD, folder / PAGE
    with _usable(folder):
        if not record.exists():
            if page.exists():
                raise _foreign(page)
            return []
        try:
            listed = _maps(json.loads(record.read_text(encoding="utf-8")))
        except ValueError:  # not UTF-8, or not JSON
            listed = None
        if listed is None:
            raise _foreign(record)
        if page.exists() and GENERATOR not in page.read_bytes():
            raise _foreign(page)
    return [*(folder / name for name in listed), page, record]


def claim(folder: Path) -> None:
    """Return when the folder is there, and a page could be put into it.

    Raises:
        ConfigError: As `earlier_page`, or when the folder cannot be made.
    """
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    earlier_page(folder)


def make_room(folder: Path, files: Iterable[str]) -> None:
    """Return when the earlier page is gone from the folder.

    Args:
        folder: The folder, as `claim` leaves it.
        files: Names of what is to be written.

    Raises:
        ConfigError: When one of them is there and not the earlier page's; nothing is deleted then.
    """
    old = earlier_page(folder)
    for path in (folder / name for name in files):
        if path not in old and path.exists():
            raise _foreign(path)
    with _usable(folder):
        for path in old:
            path.unlink(missing_ok=True)


def _maps(record: Any) -> list[str] | None:
    """The PNGs that a record lists; None when it is not one of ours."""
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    try:
        names = [str(one["file"]) for picture in record["pictures"] for one in picture["maps"]]
    except (KeyError, TypeError):
        return None
    return [name for name in names if MAP_FILE.fullmatch(name)]


def _foreign(path: Path) -> ConfigError:
    return ConfigError(
        f"the folder {path.parent} holds a {path.name} that is not known to be of an earlier page",
        expected=f"an empty folder, or one with the page of this version ({SCHEMA})",
        remedy="Name another folder with -o, or move the file away",
    )


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """What the system says of the folder, as an error of xedge."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be used",
            found=error.strerror or str(error),
            remedy="Name another one with -o",
        ) from error
