"""The cache of built engines: one folder that only its owner can write, one file an engine.

A plan of TensorRT is native code that is run when it is loaded. A folder or a file that somebody
else could have written is therefore refused, not repaired; what is merely cut short or changed is
a miss, and is built again. A file is a line of JSON (what it is, its length, its sha256) and the
plan itself; it appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.errors import EngineCacheError

SCHEMA: Final = 1
SIZE_LIMIT: Final = 2 * 2**30
"""Bytes that a folder may hold before what was used longest ago is removed."""

_SUFFIX: Final = ".plan"
_LONGEST_HEAD: Final = 64 * 1024
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Entry:
    """One file of the cache.

    Attributes:
        key: Its name without the suffix.
        size: Bytes on disk.
        used_ns: When it was last read or written, nanoseconds since 1970.
        facts: What it was built of and for: model, engine, version, device.
    """

    key: str
    size: int
    used_ns: int
    facts: Mapping[str, str]


def cache_key(facts: Mapping[str, str]) -> str:
    """The name under which something with these facts is kept: 40 hexadecimal digits."""
    text = json.dumps(dict(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def default_folder() -> Path:
    """``$XEDGE_CACHE``, or ``xedge/engines`` in the user's cache folder (XDG)."""
    if named := os.environ.get("XEDGE_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home) / "xedge" / "engines"


class EngineCache:
    """Built engines on disk, by what they were built of.

    Args:
        folder: Where; None takes `default_folder`. Made with mode 0700 at the first write.
        limit: Bytes that it may hold.

    Raises:
        EngineCacheError: When somebody else can write to the folder or to a folder around it.
    """

    def __init__(self, folder: Path | None = None, limit: int = SIZE_LIMIT) -> None:
        path = (folder or default_folder()).absolute()
        # Links around it are followed once, so that what is checked is what is used.
        self._folder = path.parent.resolve() / path.name
        self._limit = limit
        self._check_folder()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    def get(self, facts: Mapping[str, str]) -> bytes | None:
        """What was kept for these facts; None when there is nothing, or nothing sound.

        Raises:
            EngineCacheError: When the file or the folder could have been written by others.
        """
        self._check_folder()
        path = self._path(facts)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            _check_owner(os.fstat(file.fileno()), path)
            content = file.read()
        head, _, data = content.partition(b"\n")
        record = _head(head)
        sound = (
            record.get("facts") == dict(facts)
            and record.get("bytes") == len(data)
            and record.get("sha256") == hashlib.sha256(data).hexdigest()
        )
        if not sound:
            self.drop(facts)
            return None
        with contextlib.suppress(OSError):  # a disk became read-only: only the order suffers
            os.utime(path)
        return data

    def put(self, facts: Mapping[str, str], data: bytes) -> bool:
        """True when the data is kept now; False when it is larger than the whole cache may be.

        What was used longest ago makes room.

        Raises:
            EngineCacheError: When the folder cannot be made or written.
        """
        record = {
            "schema": SCHEMA,
            "facts": dict(facts),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        content = json.dumps(record, sort_keys=True).encode() + b"\n" + data
        if len(content) > self._limit:
            return False
        path = self._path(facts)
        part = path.with_name(f".{path.stem}-{secrets.token_hex(8)}.part")
        try:
            self._make_folder()
            self._make_room(len(content), path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise EngineCacheError(
                f"the cache of engines {self._folder} cannot be written",
                found=error.strerror or str(error),
                remedy="Make room, or name another folder: export XEDGE_CACHE=FOLDER",
            ) from error
        return True

    def drop(self, facts: Mapping[str, str]) -> None:
        """Forget what was kept for these facts; nothing happens when there is nothing."""
        with contextlib.suppress(OSError):  # what cannot be removed is refused by its sha256
            self._path(facts).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Every file of the cache, last used first; plans themselves are not read."""
        found = []
        for path in self._files():
            try:
                status = path.lstat()
                with path.open("rb") as file:
                    facts = _head(file.readline(_LONGEST_HEAD)).get("facts")
            except OSError:
                continue  # another process removed it
            known = facts if isinstance(facts, dict) else {}
            texts = {str(name): str(value) for name, value in known.items()}
            found.append(Entry(path.stem, status.st_size, status.st_mtime_ns, texts))
        return sorted(found, key=lambda entry: -entry.used_ns)

    def clear(self) -> int:
        """Number of files removed; leftovers of interrupted writes go as well."""
        removed = 0
        for path in [*self._files(), *self._folder.glob(".*.part")]:
            path.unlink(missing_ok=True)
            removed += 1
        return removed

    def _files(self) -> list[Path]:
        return list(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def _path(self, facts: Mapping[str, str]) -> Path:
        return self._folder / (cache_key(facts) + _SUFFIX)

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._check_folder()

    def _make_room(self, needed: int, kept: Path) -> None:
        """Remove old leftovers, and the files used longest ago until ``needed`` bytes fit."""
        hour_ago = time.time() - 3600
        for part in self._folder.glob(".*.part"):
            if part.stat().st_mtime < hour_ago:  # a writer that is alive takes seconds
                part.unlink(missing_ok=True)
        entries = [entry for entry in self.entries() if entry.key != kept.stem]
        used = sum(entry.size for entry in entries)
        while entries and used + needed > self._limit:
            oldest = entries.pop()
            used -= oldest.size
            (self._folder / (oldest.key + _SUFFIX)).unlink(missing_ok=True)

    def _check_folder(self) -> None:
        """Return when nobody else can put a file there, by the folder or by one around it."""
        if not hasattr(os, "getuid"):
            return  # Windows: a user's own folders are private unless somebody opens them
        if self._folder.is_symlink() or self._folder.exists():
            status = self._folder.lstat()
            if not stat.S_ISDIR(status.st_mode):
                raise _refused(self._folder, "something that is no folder", "Remove it")
            _check_owner(status, self._folder)
        for around in self._folder.parents:
            if not around.exists():
                continue
            status = around.stat()
            sticky = status.st_mode & stat.S_ISVTX  # as /tmp: only owners rename their files
            if status.st_uid not in {0, os.getuid()}:
                raise _refused(around, f"owner {status.st_uid}", "Choose a folder of your own")
            open_to_all = status.st_mode & stat.S_IWOTH
            open_to_group = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
            if (open_to_all or open_to_group) and not sticky:
                raise _refused(around, _mode(status), f"Run: chmod go-w {around}")


def _check_owner(status: os.stat_result, path: Path) -> None:
    """Return when only this user can write what ``status`` is of."""
    if not hasattr(os, "getuid"):
        return
    if status.st_uid != os.getuid():
        raise _refused(path, f"owner {status.st_uid}", "Remove it, or name another folder")
    if status.st_mode & _OTHERS_WRITE:
        raise _refused(path, _mode(status), f"Run: chmod go-w {path}, if you trust what is in it")


def _is_own_group(gid: int) -> bool:
    """True for a group of this user alone, as Debian and Ubuntu make one for everybody."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and not group.gr_mem


def _mode(status: os.stat_result) -> str:
    return f"mode {stat.S_IMODE(status.st_mode):04o}"


def _refused(path: Path, found: str, remedy: str) -> EngineCacheError:
    who = f"user {os.getuid()}" if hasattr(os, "getuid") else "this user"
    return EngineCacheError(
        f"the cache of engines cannot be trusted: {path}",
        expected=f"what only {who} can write",
        found=found,
        remedy=f"{remedy}; or name another folder: export XEDGE_CACHE=FOLDER",
    )


def _head(line: bytes) -> dict[str, object]:
    """The record of a file's first line; empty when it is none of this version's."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    ours = isinstance(record, dict) and record.get("schema") == SCHEMA
    return record if ours else {}
