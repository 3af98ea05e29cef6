"""Decisions in a terminal, one line each as they are made, and a footer that keeps the count."""

from __future__ import annotations

import types
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xedge.commands.judge import JudgedBag
from xedge.lane.report import LaneReport, lower_rungs
from xedge.types import Decision, Detections, Verdict

STYLES = {Verdict.ALARM: "bold red", Verdict.CLEAR: "green", Verdict.NOT_CLEARED: "bold yellow"}

_WIDTHS = (5, 28, 9, 9, 12)


def open_console(*, quiet: bool) -> Console:
    """A console on standard output; lines into a file or a pipe are not broken at 80 columns."""
    console = Console(quiet=quiet, highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console


class DecisionTable:
    """Writes a line for each decision; a context manager, because of its footer.

    Args:
        console: Where to. Nothing is written when it is quiet.
        bags: Bags that are expected; None when nobody knows.
        judged: Whether the truth is known, and has columns.
    """

    def __init__(self, console: Console, bags: int | None, *, judged: bool) -> None:
        self._console, self._bags, self._judged = console, bags, judged
        self._verdicts: list[Verdict] = []
        # Drawn only when something has happened: a refreshing thread would disturb the engine.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> DecisionTable:
        self._live.start()
        self._live.update(Text("waiting for the first bag", style="dim"), refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._live.stop()

    def add(self, decision: Decision, what: str, judged: JudgedBag | None = None) -> None:
        """Write a decision.

        Args:
            decision: The decision.
            what: What was found, in words.
            judged: What it is worth, where the truth is known.
        """
        if not self._verdicts:
            names = ("bag", "decision", "found", "false", "latency", "what")
            self._live.console.print(Text(self._line(names), style="bold"), soft_wrap=True)
        verdict = decision.verdict
        self._verdicts.append(verdict)
        others = decision.reasons - {decision.reason}
        named = [*sorted(r.name for r in others), *lower_rungs(decision)]
        flags = f" [{', '.join(named)}]" if named else ""
        said = verdict.name if verdict is not Verdict.NOT_CLEARED else (
            f"{verdict.name} {decision.reason.name}"
        )  # fmt: skip
        found, false = "", ""
        if judged is not None:
            found, false = f"{judged.found}/{len(judged.things)}", str(len(judged.false))
        latency = f"{decision.latency_ns / 1e6:.0f} ms{' LATE' if decision.late else ''}"
        line = Text(self._line((str(decision.bag), said, found, false, latency, what + flags)))
        line.stylize(STYLES[verdict], _WIDTHS[0], _WIDTHS[0] + len(said))
        self._live.console.print(line, soft_wrap=True)
        self._live.update(Text(self._footer(), style="dim"), refresh=True)

    def _line(self, cells: Sequence[str]) -> str:
        shown = [cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=False)]
        if not self._judged:
            del shown[2:4]
        return "".join(shown) + cells[-1]

    def _footer(self) -> str:
        done = len(self._verdicts)
        counts = ", ".join(f"{self._verdicts.count(v)} {v.name}" for v in (Verdict.ALARM,
                           Verdict.CLEAR, Verdict.NOT_CLEARED))  # fmt: skip
        return f"{done}{f' of {self._bags}' if self._bags else ''} bags: {counts}"


def objects_found(found: Detections, classes: Sequence[str], alarm_threshold: float) -> str:
    """Names and scores of what reaches the alarm threshold, for a line of the table."""
    names = [
        f"{classes[int(label)]} {score:.2f}"
        for label, score in zip(found.labels, found.scores, strict=True)
        if score >= alarm_threshold
    ]
    return ", ".join(names)


def judged_objects(bag: JudgedBag) -> str:
    """What was found rightly, falsely and not at all, for a line of the table."""
    words = [f"{r.label} {r.score:.2f}" if r.right else f"false {r.label} {r.score:.2f}"
             for r in bag.reports]  # fmt: skip
    return ", ".join([*words, *(f"missed {thing.label}" for thing in bag.missed)])


def summary(report: LaneReport) -> Table:
    """The books and times of a run for a terminal."""
    ledger = report.ledger
    refused = "".join(
        f" + {lines:,} {cause.value}" for cause, lines in sorted(ledger.refused_lines.items())
    )
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts = ", ".join(
        f"{report.count(v)} {v.name}" for v in (Verdict.ALARM, Verdict.CLEAR, Verdict.NOT_CLEARED)
    )
    table.add_row("bags", f"{ledger.bags_in}, decisions {ledger.decisions}: {counts}")
    table.add_row(
        "lines",
        f"{ledger.lines_in:,} in = {ledger.bag_lines:,} of bags + {ledger.gap_lines:,} of air"
        f"{refused}{f' + {ledger.held_lines} held' if ledger.held_lines else ''}; "
        f"{'balanced' if ledger.balanced else 'NOT BALANCED'}",
    )
    if ledger.missing_lines:
        table.add_row("", f"{ledger.missing_lines:,} lines never came")
    if report.decisions:
        p50, p99, most = (report.latency_ms(p) for p in (50, 99, 100))
        table.add_row(
            "latency",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {most:.0f} ms from a bag's last line; "
            f"{report.late} late",
        )
    if report.tally.degraded:
        windows = ", ".join(f"{n} by {name}" for name, n in sorted(report.tally.windows.items())
                            if name)  # fmt: skip
        table.add_row("ladder", f"{report.tally.degraded} bags short of time; windows {windows}")
    table.add_row(
        "speed",
        f"{report.belt_s:.1f} s of belt in {report.busy_s:.1f} s of work: "
        f"{report.realtime_factor:.1f} times as fast as the belt",
    )
    for sentence in report.health.sentences():
        table.add_row("detector", sentence)
    return table
