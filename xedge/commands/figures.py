"""A lane's figures for Prometheus, in its text format, and its health, over a small HTTP server."""

from __future__ import annotations

import http.server
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from xedge.commands.engine import EngineState
from xedge.commands.health import Health
from xedge.control.dicos.bag import DicosArchive
from xedge.control.link import LinkStatus
from xedge.errors import ConfigError
from xedge.lane.report import Tally
from xedge.lane.vitals import LATENCY_BOUNDS_S, Vitals
from xedge.machine import resident_bytes
from xedge.scanner.health import DetectorHealth
from xedge.scanner.pairing import ViewBooks
from xedge.types import Reason, Verdict

LOG: Final = logging.getLogger("xedge.service")
REQUEST_S: Final = 5.0
"""Seconds that a peer may take for its request, so that silent ones do not pile up."""


def exposition(
    lane: str,
    tally: Tally,
    links: Sequence[LinkStatus],
    quiet_s: float,
    archive: DicosArchive | None = None,
) -> str:
    """The figures as Prometheus reads them, version 0.0.4 of its text format."""
    name = _quoted(lane)
    lines = [
        *_family("decisions_total", "counter", "Decisions by verdict.", (
            (f"lane={name},verdict={_quoted(verdict.name)}", str(tally.verdicts[verdict]))
            for verdict in Verdict)),
        *_family("not_cleared_total", "counter", "Decisions that are NOT_CLEARED, by reason.", (
            (f"lane={name},reason={_quoted(reason.name)}", str(tally.reasons[reason]))
            for reason in Reason if reason is not Reason.NONE)),
        *_family("late_total", "counter", "Decisions made after their deadline.",
                 [(f"lane={name}", str(tally.late))]),
        *_family("degraded_total", "counter", "Bags not screened by the full model throughout.",
                 [(f"lane={name}", str(tally.degraded))]),
        *_family("quiet_seconds", "gauge", "Seconds since the lane last worked.",
                 [(f"lane={name}", f"{quiet_s:.3f}")]),
    ]  # fmt: skip
    if archive is not None:
        lines += _family("dicos_bags_total", "counter", "Bags by what became of their files.", (
            (f"lane={name},outcome={_quoted(outcome)}", str(getattr(archive, outcome)))
            for outcome in ("written", "dropped", "failed")))  # fmt: skip
    figures: tuple[tuple[str, str, str, Callable[[LinkStatus], float]], ...] = (
        ("connected", "gauge", "1 while the bus works.", lambda s: s.connected),
        ("plc_alive", "gauge", "1 while the PLC's heartbeat is young.", lambda s: s.plc_alive),
        ("state", "gauge", "The lane's state as the image shows it.", lambda s: s.state),
        ("unacknowledged", "gauge", "Decisions not taken over.", lambda s: s.unacknowledged),
        ("writes_total", "counter", "Images written.", lambda s: s.writes),
        ("failures_total", "counter", "Calls of the bus that failed.", lambda s: s.failures),
        ("connections_total", "counter", "Times the bus came up.", lambda s: s.connections),
        ("pushed_out_total", "counter", "Decisions pushed out.", lambda s: s.pushed_out),
        ("withheld_total", "counter", "CLEARs withheld.", lambda s: s.withheld),
        ("withdrawn_total", "counter", "CLEARs withdrawn.", lambda s: s.withdrawn),
        ("damaged_commands_total", "counter", "Bad command images.", lambda s: s.damaged_commands),
        ("lost_events_total", "counter", "Events that were never told.", lambda s: s.lost_events),
        ("quiet_seconds", "gauge", "Seconds since the bus last worked.", lambda s: s.quiet_s),
    )
    for figure, kind, what, value in figures:
        lines += _family(f"bus_{figure}", kind, what, (
            (f"lane={name},bus={_quoted(link.bus)}", f"{float(value(link)):.15g}")
            for link in links))  # fmt: skip
    return "\n".join(lines) + "\n"


def lane_exposition(
    lane: str,
    vitals: Vitals,
    engines: Mapping[str, EngineState],
    views: Sequence[ViewBooks] = (),
) -> str:
    """The figures of lines, detector, views, stages, engine and memory, as `exposition`."""
    ledger, depths = vitals.ledger, vitals.depths
    lines = [
        *_family("lines_total", "counter", "Lines that came, by what became of them.", [
            _sample(lane, value, fate=fate) for fate, value in (
                ("bag", ledger.bag_lines), ("air", ledger.gap_lines),
                *((cause.value, n) for cause, n in sorted(ledger.refused_lines.items())))]),
        *_one(lane, "missing_lines_total", "counter", "Lines that never came.",
              ledger.missing_lines),
        *_one(lane, "bags_total", "counter", "Bags that began.", ledger.bags_in),
        *_one(lane, "open_bags", "gauge", "Bags that are not decided.", ledger.open_bags),
        *_latencies(lane, vitals),
        *_one(lane, "queued_strips", "gauge", "Strips that wait.", depths.strips),
        *_one(lane, "queued_windows", "gauge", "Windows that wait.", depths.windows),
        *_one(lane, "errors_total", "counter", "Errors, of whatever kind.", len(vitals.errors)),
        *_one(lane, "journal_errors_total", "counter", "Records that are not in the journal.",
              vitals.journal_errors),
        *_family("stage_quiet_seconds", "gauge", "Seconds since a stage's last sign of life.", [
            _sample(lane, stage.quiet_s, stage=stage.name) for stage in vitals.stages]),
        *_family("stage_silent", "gauge", "1 while a stage is silent for too long.", [
            _sample(lane, stage.silent, stage=stage.name) for stage in vitals.stages]),
    ]  # fmt: skip
    processes = {"lane": os.getpid()}
    for rung, state in engines.items():
        if state.process is not None and state.process.pid is not None:
            processes[f"engine {rung}"] = state.process.pid
    if vitals.detector is not None:
        lines += _detector(lane, vitals.detector)
    if engines:
        lines += _engines(lane, engines)
    if views:
        lines += _family("view_lines_total", "counter", "Lines of each view, by their fate.", [
            _sample(lane, value, view=str(number), fate=fate)
            for number, books in enumerate(views, 1)
            for fate, value in (("row", books.paired), *(
                (cause.value, n) for cause, n in sorted(books.dropped.items())))])  # fmt: skip
    held = {name: resident_bytes(pid) for name, pid in processes.items()}
    lines += _family("resident_bytes", "gauge", "Physical memory that a process holds.", [
        _sample(lane, value, process=name) for name, value in held.items()
        if value is not None])  # fmt: skip
    return "\n".join(lines) + "\n"


def _detector(lane: str, seen: DetectorHealth) -> list[str]:
    both = ("low", "high")
    return [
        *_one(lane, "recalibrate", "gauge", "1 while a new correction is asked for.",
              bool(seen.recalibrate)),
        *_one(lane, "detector_fault", "gauge", "1 while too many neighbouring elements fail.",
              seen.fault),
        *_one(lane, "correction_changes_total", "counter", "Corrections that came into force.",
              seen.version),
        *_family("air_share", "gauge", "Air on the idle belt, of that of the correction.", [
            _sample(lane, air, energy=name) for name, air in zip(both, seen.air, strict=True)]),
        *_family("dead_elements", "gauge", "Elements interpolated throughout.", [
            _sample(lane, len(dead), energy=name)
            for name, dead in zip(both, seen.dead, strict=True)]),
    ]  # fmt: skip


def _engines(lane: str, engines: Mapping[str, EngineState]) -> list[str]:
    tests = {rung: state.tests for rung, state in engines.items()}
    processes = {
        rung: state.process for rung, state in engines.items() if state.process is not None
    }
    lines = [
        *_family("engine_ready", "gauge", "1 while windows are screened.", [
            _sample(lane, not state.problem, rung=rung) for rung, state in engines.items()]),
        *_family("windows_stopped_total", "counter", "Windows left after the first pass.", [
            _sample(lane, state.stopped, rung=rung) for rung, state in engines.items()]),
        *_family("self_tests_total", "counter", "Self-tests while idle.", [
            _sample(lane, value, rung=rung, outcome=outcome) for rung, books in tests.items()
            for outcome, value in (("passed", books.passed), ("failed", books.failed))]),
        *_family("self_test_age_seconds", "gauge", "Since one passed.", [
            _sample(lane, time.monotonic() - books.passed_at_s, rung=rung)
            for rung, books in tests.items() if books.passed_at_s is not None]),
    ]  # fmt: skip
    if processes:
        lines += _family(
            "engine_restarts_total",
            "counter",
            "Times it was ready again.",
            [_sample(lane, state.restarts, rung=rung) for rung, state in processes.items()],
        )
        lines += _family(
            "engine_failures_total",
            "counter",
            "Times it hung, died, raised or did not start.",
            [_sample(lane, state.failures, rung=rung) for rung, state in processes.items()],
        )
    return lines


def _latencies(lane: str, vitals: Vitals) -> list[str]:
    counts = vitals.latencies.cumulated()
    bounds = [*(f"{bound:g}" for bound in LATENCY_BOUNDS_S), "+Inf"]
    lines = _family("latency_seconds", "histogram", "From a bag's last line to its decision.", ())
    for bound, count in zip(bounds, counts, strict=True):
        labels, value = _sample(lane, count, le=bound)
        lines.append(f"xedge_latency_seconds_bucket{{{labels}}} {value}")
    labels, value = _sample(lane, vitals.latencies.sum_s)
    lines.append(f"xedge_latency_seconds_sum{{{labels}}} {value}")
    lines.append(f"xedge_latency_seconds_count{{{labels}}} {counts[-1]}")
    return lines


def _one(lane: str, figure: str, kind: str, what: str, value: float) -> list[str]:
    return _family(figure, kind, what, [_sample(lane, value)])


def _sample(lane: str, value: float, **labels: str) -> tuple[str, str]:
    named = {"lane": lane, **labels}
    said = ",".join(f"{name}={_quoted(text)}" for name, text in named.items())
    return said, f"{float(value):.15g}"


def _family(figure: str, kind: str, what: str, samples: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of one figure: what it is, and its labels and values."""
    return [
        f"# HELP xedge_{figure} {what}",
        f"# TYPE xedge_{figure} {kind}",
        *(f"xedge_{figure}{{{labels}}} {value}" for labels, value in samples),
    ]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what a request ended with: a traceback on standard error is in nobody's format."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):  # whoever asked went away
            LOG.error("a request for figures failed: %s: %s", type(error).__name__, error)


class FiguresServer:
    """Serves ``/metrics`` and ``/health`` in a thread of its own; a context manager.

    ``/health`` answers 200, or 503 while somebody needs to look after the lane.

    Args:
        host: Address to listen at.
        port: TCP port; 0 serves nothing.
        figures: Makes the text of ``/metrics``.
        health: Looks how the lane is; None serves no ``/health``.

    Raises:
        ConfigError: When it cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        figures: Callable[[], str],
        health: Callable[[], Health] | None = None,
    ) -> None:
        self._server: http.server.ThreadingHTTPServer | None = None
        if not port:
            return

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = REQUEST_S

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, "text/plain; version=0.0.4", figures())
                elif self.path == "/health" and health is not None:
                    found = health()
                    text = json.dumps(found.to_dict(), indent=1)
                    self._answer(200 if found.good else 503, "application/json", text + "\n")
                else:
                    self.send_error(404)

            def _answer(self, status: int, kind: str, text: str) -> None:
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing: a scrape every few seconds is no news."""

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise ConfigError(f"the metrics cannot be served at {host}:{port}",
                              found=error.strerror or str(error),
                              remedy="Free the port, or name another one") from error  # fmt: skip
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="xedge-metrics", daemon=True
        )

    def __enter__(self) -> FiguresServer:
        if self._server is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
