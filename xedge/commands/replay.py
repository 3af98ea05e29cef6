"""`xedge replay`: a recorded shift decided again, and every difference; or what a journal holds."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import bundle_options
from xedge.commands.live import open_console
from xedge.commands.screening import EngineUsed, named_engine, warm_detector
from xedge.detector import Detector
from xedge.engines import BACK_ENDS
from xedge.engines.threads import lane_threads
from xedge.errors import JournalError
from xedge.lane.config import FULL
from xedge.lane.journal import JournalReader
from xedge.lane.journal.reading import Boot
from xedge.lane.journal.replay import Replay, Screens
from xedge.lane.journal.replay import replay as replayed

SHOWN = 50
"""Differences in a terminal; --json has all."""


@click.command()
@click.argument("journal", type=click.Path(path_type=Path, file_okay=False))
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--threads", type=click.IntRange(1), help="Of the engine; else all cores but one.")
@click.option("--no-engine", is_flag=True, help="Take what the engine found from the record.")
@click.option("--from", "first", type=click.IntRange(1), default=1, help="The first bag.")
@click.option("--to", "last", type=click.IntRange(1), help="The last bag.")
@click.option("--list", "listing", is_flag=True, help="Say what the journal holds; decide nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def replay(
    ctx: click.Context,
    journal: Path,
    bundle: Path | None,
    public_key: bytes | None,
    engine: str,
    threads: int | None,
    no_engine: bool,
    first: int,
    last: int | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Decide a recorded shift again, and print every difference.

    The lane is told what it was told then, at the same times: strips, lost lines, thresholds that
    were set, windows that failed or were skipped. The engine screens the windows again. With the
    model and the engine of the shift the decisions are the same, bit for bit. A lane may write the
    journal meanwhile.

    \b
    Exit codes:
      0  every decision is the same
      1  there are differences, or the journal, the bundle or the engine cannot be used, or
         no bag that is asked for is there, or retention has deleted them all

    \b
    Examples:
      xedge replay journal --list
      xedge replay journal --from 120 --to 180
      xedge replay journal --no-engine --json
      xedge replay journal --bundle new.xedge    # what would another model have said?
    """  # noqa: D301  # click wants the character, not a backslash
    with ExitStack() as stack:
        reader = stack.enter_context(JournalReader(journal))
        if listing:
            _list(reader, as_json)
            return
        screens: Callable[[Boot], Screens] | Screens = {}
        notices: list[str] = []
        if not no_engine:
            opened = open_bundle(bundle, public_key)
            used = named_engine(engine, threads or lane_threads())
            screens = _of_each_boot(stack, opened, used)
            now = {"model_sha256": opened.sha256, "engine": f"{used.name} {used.version}",
                   "threads": str(used.threads)}  # fmt: skip
            notices = _otherwise(reader.boots(), now)
        outcome = replayed(reader, screens, first=first, last=last)
        _refuse_nothing(reader, outcome, first, last)
    outcome.notices[:0] = notices
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(outcome)))
    else:
        _show(open_console(quiet=False), outcome)
    if outcome.differences:
        ctx.exit(1)


def _refuse_nothing(reader: JournalReader, outcome: Replay, first: int, last: int | None) -> None:
    """An error when bags were named, and the journal has none of them: nothing was held equal."""
    reached = outcome.compared + outcome.recovered + outcome.out_of_reach + outcome.deleted
    if (first == 1 and last is None) or reached:
        return
    bags = [row["bag"] for row in reader.bags()]
    raise JournalError(
        "the journal holds none of the bags that are asked for",
        expected=f"some of {min(bags)} to {max(bags)}" if bags else "a journal with bags",
        found=f"--from {first}" + ("" if last is None else f" --to {last}"),
        remedy="`xedge replay --list` says what it holds",
    )


def _of_each_boot(stack: ExitStack, bundle: Bundle, used: EngineUsed) -> Callable[[Boot], Screens]:
    """What gives the screens of a boot: windows stop in them where they did then, and only there.

    Boots that follow each other with one threshold share a detector; the last one is closed with
    the stack.
    """
    loaded = stack.enter_context(ExitStack())

    @lru_cache(1)  # one model in memory: boots come one after another
    def detector(least: float | None) -> Detector:
        loaded.close()
        opened, _ = loaded.enter_context(warm_detector(bundle, used.name, used.threads, least))
        return opened

    return lambda boot: {FULL: detector(_least(boot))}


def _least(boot: Boot) -> float | None:
    """The least score that quiet windows were not to lose in a boot; None for all."""
    told = boot.about.get("least")
    return float(told) if told else None


def _otherwise(boots: list[Boot], now: dict[str, str]) -> list[str]:
    """Sentences about what was not the same in the shift."""
    said = []
    for name, value in now.items():
        then = {boot.about[name] for boot in boots if name in boot.about}
        if then - {value}:
            said.append(f"{name.replace('_', ' ')} is {value} now, and was "
                        f"{', '.join(sorted(then))}: answers may differ")  # fmt: skip
    return said


def _show(console: Console, outcome: Replay) -> None:
    for notice in outcome.notices:
        console.print(f"! {notice}", markup=False)
    if outcome.differences:
        table = Table("bag", "what", "recorded", "replayed", box=None)
        for one in outcome.differences[:SHOWN]:
            table.add_row(str(one.bag), one.what, one.recorded, one.replayed)
        console.print(table)
    if len(outcome.differences) > SHOWN:
        console.print(f"... and {len(outcome.differences) - SHOWN} more; --json has all")
    console.print(
        f"{outcome.compared} decisions compared, {len(outcome.differences)} differences; "
        f"{outcome.windows} windows screened again, {outcome.from_record} taken from the record; "
        f"{outcome.recovered} bags of a broken run, {outcome.out_of_reach} out of reach, "
        f"{outcome.deleted} deleted"
    )


def _list(reader: JournalReader, as_json: bool) -> None:
    bags = reader.bags()
    shifts = [_summary(boot, [row for row in bags if row["epoch"] == boot.epoch])
              for boot in reader.boots()]  # fmt: skip
    if as_json:
        gone = [dataclasses.asdict(one) for one in reader.deletions()]
        click.echo(json.dumps({"strip_bytes": reader.strip_bytes, "boots": shifts,
                               "deleted": gone}))  # fmt: skip
        return
    table = Table("epoch", "started", "ended", "bags", "decisions", "model", "engine", box=None)
    for shift in shifts:
        span = f"{shift['first_bag']} to {shift['last_bag']}" if shift["last_bag"] else "none"
        counts = ", ".join(f"{n} {name}" for name, n in shift["verdicts"].items())
        about = shift["about"]
        table.add_row(
            str(shift["epoch"]), shift["started"], shift["ended"] or "no: it broke off, or runs",
            span, counts, about.get("model", ""), about.get("engine", ""),
        )  # fmt: skip
    console = open_console(quiet=False)
    console.print(table)
    console.print(f"{reader.strip_bytes / 1e6:.1f} MB of raw strips")
    for one in reader.deletions():
        console.print(str(one), markup=False)


def _summary(boot: Boot, bags: list[dict[str, Any]]) -> dict[str, Any]:
    verdicts = Counter(row["verdict"] or "OPEN" for row in bags)
    return {
        "epoch": boot.epoch,
        "started": _time(boot.started_at),
        "ended": _time(boot.ended_at) if boot.ended_at is not None else None,
        "first_bag": boot.first_bag,
        "last_bag": bags[-1]["bag"] if bags else None,
        "verdicts": dict(sorted(verdicts.items())),
        "recovered": sum(row["decided_epoch"] not in (None, boot.epoch) for row in bags),
        "late": sum(row["late"] or 0 for row in bags),
        "unacknowledged": sum(not row["handed"] for row in bags),
        "about": boot.about,
    }


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns * 1e-9, timezone.utc).isoformat(timespec="seconds")
