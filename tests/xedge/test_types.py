"""The values of a lane: what they refuse, and that nobody can change them."""

import dataclasses

import numpy as np
import pytest

from xedge.errors import InputError, LineError
from xedge.types import Decision, Detections, Reason, Scan, Strip, Verdict


def lines(n: int = 3, elements: int = 4, dtype=np.uint16) -> np.ndarray:
    return np.zeros((n, elements), dtype)


def some(n: int) -> Detections:
    return Detections(
        np.arange(4 * n, dtype=np.float32).reshape(n, 4),
        np.linspace(1, 0.1, n, dtype=np.float32) if n else np.zeros(0, np.float32),
        np.arange(n, dtype=np.int32),
    )


def test_nothing_is_cleared_by_default() -> None:
    assert Verdict(0) is Verdict.NOT_CLEARED
    assert Decision(bag=1).verdict is Verdict.NOT_CLEARED
    assert Reason(0) is Reason.NONE


def test_a_strip_knows_its_lines_and_elements() -> None:
    strip = Strip(7, np.arange(3), lines(), lines(), 5)
    assert (len(strip), strip.elements, strip.intact) == (3, 4, True)


@pytest.mark.parametrize(
    ("encoder", "low", "high"),
    [
        (np.arange(3), lines(dtype=np.uint8), lines()),
        (np.arange(3), lines(2), lines(2)),
        (np.arange(3), lines(), lines(elements=5)),
        (np.arange(3), lines(), lines(dtype=np.int32)),
        (np.arange(0), lines(0), lines(0)),
        (np.zeros((3, 1)), lines(), lines()),
        (np.arange(3), np.zeros(3, np.uint16), np.zeros(3, np.uint16)),
    ],
)
def test_a_strip_that_does_not_fit_together_is_refused(encoder, low, high) -> None:
    with pytest.raises(LineError, match="strip 9"):
        Strip(9, encoder, low, high, 0)


def test_a_scan_that_does_not_fit_together_is_refused() -> None:
    with pytest.raises(LineError, match="bag 2"):
        Scan(2, lines(), lines(4), np.arange(3), 0, 0)
    with pytest.raises(LineError):
        Scan(2, lines(), lines(), np.arange(4), 0, 0)


@pytest.mark.parametrize("short", ["boxes", "scores", "labels"])
def test_detections_that_do_not_fit_together_are_refused(short) -> None:
    parts = {n: getattr(some(3), n) for n in ("boxes", "scores", "labels")}
    parts[short] = parts[short][:2]
    with pytest.raises(InputError, match="do not fit together"):
        Detections(**parts)


def test_values_cannot_be_changed() -> None:
    found = some(2)
    with pytest.raises(ValueError, match="read-only"):
        found.boxes[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scores = np.zeros(2)  # type: ignore[misc]


def test_chosen_detections_are_copies_in_the_order_asked_for() -> None:
    found = some(4)
    assert found[np.array([2, 0])].labels.tolist() == [2, 0]
    assert found[found.scores > 0.5].labels.tolist() == [0, 1]
    assert len(found[:0]) == 0
    assert not np.shares_memory(found[:2].boxes, found.boxes)


def test_parts_are_joined_by_falling_score_and_ties_keep_their_order() -> None:
    joined = Detections.concatenate([some(2), Detections.empty(), some(3)])
    assert joined.scores.tolist() == sorted(joined.scores.tolist(), reverse=True)
    assert joined.labels.tolist() == [0, 0, 1, 1, 2]
    assert len(Detections.concatenate([])) == 0
