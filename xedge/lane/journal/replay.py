"""A recorded shift run again: the events of the journal, told to a new core at their old times.

The core is a state machine: the same events at the same times give the same decisions, bit for bit,
whatever depended on time in the shift itself: a window that came late, was skipped or failed, lines
that were lost, a threshold that was set. What the engine finds in the windows is computed again, or
taken from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from xedge.errors import JournalError
from xedge.lane.core import LaneCore
from xedge.lane.events import Emit, Event, Note, RunWindow, WindowDone, WindowFailed
from xedge.lane.journal.core import thaw
from xedge.lane.journal.reading import Boot, JournalReader, Start
from xedge.lane.journal.records import decision_columns
from xedge.types import U8, Decision, Detections

COMPARED = ("encoder_head", "encoder_tail", "verdict", "reason", "reasons", "late", "latency_ns",
            "ladder", "detections", "correction_sha256")  # fmt: skip

Screens: TypeAlias = Mapping[str, Callable[[U8], Detections]]
"""What finds objects in a window, by the name of its rung in the ladder."""


@dataclass(frozen=True)
class Difference:
    """Something that a replay found otherwise than it was recorded.

    Attributes:
        bag: Number of the bag.
        what: Of the decision, a column of the table of bags; ``decision`` when there was none; or
            ``window N``.
        recorded: What the journal says.
        replayed: What came now.
    """

    bag: int
    what: str
    recorded: str
    replayed: str


@dataclass(eq=False)
class Replay:
    """The outcome of `replay`.

    Attributes:
        compared: Bags whose decisions were compared.
        recovered: Bags that a crash had left on the belt: nothing decided them, so nothing can be
            compared.
        out_of_reach: Bags whose strips were deleted or lost.
        deleted: Bags in the range of which retention left nothing to compare with.
        windows: Windows that the engine screened again.
        from_record: Windows whose answer was taken from the record.
        differences: What was otherwise.
        notices: What a person should know, in sentences.
    """

    compared: int = 0
    recovered: int = 0
    out_of_reach: int = 0
    deleted: int = 0
    windows: int = 0
    from_record: int = 0
    differences: list[Difference] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def replay(
    reader: JournalReader,
    screens: Screens | Callable[[Boot], Screens],
    *,
    first: int = 1,
    last: int | None = None,
) -> Replay:
    """Every decision of a journal made again, and what is otherwise.

    Args:
        reader: The journal.
        screens: What finds objects in a window, or what gives that for each boot of which something
            is run again; the answers of the rungs that are missing are taken from the record.
        first: The first bag that is compared.
        last: The last one; None for the last in the journal.

    Raises:
        JournalError: When a core in the journal is of another version of xedge, or when retention
            has deleted every bag that is asked for.
    """
    outcome = Replay()
    rows = reader.bags(first, last)
    _miss(reader, outcome, first, last, len(rows))
    bags = [row for row in rows if row["verdict"] is not None]
    for boot in reader.boots():
        wanted = {row["bag"]: row for row in bags if row["epoch"] == boot.epoch}
        outcome.recovered += sum(row["decided_epoch"] != boot.epoch for row in wanted.values())
        wanted = {n: row for n, row in wanted.items() if row["decided_epoch"] == boot.epoch}
        if wanted:
            of_boot = screens(boot) if callable(screens) else screens
            _Boot(reader, boot, of_boot, wanted, outcome).run()
    return outcome


def _miss(reader: JournalReader, outcome: Replay, first: int, last: int | None, found: int) -> None:
    """Say which of the bags that are asked for retention has deleted."""
    gone = [one for one in reader.deletions()
            if one.first_bag is not None and one.last_bag is not None
            and one.last_bag >= first and (last is None or one.first_bag <= last)]  # fmt: skip
    if not gone:
        return
    newest = max(row["bag"] for row in reader.bags())  # the last bag is never deleted
    outcome.deleted = max(0, min(newest, last or newest) - first + 1 - found)
    if not outcome.deleted:
        return
    when = "; ".join(map(str, gone))
    if not found:
        raise JournalError(
            f"nothing is left of bags {first} to {last or newest}", found=when,
            remedy="Raise journal_days or journal_rows_mb to keep them for longer",
        )  # fmt: skip
    outcome.notices.append(f"nothing is left of {outcome.deleted} of these bags: {when}")


class _Boot:
    """One boot that is run again."""

    def __init__(
        self,
        reader: JournalReader,
        boot: Boot,
        screens: Screens,
        wanted: dict[int, dict[str, Any]],
        outcome: Replay,
    ) -> None:
        self._reader, self._boot, self._screens = reader, boot, screens
        self._wanted, self._outcome = wanted, outcome
        self._asked: dict[tuple[int, int], RunWindow] = {}
        self._corrections: dict[int, str] = {}  # in force when each open bag began
        self._first: int | None = None  # bag that was decided again

    def run(self) -> None:
        """Run it, from the last place at which no wanted bag had begun."""
        outcome, wanted = self._outcome, self._wanted
        starts = self._reader.starts(self._boot.epoch)
        early = [start for start in starts if start.segment <= min(
            row["segment"] for row in wanted.values())]  # fmt: skip
        try:
            if starts:
                self._tell((early or starts[:1])[-1])
        except JournalError as error:
            outcome.notices.append(str(error))
        if wanted:
            outcome.out_of_reach += len(wanted)
            outcome.notices.append(
                f"epoch {self._boot.epoch}: the strips of {len(wanted)} bags are not there any "
                f"more, bag {min(wanted)} to {max(wanted)}"
            )

    def _tell(self, start: Start) -> None:
        core = self._core(start)
        correction = core.correction_sha256
        for at_ns, recorded in self._reader.events(start):
            for action in core.handle(self._answer(recorded), at_ns):
                if isinstance(action, RunWindow):
                    self._asked[action.bag, action.index] = action
                elif isinstance(action, Emit):
                    self._compare(action.decision)
                elif isinstance(action, Note) and action.kind == "correction-changed":
                    correction = str(action.fields["sha256"])
                elif isinstance(action, Note) and action.kind == "bag-begun":
                    self._corrections[int(action.fields["bag"])] = correction
            if not self._wanted:
                return
        # All events are there, and these bags were not decided by them; but of those in front of
        # the first one that was, the strips are gone.
        for bag, row in sorted(self._wanted.items()):
            if start.core is None or (self._first is not None and bag > self._first):
                self._outcome.compared += 1
                self._outcome.differences.append(
                    Difference(bag, "decision", row["verdict"], "none")
                )
                del self._wanted[bag]

    def _core(self, start: Start) -> LaneCore:
        if start.core is not None:
            return thaw(start.core)
        boot = self._boot
        assert boot.flat_field is not None
        assert boot.config is not None
        return LaneCore(boot.flat_field, boot.config, boot.first_bag)

    def _answer(self, recorded: Event) -> Event:
        """The event as it comes this time: what the engine finds is found again."""
        if not isinstance(recorded, WindowDone | WindowFailed):
            return recorded
        order = self._asked.pop((recorded.bag, recorded.index), None)
        screen = self._screens.get(recorded.rung) if isinstance(recorded, WindowDone) else None
        if isinstance(recorded, WindowFailed) or screen is None or order is None:
            self._outcome.from_record += 1
            return recorded
        self._outcome.windows += 1
        found = screen(order.planes)
        if not _same(found, recorded.detections):
            self._outcome.differences.append(
                Difference(recorded.bag, f"window {recorded.index}",
                           _named(recorded.detections), _named(found))
            )  # fmt: skip
        return WindowDone(recorded.bag, recorded.index, found, recorded.rung)

    def _compare(self, decision: Decision) -> None:
        self._first = self._first or decision.bag
        correction = self._corrections.pop(decision.bag, None)
        row = self._wanted.pop(decision.bag, None)
        if row is None:
            return
        self._outcome.compared += 1
        found = decision_columns(decision) | {"correction_sha256": correction}
        for name in COMPARED:
            if found[name] != row[name]:
                self._outcome.differences.append(
                    Difference(decision.bag, name, str(row[name]), str(found[name]))
                )


def _same(one: Detections, other: Detections) -> bool:
    """True when two answers have the same bits."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "labels")
        for name in ("boxes", "scores", "labels")
    )


def _named(found: Detections) -> str:
    return f"{len(found)} objects, scores {[float(score) for score in found.scores[:4]]}"
