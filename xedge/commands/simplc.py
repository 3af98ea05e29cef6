"""`xedge sim-plc`: a simulated PLC with a diverter, at the other end of a lane's bus."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from xedge.commands.lanefile import read_lane_file
from xedge.commands.live import open_console
from xedge.commands.sources import belt_plan
from xedge.control.rule import RuleConfig, Why
from xedge.control.simplc import BeltClock, Diverted, SimPlc
from xedge.errors import ConfigError
from xedge.sim.physics import ScannerModel
from xedge.types import Verdict

SCAN_S: Final = 0.01
"""A cycle of the PLC; real ones take 1 to 20 ms."""

PARTING_S: Final = 20.0
"""Seconds that the PLC stays for the lane's farewell when the belt is empty."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--bus", type=click.IntRange(1), default=1, show_default=True,
              help="Which [[bus]] of the file, counted from 1.")  # fmt: skip
@click.option("--diverter-mm", type=click.FloatRange(1), default=1800.0, show_default=True,
              help="Belt from the beam to the diverter, mm.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a bag.")
def sim_plc(file: Path, bus: int, diverter_mm: float, as_json: bool) -> None:
    """Play the PLC of a lane's file: each bag is let through or diverted, and why.

    It talks over the real bus, and its rule has the file's plc_limit_s and reverse_counts. Its
    belt starts when it hears that the lane runs, and its light barrier knows the bags from the
    file's source: simulated, or a strip file with its truth. It ends when the belt is empty and
    the lane has said farewell. What keeps the bus from working is said once.

    \b
    Examples:
      xedge sim-plc lane.toml
      xedge sim-plc lane.toml --bus 2 --json
    """  # noqa: D301  # click wants the character, not a backslash
    logging.getLogger().addHandler(logging.NullHandler())  # a lost bus shows in the table
    read = read_lane_file(file)
    if bus > len(read.buses):
        raise ConfigError(f"{file} has no bus {bus}", expected=f"1 to {len(read.buses)}")
    behind_mm = max(view.offset_mm for view in read.sources) - read.source.offset_mm
    plan = belt_plan(read.source, behind_mm)
    table = read.buses[bus - 1]
    port = table.kind.port(table.options)
    counts = round(diverter_mm / ScannerModel().pitch_mm)
    plc = SimPlc(port, plan.bags, counts, RuleConfig(
        heartbeat_limit_ms=round(1000 * read.control.plc_limit_s),
        reverse_counts=read.control.reverse_counts,
    ))  # fmt: skip
    port.connect()  # where the lane is the server, it may come later
    try:
        gone = _play(plc, BeltClock(plan.counts_per_s, time.monotonic), as_json)
    finally:
        port.close()
    if not as_json:
        passed = sum(bag.passed for bag in gone)
        click.echo(f"{len(gone)} bags: {passed} let through, {len(gone) - passed} diverted")


def _play(plc: SimPlc, belt: BeltClock, as_json: bool) -> list[Diverted]:
    console = open_console(quiet=as_json)
    gone: list[Diverted] = []
    said: set[str] = {""}
    parting = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not (plc.done and (not plc.rule.ready or time.monotonic() > parting)):
            if plc.rule.ready:
                belt.start()
            for bag in plc.scan(belt.encoder, int(time.monotonic() * 1000) % 2**32):
                gone.append(bag)
                _show(live.console, bag, as_json)
            if plc.trouble not in said:
                said.add(plc.trouble)
                _warn(live.console, plc.trouble, as_json)
            if not plc.done:
                parting = time.monotonic() + PARTING_S
            live.update(Text(_footer(plc, belt), style="dim"), refresh=True)
            time.sleep(SCAN_S)
    return gone


def _footer(plc: SimPlc, belt: BeltClock) -> str:
    lane = "runs" if plc.rule.ready else "is not heard"
    return f"belt at {belt.encoder} counts, the lane {lane}, {plc.tracked} bags on their way"


def _warn(console: Console, trouble: str, as_json: bool) -> None:
    if as_json:
        click.echo(trouble, err=True)
    else:
        console.print(Text(trouble, style="yellow"), soft_wrap=True)


def _show(console: Console, bag: Diverted, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(bag_record(bag)))
        return
    if bag.passed:
        text = Text(f"bag {bag.number:<5} let through", style="green")
    else:
        why = bag.verdict.name if bag.why is Why.DECIDED else bag.why.value
        style = "bold red" if bag.verdict is Verdict.ALARM else "bold yellow"
        text = Text(f"bag {bag.number:<5} diverted: {why}", style=style)
    console.print(text, soft_wrap=True)


def bag_record(bag: Diverted) -> dict[str, Any]:
    """A bag at the diverter as JSON values."""
    return {
        "number": bag.number, "bag": bag.bag, "encoder_head": bag.head, "encoder_tail": bag.tail,
        "passed": bag.passed, "verdict": bag.verdict.name, "why": bag.why.name,
    }  # fmt: skip
