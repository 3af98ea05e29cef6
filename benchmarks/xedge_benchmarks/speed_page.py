"""Tables of docs/speed.md, written from the newest records, with the goals beside.

Everything in them is one way about: × is time over the time of what is named, below 1 is faster,
by the clock that leads (`xedge_benchmarks.two_clocks`). Goals are the project's own, limits of ×,
of seconds or of megabytes, by the name of a row.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from xedge_benchmarks.record import Json
from xedge_benchmarks.report import Report, Section
from xedge_benchmarks.two_clocks import cpu_leads, leading
from xedge_benchmarks.wording import MISSING, number

GOALS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "OpenVINO, int8": 1 / 4.4,
        "LA, one backward pass, openvino": 1.55,
        "LA, one backward pass, onnxruntime": 1.55,
        "DOAM, openvino fp32": 1.10,
        "DOAM, onnxruntime fp32": 1.10,
        "DOAM, openvino int8": 1.18,
        "chr-resnet34: + CommuteUpsampling": 1.035,
        "chr-resnet50: + CommuteUpsampling": 1.32,
        "import xedge, on the clock": 0.3,
        "start, onnxruntime, processor": 0.5,
        "start, openvino, processor": 0.5,
        "installed: together": 320.0,
    }
)
"""Name of a row to what it must not exceed."""
PAIRS: Final = ("speed-atss", "speed-label-aware", "speed-doam", "speed-mechanisms", "algebra")
"""Benchmarks whose rows are compared with another row each."""
SIDE: Final = "contenders"
START: Final = "speed-start"
HOSTS: Final = 4
"""Hosts that one table of contenders has beside each other."""


def speed_tables(report: Report, folder: Path) -> dict[str, str]:
    """Name to Markdown of every table that the page may have.

    Args:
        report: The newest records.
        folder: Of the page, from which records are linked.
    """
    tables = {}
    for kind in (*PAIRS, START, SIDE):
        mine = _newest([s for s in report.sections if s.stored.benchmark == kind])
        if kind == SIDE:
            text = _side_by_side(mine, folder)
        else:
            rows = _start if kind == START else _pairs
            text = "\n".join(rows(section) + _provenance([section], folder) for section in mine)
        tables[kind] = text or f"{MISSING}.\n"
    return tables


def _newest(sections: Sequence[Section]) -> list[Section]:
    """One of each machine, and recipe, engine and hosts where these are settings, in order."""
    found: dict[str, Section] = {}
    for section in sorted(sections, key=lambda s: str(s.stored.content["started_utc"])):
        settings = section.stored.content["settings"]
        what = [settings.get(key) for key in ("recipe", "engine", "hosts")]
        found[f"{section.stored.machine} {what}"] = section
    return [found[key] for key in sorted(found)]


def _pairs(section: Section) -> str:
    """Rows by what they are compared with; those of another's are not set against it."""
    content = section.stored.content
    rows, cpu = content["results"].get("rows") or content["results"]["graphs"], cpu_leads(content)
    clocks = ("processor time", "the clock") if cpu else ("the clock", "processor time")
    recipe = content["settings"].get("recipe")
    shares = {line.label.rpartition(": ")[2]: line.share for line in section.findings}
    heads = ["What", "ms", f"× time, by {clocks[0]}", "95 % interval", f"× by {clocks[1]}",
             "over that of", "of the peak", "× at most"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for row in rows:
        against = row.get("against", rows[0]["name"])
        cells = [row["name"], number(row["median_ms"]), "", "", "", "", shares.get(row["name"], "")]
        goal = ""
        if against != row["name"]:
            ratio = leading(row, "ratio", cpu_first=cpu)
            ends = [leading(row, f"ratio_{end}", cpu_first=cpu) for end in ("low", "high")]
            # Older records of passes have one clock.
            other = row["ratio" if cpu else "cpu_ratio"] if "cpu_ratio" in row else None
            cells[2:6] = [f"{ratio:.3f}", _ends(ends), "" if other is None else f"{other:.3f}",
                          against]  # fmt: skip
            goal = _goal(f"{recipe}: {row['name']}" if recipe else row["name"], ratio)
        lines.append(f"| {' | '.join([*cells, goal])} |")
    head = f"`{recipe}` on {content['settings']['engine']}:\n\n" if recipe else ""
    return head + "\n".join(lines) + "\n"


def _start(section: Section) -> str:
    lines = ["| What | median | least | at most |", "| --- " * 4 + "|"]
    for row in section.stored.content["results"]["rows"]:
        cells = [row["name"], f"{row['median']:.2f} {row['unit']}", f"{row['least']:.2f}"]
        lines.append(f"| {' | '.join([*cells, _goal(row['name'], row['median'])])} |")
    return "\n".join(lines) + "\n"


def _side_by_side(sections: Sequence[Section], folder: Path) -> str:
    """Contenders below each other, some hosts beside each other."""
    entries = [(entry, section) for section in sections
               for entry in section.stored.content["results"]["hosts"]]  # fmt: skip
    tables = []
    for begin in range(0, len(entries), HOSTS):
        some = entries[begin : begin + HOSTS]
        heads = ["Contender", *(f"{entry['title']}" for entry, _ in some)]
        rows = [{row["contender"]: row for row in entry["rows"]} for entry, _ in some]
        names = dict.fromkeys(itertools.chain.from_iterable(rows))
        lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
        for name in names:
            cells = [_beside(row.get(name), cpu=cpu_leads(entry))
                     for row, (entry, _) in zip(rows, some, strict=True)]  # fmt: skip
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
        told = list({id(section): section for _, section in some}.values())
        tables.append("\n".join(lines) + "\n" + _provenance(told, folder))
    return "\n".join(tables)


def _beside(row: Json | None, *, cpu: bool) -> str:
    if row is None:
        return ""
    if "failed" in row:
        return "fails"
    if row["against"] == row["contender"]:
        return f"{number(row['median_ms'])} ms"
    ends = [leading(row, f"ratio_{end}", cpu_first=cpu) for end in ("low", "high")]
    text = f"× {leading(row, 'ratio', cpu_first=cpu):.3f}"
    return f"{text} ({_ends(ends)})" if ends[0] is not None else text


def _ends(ends: Sequence[float | None]) -> str:
    return "too few rounds" if None in ends else " to ".join(f"{end:.3f}" for end in ends)


def _goal(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return ""
    return f"{goal:.4g}: {'met' if value <= goal else '**missed**'}"


def _provenance(sections: Sequence[Section], folder: Path) -> str:
    """A paragraph: machine, threads and rounds, what else ran, and the records."""
    return "\n" + "\n".join(dict.fromkeys(_lines(sections, folder))) + "\n"


def _lines(sections: Sequence[Section], folder: Path) -> Iterator[str]:
    for section in sections:
        content: dict[str, Any] = section.stored.content
        link = os.path.relpath(section.stored.path.resolve(), folder.resolve())
        clock = "processor time leads" if cpu_leads(content) else "the clock leads"
        rounds = content["settings"]["rounds"]
        about = "; ".join(filter(None, [f"{rounds} rounds", section.notes, clock]))
        date, commit = content["started_utc"][:10], content["code"]["commit"][:12]
        yield f"{section.machine}; {about}: [{date}, {commit}]({Path(link).as_posix()})."
