"""Every reason has a word, and every word is the standard's."""

import re
from pathlib import Path

from xedge.control.dicos.words import (
    ABORT_REASONS,
    INCOMPLETE,
    OVERSIZE,
    SLIP,
    SUCCESSFUL,
    WORDS,
    abort_reasons,
    acquisition_status,
)
from xedge.lane.verdict import WORST_FIRST
from xedge.types import Reason


def test_every_reason_of_ours_has_a_word_of_the_standard() -> None:
    assert set(WORDS) == set(Reason), "a new reason needs its row in xedge/control/dicos/words.py"
    for words in WORDS.values():
        assert words.abort in ABORT_REASONS
        assert words.acquisition in {SUCCESSFUL, OVERSIZE, INCOMPLETE, SLIP}
        assert words.why


def test_a_reason_that_dicos_has_a_word_for_gets_that_word() -> None:
    for reason in Reason:
        if reason.name in ABORT_REASONS:
            assert WORDS[reason].abort == reason.name


def test_the_gravest_reason_comes_first_as_in_a_lane() -> None:
    assert [reason for reason in WORDS if reason in WORST_FIRST] == list(WORST_FIRST)


def test_no_reason_is_success_and_each_word_is_said_once() -> None:
    assert abort_reasons([]) == ()
    assert acquisition_status([]) == SUCCESSFUL
    everything = abort_reasons(Reason)
    assert everything[0] == "TIMEOUT"
    assert len(everything) == len(set(everything))
    assert acquisition_status(Reason) == INCOMPLETE
    assert acquisition_status([Reason.OVERSIZE_BAG, Reason.ENGINE_FAILED]) == OVERSIZE


def test_the_page_has_the_table(repository: Path) -> None:
    page = (repository / "docs" / "dicos.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(r.name, w.abort, w.acquisition, w.why) for r, w in WORDS.items()]
