"""One lane as a service: its source, its lane, its buses, and an end in good order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from xedge.bundle import Bundle, open_bundle
from xedge.commands.dicosarchive import described_machine, left_out, open_archive
from xedge.commands.engine import EngineState, ServedEngine, served_engine, served_fallbacks
from xedge.commands.figures import FiguresServer, exposition, lane_exposition
from xedge.commands.health import Health, health_of
from xedge.commands.journals import Handover, least_told, open_journal
from xedge.commands.laneconfig import lane_config, pitch_mm
from xedge.commands.lanefile import BusTable, LaneFile, read_lane_file
from xedge.commands.logs import fields
from xedge.commands.notify import Watchdog, notify, watchdog_s
from xedge.commands.plcnews import PlcNews
from xedge.commands.sources import Gate
from xedge.commands.viewfeed import open_feeds
from xedge.control.board import new_epoch
from xedge.control.bus import Bus
from xedge.control.dicos.bag import DicosArchive
from xedge.control.image import LaneState
from xedge.control.link import Link
from xedge.errors import BusError, ConfigError, XedgeError
from xedge.lane.config import FULL
from xedge.lane.events import Note
from xedge.lane.journal import Journal
from xedge.lane.ladder import Rung
from xedge.lane.report import LaneReport, Tally
from xedge.lane.runner import run_lane
from xedge.lane.steering import Steering
from xedge.lane.vitals import Vitals
from xedge.quiet import below_for
from xedge.scanner.pairing import ViewBooks
from xedge.types import Decision, Reason, Scan

LOG: Final = logging.getLogger("xedge.service")
LOOK_S: Final = 0.02
KILL_S: Final = 5.0
"""Seconds beyond its time-out in which an engine's process is ended before the engine is silent."""

SLOW_BAGS: Final = 3
"""Bags in a row from the first whose TIMEOUT says that the machine is too slow."""


class Service:
    """A lane's file, carried out; `run` once.

    Args:
        file: The file.
        on_decision: Called with each decision after it was handed to the buses.

    Attributes:
        classes: Names of the model's classes, once it is open.
        screening: True while the lane takes lines or has open bags.
    """

    def __init__(
        self, file: LaneFile, on_decision: Callable[[Decision], None] = lambda decision: None
    ) -> None:
        self._file, self._on_decision = file, on_decision
        own = KILL_S if file.engine.process else 0.0
        self._steering = Steering(Vitals(
            file.lane.silent_s, engine_s=file.engine.timeout_s + own,
            tell=lambda message: LOG.error("%s", message, extra=fields(event="error")),
            news=_tell_news,
        ))  # fmt: skip
        self._state = "starting"
        self._engines: dict[str, ServedEngine] = {}  # by rung of the ladder
        self._stopping = False
        self._gate: Gate | None = None
        self._links: list[Link] = []
        self._archive: DicosArchive | None = None
        self._journal: Journal | None = None
        self._tally = Tally()
        self._least_threshold = 0.0
        self._least: float | None = None  # what quiet windows must not lose
        self.classes: tuple[str, ...] = ()
        self._slow = False
        self._views: tuple[ViewBooks, ...] = ()
        self.screening = False

    def stop(self) -> None:
        """Take no more lines; bags on the way are decided, and what is left is handed over.

        A handler of a signal may call it: it takes no lock that the thread below could hold.
        """
        self._stopping = True
        self._state = "stopping"
        if self._gate is not None:
            self._gate.shut()

    def reload(self) -> None:
        """Read the file again for its alarm threshold; the rest needs a restart, and is left."""
        try:
            file = read_lane_file(self._file.path)
        except XedgeError as error:
            LOG.error("not reloaded: %s", error)
            return
        except Exception as error:  # whatever stands in the file: the lane screens on
            LOG.error("not reloaded: %s: %s", type(error).__name__, error)
            return
        threshold = file.lane.alarm_threshold
        if threshold is not None and threshold < self._least_threshold:
            LOG.error("not reloaded: alarm_threshold %s lies below the model's score threshold, "
                      "or what quiet windows keep since the start: %s",
                      threshold, self._least_threshold)  # fmt: skip
            return
        if threshold is not None and threshold != self._file.lane.alarm_threshold:
            self._steering.retune(threshold)
            if self._archive is not None:
                self._archive.retune(threshold)
            LOG.info("alarm_threshold is %s now", threshold)
        if threshold is None and self._file.lane.alarm_threshold is not None:
            threshold = self._file.lane.alarm_threshold
            LOG.warning("alarm_threshold is no longer in the file, and stays %s until the next "
                        "start", threshold)  # fmt: skip
        same = replace(file, lane=replace(file.lane, alarm_threshold=threshold))
        kept = replace(self._file, lane=replace(self._file.lane, alarm_threshold=threshold))
        for name in ("lane", "ladder", "engine", "sources", "correction", "control", "dicos",
                     "metrics"):  # fmt: skip
            if getattr(same, name) != getattr(kept, name):
                table = "source" if name == "sources" else name
                LOG.warning("[%s] has changed, which takes effect at the next start", table)
        # A bus that only stands at another line is the same.
        if [replace(bus, place="") for bus in same.buses] != [
            replace(bus, place="") for bus in kept.buses
        ]:
            LOG.warning("[[bus]] has changed, which takes effect at the next start")
        self._file = kept

    def run(self, bundle: Bundle | None = None) -> LaneReport:
        """Screen until the source ends or `stop` is called.

        Args:
            bundle: The model, when it is open already.

        Raises:
            BusError: When ``at_start = "require"`` and a PLC was not heard in time.
            XedgeError: When model, source, journal or a bus cannot be used.
            KeyboardInterrupt: Passed on after every open bag was decided and handed over.
        """
        file = self._file
        with ExitStack() as stack:
            model = bundle or open_bundle(file.lane.bundle, file.lane.public_key)
            feed = open_feeds(file.sources, pitch_mm(model.spec), self._steering.vitals.errors.add)
            stack.callback(feed.close)
            self._views = feed.books
            self.classes = tuple(model.spec.classes)
            config = lane_config(file, feed, model)
            self._set_least(model, config.alarm_threshold)
            if file.lane.journal is not None:
                self._journal = stack.enter_context(
                    open_journal(file.lane.journal, model, file.lane.journal_settings)
                )
            journal = self._journal
            buses = [_open_bus(table) for table in file.buses]
            links = [file.control.link(feed.counts_per_mm, table.plc_beats) for table in file.buses]
            stack.enter_context(self._figures())
            engine, fallbacks = self._open_engines(stack, model)
            handover = None
            if journal is not None:
                journal.describe(engine=engine.state.name, least=least_told(self._least))
                handover = Handover(journal, [n for n, t in enumerate(file.buses) if t.plc_beats])
            news = PlcNews(self._steering, journal, handover)
            epoch = new_epoch() if journal is None else journal.epoch
            self._archive = open_archive(file, feed, model.spec, config.alarm_threshold, epoch)
            if self._archive is not None:  # ends behind the buses, which wait for nothing
                stack.callback(self._tell_left_out)
                stack.enter_context(self._archive)
            stack.callback(self._part)
            for number, (bus, set_up) in enumerate(zip(buses, links, strict=True)):
                link = Link(bus, set_up, epoch, on_event=news.teller(str(bus), number))
                self._links.append(link)
                link.start()
            self._enter("waiting for the PLC")
            self._await_plcs()
            self._gate = Gate(feed.strips)
            if self._stopping:
                self._gate.shut()
            watched = Watchdog(self._steering.ping, lambda: self._steering.quiet_s, watchdog_s())
            stack.enter_context(watched)
            notify(READY=1, STATUS="screening")
            self._enter("screening")
            self.screening = True
            try:
                report = run_lane(
                    self._gate, engine.screen, feed.flat_field, config, realtime=True,
                    on_decision=self._publish, journal=journal, steering=self._steering,
                    keep=file.lane.keep, fallbacks=fallbacks,
                )  # fmt: skip
            finally:
                self.screening = False
                self._state = "stopping"
            for number, books in enumerate(self._views, 1):
                LOG.info("view %d: %s", number, books.in_words())
            if self._stopping:
                LOG.info("stopping: no more lines are taken")
            notify(STOPPING=1, STATUS="handing over the last decisions")
            return report

    def _set_least(self, model: Bundle, alarm_threshold: float) -> None:
        """Note what quiet windows must not lose, below which no reload may go from now on."""
        # One that came while the model was opened waits for the lane.
        alarm_threshold = min(alarm_threshold, self._file.lane.alarm_threshold or alarm_threshold)
        if not self._file.engine.refine_all:
            self._least = alarm_threshold
        self._least_threshold = model.spec.score_threshold
        if any(below_for(v.quiet, self._least) for v in model.variants.values()):
            self._least_threshold = alarm_threshold

    def _open_engines(self, stack: ExitStack, model: Bundle) -> tuple[ServedEngine, list[Rung]]:
        """The full model's engine, and what is below it."""
        lane = self._file.lane
        table, least = self._file.engine, self._least
        engine = self._engines[FULL] = stack.enter_context(
            served_engine(model, lane.bundle, lane.engine, lane.threads, table, least)
        )
        LOG.info("%s: model %s on %s", lane.name, model.spec.name, engine.state.name)
        fallbacks = served_fallbacks(stack, self._file, model)
        self._engines |= {rung.name: served for rung, served in fallbacks}
        return engine, [rung for rung, _ in fallbacks]

    def _publish(self, decision: Decision, scan: Scan | None) -> None:
        journal = self._journal
        earlier = journal is not None and decision.bag < journal.first_bag
        for link in self._links:
            link.publish(decision, earlier=earlier)
        if earlier:  # an earlier run has told all but the PLCs, unless it broke off before
            LOG.info("bag %d of an earlier run is handed over again", decision.bag)
            self._on_decision(decision)
            return
        if self._archive is not None:
            self._archive.put(decision, scan)
        self._tally.add(decision)
        self._tell_slow()
        self._on_decision(decision)

    def _tell_slow(self) -> None:
        """Say once that no bag was decided in time, and what helps."""
        late, decided = self._tally.reasons[Reason.TIMEOUT], sum(self._tally.verdicts.values())
        if self._slow or not SLOW_BAGS <= late == decided:
            return
        self._slow = True
        LOG.warning("none of the first %d bags was decided in time: this machine is too slow for "
                    "the model at this speed. A faster engine or model, or a larger deadline_mm, "
                    "helps; `xedge doctor` shows the engines", late)  # fmt: skip

    def _tell_left_out(self) -> None:
        for sentence in left_out(self._archive):
            LOG.error("%s", sentence)

    def _part(self) -> None:
        """Let go of all PLCs at once: together they take no longer than the slowest."""
        for link in self._links:
            link.set_state(LaneState.DRAINING)
        partings = [
            threading.Thread(target=self._part_from, args=(link,), daemon=True)
            for link in self._links
        ]
        for parting in partings:
            parting.start()
        for parting in partings:
            parting.join()

    def _part_from(self, link: Link) -> None:
        if not link.close(self._file.control.drain_s):
            LOG.error("%s: a call of the bus hangs, and was left behind", link.status.bus)

    def _figures(self) -> FiguresServer:
        metrics = self._file.metrics
        return FiguresServer(metrics.host, metrics.port, self.figures, self.health)

    def _enter(self, state: str) -> None:
        """Be in a state, unless `stop` has been called."""
        if not self._stopping:
            self._state = state

    def figures(self) -> str:
        """The figures as Prometheus reads them."""
        links = [link.status for link in self._links]
        lane, vitals = self._file.lane.name, self._steering.vitals
        return exposition(
            lane, self._tally, links, self._steering.quiet_s, self._archive
        ) + lane_exposition(lane, vitals, self._engine_states(), self._views)

    def health(self) -> Health:
        """How the lane is, for whoever looks after it."""
        links = [link.status for link in self._links]
        lane = self._file.lane
        return health_of(lane.name, self._state, self._steering.vitals,
                         self._engine_states(), links,
                         journal=lane.journal is not None, views=self._views)  # fmt: skip

    def _await_plcs(self) -> None:
        """Return when every PLC was heard and lets the lane run, or `stop` was called."""
        control = self._file.control
        notify(STATUS="waiting for the PLC")
        until = time.monotonic() + control.start_s
        said: set[int] = set()
        while not self._stopping:
            time.sleep(LOOK_S)
            self._tend_engines()
            silent = [
                number for number, link in enumerate(self._links)
                if not (link.status.connected and link.status.plc_runs)
            ]  # fmt: skip
            if not silent:
                # At once: a belt must not start because another one's PLC is there already.
                for link in self._links:
                    link.set_state(LaneState.RUNNING)
                return
            if time.monotonic() < until:
                continue
            error = _unheard(self._file.buses[silent[0]], self._links[silent[0]])
            if control.at_start == "require":
                raise error
            if silent[0] not in said:
                LOG.warning("waiting, nothing is cleared meanwhile: %s", error)
                said.add(silent[0])

    def _tend_engines(self) -> None:
        """Look after the engines while no lane does: this may take days."""
        vitals = self._steering.vitals
        for engine in self._engines.values():
            for note in engine.screen.tend(True):
                vitals.news(note)
                if error := str(note.fields.get("error", "")):
                    vitals.errors.add(error)

    def _engine_states(self) -> dict[str, EngineState]:
        """How each engine is, by rung of the ladder; any thread may ask."""
        return {rung: engine.state for rung, engine in list(self._engines.items())}


def _open_bus(table: BusTable) -> Bus:
    """The lane's end of a bus; what its certificates or library lack is said with the line."""
    try:
        return table.kind.bus(table.options)
    except XedgeError as error:
        raise error.at(f"{table.place}: [bus]") from error


def _unheard(table: BusTable, link: Link) -> BusError:
    """Why a lane does not start."""
    status = link.status
    remedy = 'Check the PLC and the address, or set at_start = "wait" in [control]'
    if not status.connected:
        found = status.last_error or "no answer"
        if status.last_error:  # which says what to check
            remedy = 'Or set at_start = "wait" in [control]'
    elif not status.plc_alive:
        found = "no heartbeat in its command image"
    else:
        found = "a command image that says stop"
    return BusError(
        f"{table.place}: [bus] the PLC of {status.bus} does not let the lane run",
        expected="a PLC that beats and says run",
        found=found,
        remedy=remedy,
    )


def _tell_news(note: Note) -> None:
    """What becomes of the engine, for the log; what went wrong is told as an error."""
    if "error" not in note.fields:
        LOG.info("%s", note.kind.replace("-", " "), extra=fields(event=note.kind, **note.fields))


def check_file(file: LaneFile) -> None:
    """Nothing, when all that can be tried without a PLC could be used.

    Raises:
        XedgeError: When it could not.
    """
    for table in file.buses:
        _open_bus(table)
    model = open_bundle(file.lane.bundle, file.lane.public_key)
    tuple(file.ladder.open(model.spec, file.lane.public_key))
    feed = open_feeds(file.sources, pitch_mm(model.spec))
    try:
        if file.dicos.folder is not None:
            described_machine(file, feed)
        lane_config(file, feed, model)
        for table in file.buses:
            file.control.link(feed.counts_per_mm, table.plc_beats)
    except ConfigError as error:
        raise error.at(f"{file.path}:") from error
    finally:
        feed.close()
