"""`xedge bench accept`: records whose values are what others are held against, and who says so.

An accepted record is copied to ``reference/MACHINE/`` of the results, byte by byte, and a line of
``reference/accepted.jsonl`` says who accepted it, when and why. Both are only ever added to: the
newest accepted record of a question is the one that counts.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from xedge.errors import ConfigError
from xedge_benchmarks.compare import agreement, by_question
from xedge_benchmarks.record import COMMIT_DIGITS
from xedge_benchmarks.stored import REFERENCE, Stored, newest, stored_in
from xedge_benchmarks.two_clocks import cpu_leads

LOG: Final = "accepted.jsonl"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """One line of the log.

    Attributes:
        record: The file, below the folder of references.
        sha256: Of it.
        who: Accepted it.
        when_utc: ISO 8601, seconds.
        why: In a sentence.
        second_run: Whether a second run agreed; empty where there was none.
    """

    record: str
    sha256: str
    who: str
    when_utc: str
    why: str
    second_run: str


def accept(
    places: Sequence[Path], results: Path, who: str, why: str, commit: str = ""
) -> list[Acceptance]:
    """The lines that were added to the log, one a record.

    Args:
        places: Records, or folders of them: of a folder the newest of each subject, but those
            beside which others kept the machine busy.
        results: Folder of all results.
        who: Accepts them.
        why: In a sentence.
        commit: Of a folder's records, the commit's first digits; empty for any.

    Raises:
        ConfigError: When nobody or no reason is named, a record cannot be traced to a commit, the
            machine throttled, it was accepted before, or there is none. Nothing is accepted then.
    """
    if not who.strip() or not why.strip():
        raise ConfigError("an accepted record needs somebody and a reason",
                          remedy="Name them with --who and --why")  # fmt: skip
    folder = results / REFERENCE
    chosen = list(_chosen(places, commit))
    if not chosen:
        raise ConfigError("there is nothing to accept", expected="records of a quiet machine",
                          found=f"none of commit {commit}" if commit else "none")  # fmt: skip
    for one in chosen:
        _require_acceptable(one, folder)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    lines = []
    for one in chosen:
        target = folder / one.machine / one.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.path, target)
        line = Acceptance(
            record=target.relative_to(folder).as_posix(),
            sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
            who=who.strip(),
            when_utc=now,
            why=why.strip(),
            second_run=agreement(_runs(one)),
        )
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(line)) + "\n")
        lines.append(line)
    return lines


def git_user() -> str:
    """Who commits in this checkout; empty where git does not know."""
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True,
                              check=False, timeout=60)  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip()


def _chosen(places: Sequence[Path], commit: str) -> Iterator[Stored]:
    for place in places:
        found = stored_in(place)
        if place.is_dir():
            mine = (one for one in found if one.content["code"]["commit"].startswith(commit))
            found = newest(one for one in mine if not cpu_leads(one.content))
        yield from found


def _runs(one: Stored) -> list[Stored]:
    """The runs of its question beside it, it the last."""
    beside = by_question(stored_in(one.path.parent))[one.question]
    return [*(run for run in beside if run.path != one.path), one]


def _require_acceptable(one: Stored, folder: Path) -> None:
    code = one.content["code"]
    if len(code["commit"]) != COMMIT_DIGITS or code["dirty"]:
        raise ConfigError(f"{one.path.name} cannot be accepted", expected="a commit's code",
                          found=f"{code['commit'][:12]}, changed" if code["dirty"]
                          else code["commit"])  # fmt: skip
    if one.throttled:
        raise ConfigError(f"{one.path.name} cannot be accepted",
                          found="the machine throttled")  # fmt: skip
    if (folder / one.machine / one.path.name).exists():
        raise ConfigError(f"{one.path.name} was accepted before")
