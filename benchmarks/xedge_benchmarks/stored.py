"""Records as they lie in a folder: found, told apart, and their figures that have an interval."""

from __future__ import annotations

import itertools
import json
import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge.errors import ConfigError
from xedge.machine import Machine
from xedge_benchmarks.record import Json, read_record
from xedge_benchmarks.study_record import FOLDER as TRAINING
from xedge_benchmarks.study_record import SCRATCH
from xedge_benchmarks.two_clocks import CPU

REFERENCE: Final = "reference"
"""Folder, in the place of a machine's, of records whose values are accepted."""

_RATES: Final = ("per_s", "per_hour", "factor", "gop_s", "gb_s")
_SCORES: Final = ("ap50", "ap")
_NAMES: Final = (
    "name", "host", "contender", "engine", "scenario", "model", "stage", "bus", "against", "x",
    "speed_m_s", "lanes", "beside", "threads",
)  # fmt: skip
"""Keys whose values tell the rows of a list apart."""


_WHAT: Final = ("speed_m_s", "threads")
"""Settings that are numbers and yet say what is measured, not how long."""


@dataclass(frozen=True)
class Stored:
    """A record and its file.

    Attributes:
        path: The file.
        content: What `read_record` gave.
    """

    path: Path
    content: Json

    @staticmethod
    def read(path: Path) -> Stored:
        """The record in a file.

        Raises:
            ConfigError: When it is no record, or one of another schema.
        """
        return Stored(path, read_record(path))

    @property
    def machine(self) -> str:
        """Folder name of the machine that it was measured on."""
        return Machine(**self.content["machine"]).slug

    @property
    def benchmark(self) -> str:
        """Its name."""
        return str(self.content["benchmark"])

    @property
    def question(self) -> tuple[str, str, str]:
        """Machine, benchmark, settings and bundle: what two runs must share to be compared."""
        # What was not set is as if an older record did not know of it.
        settings = {k: v for k, v in self.content["settings"].items() if v is not None}
        settings |= {"bundle": self.bundle}
        return self.machine, self.benchmark, json.dumps(settings, sort_keys=True)

    @property
    def subject(self) -> tuple[str, str, str]:
        """Machine, benchmark and what was measured, however long: the newest of these is shown."""
        what = {
            key: value
            for key, value in self.content["settings"].items()
            if value is not None
            and (key in _WHAT or isinstance(value, bool) or not isinstance(value, int | float))
        } | {"bundle": self.bundle}
        return self.machine, self.benchmark, json.dumps(what, sort_keys=True)

    @property
    def bundle(self) -> str:
        """Name of the bundle's file that was asked for; empty for the one that xedge ships."""
        words = [str(word) for word in self.content["command_line"]]
        asked = [b for a, b in itertools.pairwise(words) if a == "--bundle"]
        return Path(asked[-1]).name if asked else ""

    @property
    def threads(self) -> Any:
        """Threads of one run, as the settings have them; None for every physical core."""
        return self.content["settings"].get("threads")

    @property
    def throttled(self) -> bool:
        """Whether the machine is known to have held its clocks back."""
        return bool((self.content["conditions"] or {}).get("throttled"))


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval.

    Attributes:
        name: Where it stands in the results, for people.
        value: The number.
        low: Lower end.
        high: Upper end.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def is_score(self) -> bool:
        """Whether it says how good answers are, not how fast they come."""
        return self._key in _SCORES

    @property
    def more_is_better(self) -> bool:
        """True for rates and scores, False for times."""
        return self._key.endswith(_RATES) or self.is_score

    @property
    def by_processor(self) -> str:
        """Name of the same figure by processor time, where a record has both."""
        head, _, key = self.name.rpartition(" ")
        return f"{head} {CPU}{key}"

    @property
    def _key(self) -> str:
        return self.name.rpartition(" ")[2]


def stored_in(place: Path) -> list[Stored]:
    """The records of a file or folder, oldest first.

    Of a folder neither scratch records, nor those that a folder `REFERENCE` in it accepts, nor
    those of trainings, which are no records of this kind.

    Raises:
        ConfigError: When there is no such place, or a file is no record.
    """
    if place.is_file():
        return [Stored.read(place)]
    if not place.is_dir():
        raise ConfigError("there are no records", expected="a file or a folder", found=str(place))
    left_out = {REFERENCE, SCRATCH, TRAINING}
    paths = [
        path
        for path in place.rglob("*.json")
        if not left_out & set(path.relative_to(place).parts[:-1])
    ]
    found = [Stored.read(path) for path in sorted(paths)]
    return sorted(found, key=lambda stored: str(stored.content["started_utc"]))


def newest(stored: Iterable[Stored]) -> list[Stored]:
    """Of each subject the newest record, by machine and benchmark."""
    found = {one.subject: one for one in sorted(stored, key=lambda s: s.content["started_utc"])}
    return [found[key] for key in sorted(found)]


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Every number of a record's results that has an interval, by its name.

    An interval stands beside its number: as ``X_low`` and ``X_high``, as ``X_95``, or in
    ``interval_95`` by the number's name. A number that is compared with itself is left out.
    """
    return {figure.name: figure for figure in _walk(results, ())}


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[Figure]:
    if isinstance(value, dict):
        for key, part in value.items():
            ends = _ends(value, key)
            if ends and _is_number(part) and (ends[0] < ends[1] or ends[0] != 1.0):
                yield Figure(" ".join((*path, key)), float(part), *ends)
            yield from _walk(part, (*path, key))
    elif isinstance(value, list):
        first = _name_of(value[0], 0) if value else ""
        for index, part in enumerate(value):
            name = _name_of(part, index)
            if isinstance(part, dict) and "ratio" in part and "against" not in part:
                name += f", against {first}"  # a ratio to another is another figure
            yield from _walk(part, (*path, name))


def _ends(row: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    intervals = row.get("interval_95")
    pair = intervals.get(key) if isinstance(intervals, dict) else None
    pair = pair or row.get(f"{key}_95") or (row.get(f"{key}_low"), row.get(f"{key}_high"))
    if isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_number, pair)):
        return float(pair[0]), float(pair[1])
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _name_of(row: Any, index: int) -> str:
    if not isinstance(row, dict):
        return str(index)
    words = [
        f"{key}={row[key]:g}" if _is_number(row[key]) else str(row[key])
        for key in _NAMES
        if row.get(key) is not None and not isinstance(row[key], dict | list)
    ]
    return ", ".join(words) or str(index)
