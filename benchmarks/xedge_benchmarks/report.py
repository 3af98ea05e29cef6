"""`xedge bench report`: one page and one table from the records that exist.

Nothing is typed by hand: of each machine and each thing that was measured the newest record is
shown, and what has no record is "not measured". The table stands in a Markdown page between
``<!-- benchmarks: all -->`` and ``<!-- end -->``; with ``headlines`` for ``all``, its main rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from xedge import __version__
from xedge.page import page_environment
from xedge_benchmarks.charts import Chart, growth_charts, roofline
from xedge_benchmarks.compare import AGREES, TOO_NOISY, agreement, by_question
from xedge_benchmarks.findings import Finding, findings
from xedge_benchmarks.limits import peak_of, reached, together
from xedge_benchmarks.record import Json
from xedge_benchmarks.stored import Stored, newest, stored_in
from xedge_benchmarks.wording import MISSING
from xedge_benchmarks.work import Peak

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accuracy": "Accuracy on fresh simulated bags",
        "engines": "One window on every engine",
        "scenarios": "MLPerf's scenarios, from counts to detections",
        "contenders": "Side by side with what a user has without xedge",
        "speed-atss": "ATSS on ResNet-50, 640 x 640",
        "speed-label-aware": "What LA costs",
        "speed-quiet": "What LA costs where quiet windows stop early",
        "speed-doam": "What DOAM costs",
        "speed-mechanisms": "What mechanisms cost",
        "speed-start": "Starting, and what is installed",
        "algebra": "What each pass of the export brings",
        "belt": "A lane on a simulated belt",
        "lane": "Lanes in real time",
        "buses": "A decision to the PLC and back",
        "ring": "Lines through shared memory",
        "native": "libxedge against Python, from counts to detections",
        "growth": "Growth",
        "peak": "The machine's measured peak",
        "loadgen": "Against MLPerf's load generator",
    }
)
"""Benchmark to its title, in the order of the report."""
HEADLINES: Final = (
    "accuracy", "engines", "scenarios", "contenders", "speed-atss", "lane", "buses",
)  # fmt: skip
"""Benchmarks of the short table."""
ABOVE: Final = "FASTER THAN THE PEAK, which only a busy machine has shown so far"
MACHINES: Final[Mapping[str, Callable[[Json], bool]]] = MappingProxyType(
    {
        "Anything on an NVIDIA GPU": lambda machine: bool(machine["gpus"]),
        "Anything on a Jetson": lambda machine: "Jetson" in machine["board"],
    }
)
"""What somebody will ask for, to whether a machine is of that kind."""


@dataclass(frozen=True)
class Section:
    """One record in the report.

    Attributes:
        stored: The record.
        title: What it is.
        findings: Its lines.
        charts: Its drawings.
        caveats: What other records say of this one: whether a second run agrees, and whether the
            peak was ever seen.
    """

    stored: Stored
    title: str
    findings: tuple[Finding, ...]
    charts: tuple[Chart, ...]
    caveats: str = ""

    @property
    def is_headline(self) -> bool:
        """Whether it belongs into the short table: the shipped bundle, as a lane is run."""
        runs = self.stored.content["results"].get("runs", [])
        return (
            self.stored.benchmark in HEADLINES
            and not self.stored.bundle
            and all(run["beside"] == "nothing" for run in runs)
        )

    @property
    def notes(self) -> str:
        """What a reader must know of the run, in a sentence."""
        content = self.stored.content
        told = content["conditions"]
        notes = list(content["notes"])
        if isinstance(threads := self.stored.threads, int):
            notes.insert(0, f"{threads} thread{'s' * (threads > 1)}")
        if told is None:
            notes.append("nobody looked at clocks and heat")
        elif told["throttled"] is None:
            notes.append("this system does not tell whether it throttled")
        return "; ".join(filter(None, [*notes, self.caveats]))

    @property
    def machine(self) -> str:
        """The machine for people."""
        machine = self.stored.content["machine"]
        name = machine["board"] or machine["cpu"] or machine["system"]
        gpus = "".join(f", {gpu.partition(',')[0]}" for gpu in machine["gpus"])
        return f"{name.replace('(R)', '').replace('(TM)', '')}, {machine['cores']} cores{gpus}"


@dataclass(frozen=True)
class Report:
    """What the records say.

    Attributes:
        sections: One a record, in the order of `TITLES`.
        missing: What has no record.
    """

    sections: tuple[Section, ...]
    missing: tuple[str, ...]


def report_of(results: Path) -> Report:
    """The newest records of a folder, put together.

    Args:
        results: The folder of all results.

    Raises:
        ConfigError: When it is no folder, or has a file that is no record.
    """
    every = stored_in(results)
    stored, runs = newest(every), by_question(every)
    peaks = {
        machine: together(one.content["results"] for one in every
                          if (one.machine, one.benchmark) == (machine, "peak"))
        for machine in {one.machine for one in every}
    }  # fmt: skip
    order = list(TITLES)
    ranked = sorted(
        stored, key=lambda s: order.index(s.benchmark) if s.benchmark in order else len(order)
    )
    sections = tuple(
        _section(one, peaks[one.machine], agreement(runs[one.question])) for one in ranked
    )
    have = {one.benchmark for one in stored}
    missing = [title for kind, title in TITLES.items() if kind not in have]
    machines = [one.content["machine"] for one in stored]
    missing += [what for what, has in MACHINES.items() if not any(map(has, machines))]
    return Report(sections, tuple(missing))


def _section(stored: Stored, peaks: Json | None, agreed: str) -> Section:
    content = stored.content
    charts: list[Chart] = growth_charts(content["results"]) if stored.benchmark == "growth" else []
    if peaks and (drawn := _roofline(content, peaks)):
        charts.append(drawn)
    above = [r for r in reached(content, peaks) if (r.share.arithmetic or 0) > 1] if peaks else []
    if above:
        agreed = "; ".join(filter(None, [agreed, ABOVE]))
    title = TITLES.get(stored.benchmark, stored.benchmark)
    if stored.bundle:
        title += f", {stored.bundle}"
    return Section(stored, title, tuple(findings(content, peaks)), tuple(charts), agreed)


def _roofline(content: Json, peaks: Mapping[str, Any]) -> Chart | None:
    rows = reached(content, peaks)
    threads = content["settings"].get("threads")
    gpu = any(row["device"] != "cpu" for row in peaks["rows"]) and any(
        "CUDA" in row.label or "tensorrt" in row.label for row in rows
    )
    name = "GPU" if gpu else f"{threads or 'all'} thread{'' if threads == 1 else 's'}"
    peak, used = (
        peak_of(peaks, gpu=gpu, threads=threads),
        {k for r in rows for k in r.work.operations},
    )
    roofs = {kind: rate for kind, rate in peak.operations_s.items() if kind in used}
    svg = roofline(rows, {name: Peak(roofs, peak.bytes_s)})
    return Chart("Roofline: rows under the measured peak", svg) if svg else None


def repeated(report: Report) -> str:
    """What second runs of the same code say of the machine, in a sentence; empty without any."""
    agree = [section for section in report.sections if AGREES in section.caveats]
    noisy = [section.title for section in report.sections if TOO_NOISY in section.caveats]
    if not agree and not noisy:
        return ""
    text = f"measured twice: {len(agree) + len(noisy)}, of which {len(agree)} agree"
    return f"{text}; TOO NOISY: {', '.join(noisy)}" if noisy else text


def headlines(report: Report) -> Report:
    """The rows of a report that a short table has."""
    rest = {title for kind, title in TITLES.items() if kind not in HEADLINES}
    return Report(
        tuple(section for section in report.sections if section.is_headline),
        tuple(what for what in report.missing if what not in rest),
    )


def markdown(report: Report, root: Path) -> str:
    """The table in Markdown, one row a record and one for each thing without.

    Args:
        report: What to show.
        root: Folder of the page, from which the records are linked.
    """
    lines = ["| What | Result | Machine, and what to know of the run | Record |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for section in report.sections:
        content = section.stored.content
        commit, date = content["code"]["commit"][:12], content["started_utc"][:10]
        link = Path(os.path.relpath(section.stored.path.resolve(), root.resolve())).as_posix()
        about = "; ".join(filter(None, [section.machine, section.notes]))
        cells = [section.title, _short(section.findings), about, f"[{date}, {commit}]({link})"]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines += [f"| {what} | {MISSING} |  |  |" for what in report.missing]
    return "\n".join(lines) + "\n"


def _short(lines: Sequence[Finding]) -> str:
    """The main lines of a record in one cell."""
    return "<br>".join(
        f"{line.label}: {line.result}" + (f" ({line.share} of the peak)" if line.share else "")
        for line in [line for line in lines if line.main] or lines[:1]
    )


def html_page(report: Report) -> str:
    """The page, whole in itself.

    Raises:
        ModuleNotFoundError: Without jinja2 (extra ``report``).
    """
    environment = page_environment(Path(__file__).parent)
    made = max((s.stored.content["started_utc"] for s in report.sections), default="")
    page = environment.get_template("benchmarks.html").render(
        report=report, version=__version__, made=made
    )
    return str(page)
