"""The journal of a command that screens: who wrote it, and which decisions were taken over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Final

from xedge.bundle import Bundle
from xedge.commands.screening import EngineUsed
from xedge.control.board import PlcEvent
from xedge.lane.journal import Journal, JournalSettings
from xedge.provenance import code_version

LOG: Final = logging.getLogger("xedge.service")

TAKEN_OVER: Final = "decision-acknowledged"
PUSHED_OUT: Final = "decision-pushed-out"


def open_journal(folder: Path, bundle: Bundle, settings: JournalSettings | None = None) -> Journal:
    """The journal in a folder, which names the model.

    Raises:
        JournalError: When it cannot be written, is damaged or of another version, or is in use.
    """
    about = {"code": str(code_version()), "model": bundle.spec.name, "model_sha256": bundle.sha256}
    journal = Journal(folder, settings, about=about)
    if journal.recovered:
        LOG.warning("the last run broke off: %d bags were on the belt, and are NOT_CLEARED",
                    journal.recovered)  # fmt: skip
    return journal


def name_engine(journal: Journal | None, used: EngineUsed, least: float | None = None) -> None:
    """Write down what runs the model, and the least score that quiet windows were not to lose."""
    if journal is not None:
        journal.describe(engine=f"{used.name} {used.version}", threads=str(used.threads),
                         least=least_told(least))  # fmt: skip


def least_told(least: float | None) -> str:
    """What a journal says of `xedge.engines.deploy.load_variant`'s ``least``."""
    return "" if least is None else repr(least)


class Handover:
    """Tells a journal of each decision that every PLC has taken over, or can take over no more.

    Args:
        journal: The journal.
        buses: Numbers of the buses whose PLC acknowledges. Without any, a decision counts as taken
            over when it was handed to them.
    """

    def __init__(self, journal: Journal, buses: Collection[int]) -> None:
        self._journal, self._buses = journal, frozenset(buses)
        self._lock = threading.Lock()
        self._missing: dict[int, set[int]] = {}  # buses, by bag; seven bags a bus at the most
        journal.acknowledged_elsewhere = bool(buses)

    def heard(self, bus: int, event: PlcEvent) -> bool:
        """Take in an event of a bus; True when it is no news for anybody else."""
        if event.kind in (TAKEN_OVER, PUSHED_OUT):
            self._settled(bus, int(event.fields["bag"]))
        return event.kind == TAKEN_OVER

    def _settled(self, bus: int, bag: int) -> None:
        if self._buses and bus not in self._buses:  # pushed out where nobody acknowledges
            return
        with self._lock:
            missing = self._missing.setdefault(bag, set(self._buses))
            missing.discard(bus)
            if missing:
                return
            del self._missing[bag]
        self._journal.acknowledge(bag)
