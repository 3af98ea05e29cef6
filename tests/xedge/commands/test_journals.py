"""Which decisions the journal takes for handed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from xedge.commands.journals import Handover
from xedge.control.board import PlcEvent
from xedge.lane.journal import Journal


def acknowledged(bag: int) -> PlcEvent:
    return PlcEvent("decision-acknowledged", {"bag": bag})


def pushed_out(bag: int) -> PlcEvent:
    return PlcEvent("decision-pushed-out", {"bag": bag})


def test_a_decision_is_handed_over_when_every_plc_that_acknowledges_is_done_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[int] = []
    with Journal(tmp_path / "journal") as journal:
        monkeypatch.setattr(journal, "acknowledge", settled.append)
        handover = Handover(journal, [0, 2])  # the PLC of bus 1 acknowledges nothing
        assert journal.acknowledged_elsewhere
        assert handover.heard(0, acknowledged(1))
        assert settled == []
        assert not handover.heard(2, pushed_out(1)), "which is news"
        assert settled == [1]
        for bag in range(2, 100):
            for bus in (0, 2):
                handover.heard(bus, acknowledged(bag))
            handover.heard(1, pushed_out(bag))  # long behind the others
        assert settled == list(range(1, 100))
        assert handover._missing == {}, "nothing piles up over months"
        assert not handover.heard(0, PlcEvent("plc-lost"))
