"""A lane's core with a journal: what it is told is written down, and its state now and then."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from xedge import types
from xedge.errors import JournalError
from xedge.lane import bag, config, deadlines, ledger, odometer, rescan_watch, viewwatch
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.events import Action, Event, StripArrived
from xedge.lane.journal.journal import Journal
from xedge.scanner import (
    bright,
    cutter,
    detectorarray,
    flatfield,
    follow,
    health,
    intake,
    pieces,
    reference,
    rescan,
    sidebyside,
    tube,
    windows,
)
from xedge.scanner.sidebyside import Corrections

_MODULES: Final = {module.__name__: module for module in (
    bag, config, deadlines, ledger, odometer, rescan_watch, viewwatch, bright, cutter,
    detectorarray, flatfield, follow, health, intake, pieces, reference, rescan, sidebyside, tube,
    windows, types,
)}  # fmt: skip
"""Where the classes of a core's state are defined; none of them does anything when it is made."""

_OTHERS: Final = {
    ("collections", "deque"), ("builtins", "set"), ("builtins", "slice"), ("builtins", "frozenset"),
    *((f"numpy.{core}.{name}", what) for core in ("core", "_core") for name, what in (
        ("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))),
    ("numpy", "ndarray"), ("numpy", "dtype"),
}  # fmt: skip


class JournalledCore(LaneCore):
    """A core whose events are in the journal before it handles them.

    Args:
        correction: Of the detector, or of each of its views.
        config: The set-up.
        journal: The journal, in which no lane has begun yet.

    Raises:
        LaneError: When one has.
    """

    def __init__(self, correction: Corrections, config: LaneConfig, journal: Journal) -> None:
        super().__init__(correction, config, first_bag=journal.first_bag)
        journal.start(correction, config)
        self._journal = journal

    def handle(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """As of `LaneCore`."""
        # While no bag is open the core is small.
        if self.idle and isinstance(event, StripArrived) and self._journal.wants_core:
            self._journal.rotate(freeze(self))
        self._journal.event(event, now_ns)
        return super().handle(event, now_ns)


def freeze(core: LaneCore) -> bytes:
    """The state of a core."""
    state = {name: value for name, value in vars(core).items() if name != "_journal"}
    return pickle.dumps(state, protocol=5)


def thaw(data: bytes) -> LaneCore:
    """A core in the state of `freeze`.

    Raises:
        JournalError: When it is damaged, or of a version of xedge whose core is another.
    """
    core = LaneCore.__new__(LaneCore)
    try:
        state = _Thawing(io.BytesIO(data)).load()
        vars(core).update(state)
    except Exception as error:  # pickle raises anything
        raise JournalError("a lane's core in the journal cannot be set up again", found=str(error),
                           remedy="Replay it with the version of xedge that wrote it"
                           ) from error  # fmt: skip
    return core


class _Thawing(pickle.Unpickler):
    """Makes values, and calls nothing else: a journal may come from anywhere."""

    def find_class(self, module: str, name: str) -> Any:
        found = vars(_MODULES[module]).get(name) if module in _MODULES else None
        own = isinstance(found, type) and found.__module__ == module
        if own or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}")
