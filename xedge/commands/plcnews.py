"""What happens between a lane and its PLCs: into the log, the journal and the lane itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from xedge.commands.journals import Handover
from xedge.commands.logs import fields
from xedge.control.board import PlcEvent
from xedge.control.commands import Direction
from xedge.lane.journal import Journal
from xedge.lane.steering import Steering

LOG: Final = logging.getLogger("xedge.service")


class PlcNews:
    """Tells what the links of one lane have to say; from any of their threads.

    The lane takes its belt for standing while every PLC that has said anything says so, and none
    of them is silent: its bags are then not late (`Steering.belt_running`). What one said before it
    was heard, as a dead one may have left it behind, or before it fell silent, counts once its
    heart beats.

    Args:
        steering: Of the lane.
        journal: Where events are written; None for nowhere.
        handover: Who is told of acknowledgements; None for nobody.
    """

    def __init__(
        self, steering: Steering, journal: Journal | None, handover: Handover | None
    ) -> None:
        self._steering, self._journal, self._handover = steering, journal, handover
        self._lock = threading.Lock()
        self._standing: dict[int, bool] = {}  # what each has said last
        self._heard: set[int] = set()

    def teller(self, bus: str, number: int) -> Callable[[PlcEvent], None]:
        """What is done with the events of a bus, the ``number``-th of the file."""

        def tell(event: PlcEvent) -> None:
            if self._handover is not None and self._handover.heard(number, event):
                return
            self._watch_belt(number, event)
            record: dict[str, Any] = {"bus": bus, **event.fields}
            said = ", ".join(
                f"{name} {value}" for name, value in event.fields.items() if name != "bus"
            )
            level = logging.WARNING if event.kind in ("bus-down", "plc-lost") else logging.INFO
            LOG.log(level, "%s: %s%s", bus, event.kind, f" ({said})" if said else "",
                    extra=fields(event=event.kind, **record))  # fmt: skip
            if self._journal is not None:
                self._journal.write(event.kind, record)

        return tell

    def _watch_belt(self, number: int, event: PlcEvent) -> None:
        with self._lock:
            before = self._stands
            if event.kind == "belt-direction":
                self._standing[number] = event.fields["direction"] == Direction.STANDING.name
            elif event.kind == "plc-heard":
                self._heard.add(number)
            elif event.kind == "plc-lost":
                self._heard.discard(number)
            if self._stands is not before:
                self._steering.belt_running(before)

    @property
    def _stands(self) -> bool:
        return bool(self._standing) and all(
            stands and number in self._heard for number, stands in self._standing.items()
        )
