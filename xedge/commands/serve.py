"""`xedge serve`: a lane as a service, and its signals."""

from __future__ import annotations

import json
import logging
import queue
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from xedge.commands.lanefile import read_lane_file
from xedge.commands.live import open_console, summary
from xedge.commands.logs import fields, formatter
from xedge.commands.outlet import Outlet, OutletHandler
from xedge.commands.service import LOG, Service, check_file
from xedge.commands.strips import named_record
from xedge.errors import LaneError
from xedge.types import Decision


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Check the file, and what can be tried without a PLC.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a decision.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines of the log for people, or one JSON object each.",
)
def serve(file: Path, check: bool, as_json: bool, log_format: str) -> None:
    """Run a lane from one file: source, engine, PLC buses, journal, metrics.

    Nothing is screened before every PLC is heard. SIGTERM (or Ctrl-C) ends it in good order: no
    more lines are taken, bags on the way are decided and handed over; a second one, or
    drain_s later, ends it at once, open bags NOT_CLEARED. SIGHUP reads the alarm threshold again.
    The log goes to standard error.

    \b
    Examples:
      xedge serve lane.toml --check
      xedge serve lane.toml --json > decisions.jsonl
      xedge sim-plc lane.toml      # in another terminal: a PLC and a diverter
    """  # noqa: D301  # click wants the character, not a backslash
    read = read_lane_file(file)
    if check:
        check_file(read)
        click.echo(json.dumps({"file": str(file), "ok": True}) if as_json else f"{file}: good")
        return
    # Neither the lane nor a bus waits for whoever reads what is printed.
    with Outlet(sys.stderr.fileno()) as log, Outlet(sys.stdout.fileno()) as out:
        _log_to(log, log_format)
        service = Service(read, lambda decision: _say(out, service, decision, as_json))
        _take_signals(service, read.control.drain_s)
        try:
            report = service.run()
        except KeyboardInterrupt:
            LOG.warning("ended at once: open bags were not cleared")
            raise
        if out.lost:
            LOG.warning("%d decisions were not printed: nobody read them in time", out.lost)
        if not as_json:
            console = open_console(quiet=False)
            with console.capture() as text:
                console.print(summary(report))
            out.say(text.get().rstrip())
    for error in report.errors:
        if error.startswith("the source failed"):
            raise LaneError(error)


def _say(out: Outlet, service: Service, decision: Decision, as_json: bool) -> None:
    if as_json:
        out.say(json.dumps(named_record(decision, service.classes)))
        return
    LOG.info(
        "bag %d: %s%s, %.0f ms", decision.bag, decision.verdict.name,
        f" {decision.reason.name}" if decision.reason else "", decision.latency_ns / 1e6,
        extra=fields(event="decision", bag=decision.bag, verdict=decision.verdict.name,
                     reason=decision.reason.name, late=decision.late,
                     latency_ms=decision.latency_ns / 1e6),
    )  # fmt: skip


def _take_signals(service: Service, drain_s: float) -> None:
    """SIGTERM and SIGINT end the service, at once the second time; SIGHUP reads the file again."""
    stopping = False
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # which a handler may put into

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        # A detector that sends nothing must not keep the lane from ending.
        signal.setitimer(signal.ITIMER_REAL, drain_s)
        service.stop()

    def at_once(number: int, frame: FrameType | None) -> None:
        if service.screening:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGALRM, at_once)
    signal.signal(signal.SIGHUP, lambda number, frame: asked.put(None))
    threading.Thread(
        target=_reload, args=(service, asked), name="xedge-reload", daemon=True
    ).start()


def _reload(service: Service, asked: queue.SimpleQueue[None]) -> None:
    """Read the file again whenever it is asked for, away from the thread that runs the lane."""
    while True:
        asked.get()
        service.reload()


def _log_to(outlet: Outlet, log_format: str) -> None:
    """Have what xedge logs, the links too, and whatever ends another thread go to an outlet."""
    handler = OutletHandler(outlet)
    handler.setFormatter(formatter(log_format))
    ours = logging.getLogger("xedge")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    threading.excepthook = _say_of_thread
    # What pymodbus, asyncua and the like say of a lost connection, the links say already.
    logging.getLogger().addHandler(logging.NullHandler())


def _say_of_thread(ended: threading.ExceptHookArgs) -> None:
    """No thread ends unheard, whoever started it."""
    name = ended.thread.name if ended.thread is not None else "a thread"
    trace = (ended.exc_type, ended.exc_value or ended.exc_type(), ended.exc_traceback)
    LOG.error("%s ended: %s: %s", name, ended.exc_type.__name__, ended.exc_value, exc_info=trace,
              extra=fields(event="thread-ended", thread=name))  # fmt: skip
