"""A lane's figures for Prometheus, in its text format, over a small HTTP server."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from xedge.control.dicos.bag import DicosArchive
from xedge.control.link import LinkStatus
from xedge.errors import ConfigError
from xedge.lane.report import Tally
from xedge.types import Reason, Verdict

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


class FiguresServer:
    """Serves ``/metrics`` in a thread of its own; a context manager.

    Args:
        host: Address to listen at.
        port: TCP port; 0 serves nothing.
        figures: Makes the text.

    Raises:
        ConfigError: When it cannot listen there.
    """

    def __init__(self, host: str, port: int, figures: Callable[[], str]) -> None:
        self._server: http.server.ThreadingHTTPServer | None = None
        if not port:
            return

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = REQUEST_S

            def do_GET(self) -> None:
                if self.path != "/metrics":
                    self.send_error(404)
                    return
                text = figures().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing: a scrape every few seconds is no news."""

        try:
            self._server = http.server.ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(f"the metrics cannot be served at {host}:{port}",
                              found=error.strerror or str(error),
                              remedy="Free the port, or name another one") from error  # fmt: skip
        self._server.daemon_threads = True
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
